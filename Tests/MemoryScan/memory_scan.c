#include "memory_scan.h"

#include <stdlib.h>
#include <string.h>

struct kc_windows {
  uint64_t *values;
  uint32_t *slots;
  size_t mask;
};

static size_t place(uint64_t value) { return (size_t)((value * UINT64_C(0x9e3779b97f4a7c15)) >> 32); }

kc_windows *kc_windows_new(const uint64_t *values, size_t count) {
  kc_windows *made = calloc(1, sizeof *made);
  size_t size = 1 << 16;
  while (size < 8 * count) size *= 2;
  made->mask = size - 1;
  made->values = malloc((count + 1) * sizeof *values);
  memcpy(made->values, values, count * sizeof *values);
  made->slots = calloc(size, sizeof *made->slots);
  for (size_t index = 0; index < count; index++) {
    size_t slot = place(values[index]) & made->mask;
    while (made->slots[slot] != 0) slot = (slot + 1) & made->mask;
    made->slots[slot] = (uint32_t)index + 1;
  }
  return made;
}

void kc_windows_free(kc_windows *windows) {
  free(windows->values);
  free(windows->slots);
  free(windows);
}

ptrdiff_t kc_find_window(const kc_windows *windows, const uint8_t *bytes, size_t count, size_t start, size_t *which) {
  const uint32_t *slots = windows->slots;
  const size_t mask = windows->mask;
  for (size_t offset = start; offset + 8 <= count; offset++) {
    uint64_t value;
    memcpy(&value, bytes + offset, 8);
    if (value == 0) continue;
    for (size_t slot = place(value) & mask; slots[slot] != 0; slot = (slot + 1) & mask) {
      if (windows->values[slots[slot] - 1] == value) {
        *which = slots[slot] - 1;
        return (ptrdiff_t)offset;
      }
    }
  }
  return -1;
}
