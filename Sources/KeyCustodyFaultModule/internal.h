// What the parts of the fault module tell each other. Include it first.
#ifndef KC_INTERNAL_H
#define KC_INTERNAL_H

#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#define CRYPTOKI_COMPAT 1
// The header lies beside the search path on Debian; asking pkg-config would link p11-kit as well.
#if __has_include(<p11-kit-1/p11-kit/pkcs11.h>)
#include <p11-kit-1/p11-kit/pkcs11.h>
#else
#include <p11-kit/pkcs11.h>
#endif

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "functions.h"
#include "include/key_custody_fault_module.h"

// Nothing below is seen outside, so that two modules in a process never share a symbol.
#pragma GCC visibility push(hidden)

#define KC_NANOSECONDS 1000000000ull
#define KC_TRACE_LENGTH 4096
#define KC_PENDING UINT64_MAX

// MARK: Counters

enum kc_action {
  KC_FAIL, KC_DELAY, KC_HANG, KC_KILL, KC_CORRUPT, KC_DROP, KC_LOGOUT, KC_VANISH, KC_MAXSESSIONS, KC_ACTION_COUNT
};

struct kc_traced {
  _Atomic uint64_t ticket;
  _Atomic uint64_t rv;
  _Atomic uint32_t function;
};

// In pages shared with forked children: what a killed child counted is still there.
struct kc_counters {
  _Atomic uint64_t calls;
  _Atomic uint64_t functions[KC_FUNCTION_COUNT];
  _Atomic uint64_t injected[KC_ACTION_COUNT];
  _Atomic uint64_t concurrent_session_use;
  _Atomic uint64_t used_after_fork;
  _Atomic uint64_t after_finalize;
  _Atomic uint64_t finalize_while_inside;
  _Atomic uint64_t leaked_at_finalize;
  _Atomic uint64_t refused_at_finalize;
  _Atomic uint64_t max_open_sessions;
  _Atomic uint64_t logins;
  _Atomic uint64_t login_failures;
  _Atomic uint64_t unknown_session_handle;
  _Atomic uint64_t tickets;
  struct kc_traced trace[KC_TRACE_LENGTH];
};

struct kc_instance {
  struct kc_counters *shared;
  CK_FUNCTION_LIST *real;
  char config_error[544];
  // The process as the last fork left it, and the one that called C_Initialize (0: none).
  _Atomic pid_t process;
  _Atomic pid_t owner;
  // C_Finalize happened and its answer was lost: the caller can't know.
  _Atomic bool finalized_untold;
  _Atomic bool is_tracing;
  _Atomic uint64_t inside;
  // Calls into the real module hold it for reading; faults that act on all sessions, for writing.
  pthread_rwlock_t calls;
};

extern struct kc_instance kc;

#define KC_COUNT(counter) atomic_fetch_add_explicit(&kc.shared->counter, 1, memory_order_relaxed)

// MARK: Instance (instance.c)

// Reads the file beside the library and loads the real module, once.
void kc_load(void);
int kc_load_module(const char *path);
bool kc_is_initialized(void);
// Why C_Initialize can't work; empty when it can.
const char *kc_config_error(void);

// MARK: Calls (gate.c)

struct kc_kept;
struct kc_session;

// What rules want done with one call.
struct kc_decision {
  uint64_t delay_before, delay_after;
  uint64_t vanish_ms;
  CK_RV rv;
  int vanish_mode;
  bool fails, is_lost, hangs_before, hangs_after, kills_before, kills_after, drops, logs_out, vanishes;
};

struct kc_call {
  enum kc_function function;
  CK_SESSION_HANDLE session;
  CK_RV rv;
  struct kc_session *entry;
  struct kc_kept *kept;
  uint64_t ticket;
  bool holds_lock;
  bool is_forwarded;
  struct kc_decision decision;
};

// Counts the call and does what rules want before it. True: forward it, and call kc_leave in any case.
bool kc_enter(struct kc_call *call, enum kc_function function, CK_SESSION_HANDLE session);
CK_RV kc_leave(struct kc_call *call);
// Lets go of the lock before a call that may block for ever.
void kc_unlock(struct kc_call *call);
// Remembers what the caller has there, to put it back when the answer is to be lost.
void kc_keep(struct kc_call *call, void *bytes, size_t count);
void kc_keep_bytes(struct kc_call *call, void *bytes, CK_ULONG *count);
void kc_release(void);
uint64_t kc_now(void);

#define KC_FORWARD(function, arguments) \
  (call.rv = kc.real->function ? kc.real->function arguments : CKR_FUNCTION_NOT_SUPPORTED)

