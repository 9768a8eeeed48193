// What wrapping keysets anew costs in C: AES-256 key wrap by OpenSSL, and a database with a commit for each.
#pragma once
#include <stdint.h>

// Makes a SQLite database at `path` with `count` records of `length` bytes and `keys` wrapped keys in each, then reads each,
// unwraps its keys, wraps them under another key and writes it back, durably. The nanoseconds of that; -1 on failure.
int64_t baseline_rewrap(const char *path, int count, int keys, int length);

// The same with a table in `schema`, which it makes and removes, of the PostgreSQL database at `address`.
int64_t baseline_rewrap_postgresql(const char *address, const char *schema, int count, int keys, int length);
