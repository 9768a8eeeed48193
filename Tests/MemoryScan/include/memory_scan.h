#ifndef KEY_CUSTODY_MEMORY_SCAN_H
#define KEY_CUSTODY_MEMORY_SCAN_H

#include <stddef.h>
#include <stdint.h>

/* A set of eight-byte windows to look for. In C: every byte of a process is looked at, in debug builds too. */
typedef struct kc_windows kc_windows;

kc_windows *kc_windows_new(const uint64_t *values, size_t count);
void kc_windows_free(kc_windows *windows);

/* The offset of the first window of the set at or after `start`, its place among `values` in `which`; -1 for none. */
ptrdiff_t kc_find_window(const kc_windows *windows, const uint8_t *bytes, size_t count, size_t start, size_t *which);

#endif