// MARK: Rules (rules.c, command.c, names.c)

enum kc_trigger { KC_EVERY, KC_NTH, KC_FROM, KC_PROBABILITY };

struct kc_functions {
  uint64_t bits[2];
};

struct kc_rule {
  enum kc_action action;
  struct kc_functions functions;
  enum kc_trigger trigger;
  uint64_t number;
  double probability;
  uint64_t random;
  uint64_t seen, fired, limit;
  uint64_t ms;
  CK_RV rv;
  int mode;
  bool is_after;
};

int kc_command(const char *line);
int kc_fail_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *kc_command_error(void);

int kc_rules_add(const struct kc_rule *rule);
void kc_rules_clear(void);
int kc_rules_number(void);
bool kc_rules_decide(enum kc_function function, struct kc_decision *decision);
bool kc_rules_corrupt(enum kc_function function, uint64_t *random);
uint64_t kc_random(uint64_t *state);
extern _Atomic int64_t kc_session_limit;

void kc_functions_add(struct kc_functions *set, enum kc_function function);
bool kc_functions_have(const struct kc_functions *set, enum kc_function function);
const char *kc_function_name(enum kc_function function);
const char *kc_action_name(enum kc_action action);
bool kc_puts_out_bytes(enum kc_function function);
int kc_parse_functions(const char *text, struct kc_functions *set);
bool kc_parse_rv(const char *text, CK_RV *rv);
const char *kc_rv_name(CK_RV rv);

// MARK: Sessions (sessions.c)

// Marks the session as in use by this call; NULL when the caller does not have it.
struct kc_session *kc_session_enter(CK_SESSION_HANDLE handle);
void kc_session_leave(struct kc_session *entry);
bool kc_session_reserve(int64_t limit);
void kc_session_unreserve(void);
void kc_session_add(CK_SESSION_HANDLE handle, CK_SLOT_ID slot);
void kc_slot_seen(CK_SLOT_ID slot);
// What C_CloseSession came to.
void kc_session_closed(struct kc_call *call);
void kc_sessions_closed(CK_SLOT_ID slot, bool is_lost);
void kc_sessions_refused(CK_SLOT_ID slot);
// All sessions ended by no doing of the caller.
void kc_sessions_gone(void);
bool kc_session_any(CK_SESSION_HANDLE preferred, CK_SESSION_HANDLE *found);
uint64_t kc_sessions_open(void);
// Forgets all; answers how many were open, and how many of them an injected fault refused to close.
void kc_sessions_forget(uint64_t *leaked, uint64_t *refused);
void kc_sessions_close_really(void);
void kc_sessions_before_fork(void);
void kc_sessions_after_fork(bool is_child);
void kc_rules_before_fork(void);
void kc_rules_after_fork(bool is_child);
void kc_waits_before_fork(void);
void kc_waits_after_fork(bool is_child);

// MARK: Vanishing (vanish.c)

enum kc_mode { KC_PRESENT, KC_REMOVED, KC_EMPTY, KC_DEAF, KC_STRANGER };

// Holding the lock for writing.
void kc_vanish_start(int mode, uint64_t ms);
void kc_vanish_now(int mode, uint64_t ms);
void kc_vanish_return(void);
void kc_vanish_initialized(void);
int kc_vanish_mode(void);
const char *kc_mode_name(int mode);
int kc_parse_mode(const char *text);
// Answers the call in place of the token; holding the lock for reading.
bool kc_vanish_answers(struct kc_call *call);
// Whether the token is empty and this object one of those it lost; sets the call's answer then.
bool kc_hides(struct kc_call *call, CK_OBJECT_HANDLE object, CK_RV rv);

// MARK: Corruption (corrupt.c)

void kc_corrupt(struct kc_call *call, CK_BYTE *bytes, const CK_ULONG *count);
void kc_corrupt_attributes(struct kc_call *call, CK_ATTRIBUTE *attributes, CK_ULONG count);

// MARK: Report and trace (report.c)

void kc_reset(void);
uint64_t kc_trace_begin(enum kc_function function);
void kc_trace_end(uint64_t ticket, CK_RV rv);

// The wrappers: kc_C_Sign has the type of C_Sign.
#define KC_DECLARE(name, kind, bytes) __typeof__(name) kc_##name;
KC_FUNCTIONS(KC_DECLARE)
#undef KC_DECLARE
__typeof__(C_GetFunctionList) kc_C_GetFunctionList;

#pragma GCC visibility pop

#endif
