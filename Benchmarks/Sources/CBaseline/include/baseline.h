// What the cipher alone costs: AES-256-GCM by OpenSSL's EVP interface in C, one context reused, nonces that count.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Each returns the nanoseconds for `count` messages of `length` bytes, each sealed or opened `layers` times one after
// the other into buffers made beforehand; -1 when OpenSSL refuses.
int64_t baseline_seal(size_t length, int layers, int count);
int64_t baseline_open(size_t length, int layers, int count);
// Nanoseconds to seal (`encrypt` 1), open (0), or open and seal again (2, one layer) a file into another in frames of
// 64 KiB, fsync included; -1 on failure.
int64_t baseline_file(const char *from, const char *to, int layers, int encrypt, int threads);
// Nanoseconds for `count` reads of a random chunk of 16 KiB (two layers: two from the file, three opened).
int64_t baseline_random_read(const char *path, int layers, int count);
// Nanoseconds for `count` look-ups among `keys` behind a mutex.
int64_t baseline_lookup(int keys, int count);
