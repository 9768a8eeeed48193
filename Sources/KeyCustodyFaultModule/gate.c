// The way in and out of every call.
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// MARK: Waiting

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t waiting;
static pthread_cond_t released;
static uint64_t release_count;

static void make_waiting(void) {
  pthread_mutex_init(&waiting, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&released, &attributes);
  pthread_condattr_destroy(&attributes);
}

uint64_t kc_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * KC_NANOSECONDS + (uint64_t)now.tv_nsec;
}

// Counts when it is certain that a later `release` ends it.
static void wait_for(uint64_t nanoseconds, enum kc_action action) {
  pthread_once(&once, make_waiting);
  uint64_t end = kc_now() + nanoseconds;
  struct timespec deadline = {(time_t)(end / KC_NANOSECONDS), (long)(end % KC_NANOSECONDS)};
  pthread_mutex_lock(&waiting);
  uint64_t count = release_count;
  KC_COUNT(injected[action]);
  int result = 0;
  while (count == release_count && result != ETIMEDOUT) {
    result = nanoseconds == UINT64_MAX ? pthread_cond_wait(&released, &waiting)
                                       : pthread_cond_timedwait(&released, &waiting, &deadline);
  }
  pthread_mutex_unlock(&waiting);
}

void kc_release(void) {
  pthread_once(&once, make_waiting);
  pthread_mutex_lock(&waiting);
  release_count++;
  pthread_cond_broadcast(&released);
  pthread_mutex_unlock(&waiting);
}

void kc_waits_before_fork(void) {
  pthread_once(&once, make_waiting);
  pthread_mutex_lock(&waiting);
}

void kc_waits_after_fork(bool is_child) {
  pthread_mutex_unlock(&waiting);
  // Those who wait on it are not in the child, and a condition remembers them.
  if (is_child) make_waiting();
}

// MARK: Lost answers

struct kc_kept {
  struct kc_kept *next;
  void *place;
  size_t count;
  unsigned char bytes[];
};

void kc_keep(struct kc_call *call, void *bytes, size_t count) {
  if (!call->decision.is_lost || bytes == NULL || count == 0) return;
  struct kc_kept *kept = malloc(sizeof *kept + count);
  if (kept == NULL) return;
  *kept = (struct kc_kept){call->kept, bytes, count};
  memcpy(kept->bytes, bytes, count);
  call->kept = kept;
}

void kc_keep_bytes(struct kc_call *call, void *bytes, CK_ULONG *count) {
  if (count == NULL) return;
  kc_keep(call, bytes, *count);
  kc_keep(call, count, sizeof *count);
}

static void put_back(struct kc_call *call) {
  while (call->kept != NULL) {
    struct kc_kept *kept = call->kept;
    call->kept = kept->next;
    memcpy(kept->place, kept->bytes, kept->count);
    explicit_bzero(kept->bytes, kept->count);
    free(kept);
  }
}

// MARK: In

static bool answer(struct kc_call *call, CK_RV rv) {
  call->rv = rv;
  return false;
}

static bool may_call(struct kc_call *call) {
  if (call->function == KC_C_Initialize) return *kc_config_error() == '\0' || answer(call, CKR_ARGUMENTS_BAD);
  pid_t owner = atomic_load_explicit(&kc.owner, memory_order_acquire);
  if (owner == 0) {
    if (!atomic_load(&kc.finalized_untold)) KC_COUNT(after_finalize);
    return answer(call, CKR_CRYPTOKI_NOT_INITIALIZED);
  }
  if (owner != atomic_load_explicit(&kc.process, memory_order_relaxed)) {
    KC_COUNT(used_after_fork);
    return answer(call, CKR_CRYPTOKI_NOT_INITIALIZED);
  }
  return true;
}

static void die(void) {
  KC_COUNT(injected[KC_KILL]);
  kill(getpid(), SIGKILL);
  // Until the signal arrives.
  for (;;) pause();
}

static void wait_as_told(uint64_t milliseconds, bool hangs) {
  if (milliseconds > 0) wait_for(milliseconds * 1000000, KC_DELAY);
  if (hangs) wait_for(UINT64_MAX, KC_HANG);
}

// Nobody is inside the real module meanwhile: the caller shall meet the fault, not a crash of the module over it.
static void act_on_sessions(struct kc_call *call) {
  const struct kc_decision *decision = &call->decision;
  if ((!decision->drops && !decision->logs_out && !decision->vanishes) || !kc_is_initialized()) return;
  pthread_rwlock_wrlock(&kc.calls);
  CK_SESSION_HANDLE session = 0;
  if (decision->logs_out && kc_session_any(call->session, &session)) {
    KC_COUNT(injected[KC_LOGOUT]);
    kc.real->C_Logout(session);
  }
  if (decision->drops) {
    KC_COUNT(injected[KC_DROP]);
    kc_sessions_close_really();
  }
  if (decision->vanishes) kc_vanish_start(decision->vanish_mode, decision->vanish_ms);
  pthread_rwlock_unlock(&kc.calls);
}

bool kc_enter(struct kc_call *call, enum kc_function function, CK_SESSION_HANDLE session) {
  kc_load();
  memset(call, 0, sizeof *call);
  call->function = function;
  call->session = session;
  call->ticket = KC_PENDING;
  KC_COUNT(calls);
  KC_COUNT(functions[function]);
  atomic_fetch_add_explicit(&kc.inside, 1, memory_order_relaxed);
  if (atomic_load_explicit(&kc.is_tracing, memory_order_relaxed)) call->ticket = kc_trace_begin(function);
  if (!may_call(call)) return false;
  if (kc_function_need(function) == KC_NEEDS_SESSION) call->entry = kc_session_enter(session);
  if (kc_rules_decide(function, &call->decision)) {
    wait_as_told(call->decision.delay_before, call->decision.hangs_before);
    act_on_sessions(call);
    if (call->decision.kills_before) die();
    if (call->decision.fails && !call->decision.is_lost) {
      KC_COUNT(injected[KC_FAIL]);
      return answer(call, call->decision.rv);
    }
  }
  pthread_rwlock_rdlock(&kc.calls);
  call->holds_lock = true;
  // C_Finalize may have come while the call waited.
  if (function != KC_C_Initialize && !kc_is_initialized()) return answer(call, CKR_CRYPTOKI_NOT_INITIALIZED);
  call->is_forwarded = kc_vanish_mode() == KC_PRESENT || !kc_vanish_answers(call);
  return call->is_forwarded;
}

// MARK: Out

void kc_unlock(struct kc_call *call) {
  if (call->holds_lock) pthread_rwlock_unlock(&kc.calls);
  call->holds_lock = false;
}

CK_RV kc_leave(struct kc_call *call) {
  kc_unlock(call);
  const struct kc_decision *decision = &call->decision;
  if (decision->kills_after) die();
  wait_as_told(decision->delay_after, decision->hangs_after);
  if (decision->is_lost && call->is_forwarded) {
    KC_COUNT(injected[KC_FAIL]);
    put_back(call);
    call->rv = decision->rv;
  }
  if (call->entry != NULL) kc_session_leave(call->entry);
  if (call->ticket != KC_PENDING) kc_trace_end(call->ticket, call->rv);
  atomic_fetch_sub_explicit(&kc.inside, 1, memory_order_relaxed);
  return call->rv;
}
