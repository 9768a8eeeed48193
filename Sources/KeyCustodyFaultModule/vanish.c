// A token that is gone for a while, in four ways.
#include "internal.h"

#include <string.h>

static _Atomic int mode;
// On the monotonic clock; KC_PENDING: until it is told to return.
static _Atomic uint64_t until;

void kc_vanish_start(int new_mode, uint64_t ms) {
  KC_COUNT(injected[KC_VANISH]);
  atomic_store(&until, ms == KC_PENDING ? KC_PENDING : kc_now() + ms * 1000000);
  atomic_store(&mode, new_mode);
  if (new_mode == KC_REMOVED || new_mode == KC_STRANGER) kc_sessions_close_really();
  // They end in C_Finalize: until then the caller can't close them.
  if (new_mode == KC_DEAF) kc_sessions_gone();
}

void kc_vanish_now(int new_mode, uint64_t ms) {
  pthread_rwlock_wrlock(&kc.calls);
  kc_vanish_start(new_mode, ms);
  pthread_rwlock_unlock(&kc.calls);
}

void kc_vanish_return(void) { atomic_store(&until, 0); }

// C_Finalize and C_Initialize came: a deaf module hears again.
void kc_vanish_initialized(void) {
  int deaf = KC_DEAF;
  atomic_compare_exchange_strong(&mode, &deaf, KC_PRESENT);
}

static bool is_over(void) {
  uint64_t end = atomic_load(&until);
  return end == 0 || (end != KC_PENDING && kc_now() >= end);
}

int kc_vanish_mode(void) {
  int now = atomic_load_explicit(&mode, memory_order_acquire);
  if (now == KC_PRESENT || now == KC_DEAF || !is_over()) return now;
  atomic_compare_exchange_strong(&mode, &now, KC_PRESENT);
  return KC_PRESENT;
}

static const char *const names[] = {"no", "removed", "empty", "deaf", "stranger"};

const char *kc_mode_name(int value) { return names[value]; }

int kc_parse_mode(const char *text) {
  for (int i = KC_REMOVED; i <= KC_STRANGER; i++) {
    if (strcmp(names[i], text) == 0) return i;
  }
  return KC_PRESENT;
}

bool kc_vanish_answers(struct kc_call *call) {
  switch (kc_vanish_mode()) {
    case KC_REMOVED:
      if (kc_function_need(call->function) == KC_NEEDS_NOTHING) return false;
      call->rv = kc_function_need(call->function) == KC_NEEDS_TOKEN ? CKR_TOKEN_NOT_PRESENT : CKR_DEVICE_REMOVED;
      return true;
    case KC_DEAF:
      if (call->function == KC_C_Finalize) return false;
      if (call->function == KC_C_Initialize && is_over()) return false;
      call->rv = CKR_DEVICE_ERROR;
      return true;
    default: return false;
  }
}

bool kc_hides(struct kc_call *call, CK_OBJECT_HANDLE object, CK_RV rv) {
  if (kc_vanish_mode() != KC_EMPTY) return false;
  CK_BBOOL is_private = CK_FALSE;
  CK_ATTRIBUTE attribute = {CKA_PRIVATE, &is_private, sizeof is_private};
  if (kc.real->C_GetAttributeValue(call->session, object, &attribute, 1) != CKR_OK || !is_private) return false;
  call->rv = rv;
  return true;
}
