// What the cipher alone costs: AES-256-GCM by OpenSSL's EVP interface in C, one context reused, nonces that count.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Each returns the nanoseconds for `count` messages of `length` bytes, each sealed or opened `layers` times one after
// the other into buffers made beforehand; -1 when OpenSSL refuses.
int64_t baseline_seal(size_t length, int layers, int count);
int64_t baseline_open(size_t length, int layers, int count);
