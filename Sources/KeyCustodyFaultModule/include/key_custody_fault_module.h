#ifndef KEY_CUSTODY_FAULT_MODULE_H
#define KEY_CUSTODY_FAULT_MODULE_H

// A PKCS#11 module that forwards every call to a real one, injects faults by rules, and reports misuse by its caller.
//
// Copy the library for each test: a loaded copy is an instance of its own. Beside it lies `<its own path>.conf`:
//
//     # the module to forward to
//     module /usr/lib/softhsm/libsofthsm2.so
//     # and rules, one a line
//     fail C_Sign nth=3 rv=DEVICE_ERROR
//
// A wrong line makes C_Initialize answer CKR_ARGUMENTS_BAD; `config_error` in the report names the line and the reason.
// The same lines are taken at any time by kc_fault_command.
//
// Rules. FUNCTION is a name with or without `C_`, several with commas between, or `*`; `match=` narrows `*`.
// TRIGGER is `nth=N` (once), `from=N` (that and every later one), `every=K` or `p=0.02` with `seed=S`; without one, every
// call. Calls are counted from when the rule was added; a call that comes before C_Initialize or after C_Finalize is not. `count=C` ends a rule after C
// injections. The draws of `p` replay with the same seed as long as one thread calls.
//
//     fail FUNCTION [TRIGGER] [when=before|after] [rv=NAME|0xHEX]   answers rv (DEVICE_ERROR). before: the call is not
//                                     forwarded. after: it is, and the answer is lost: the caller sees no output.
//     delay FUNCTION ms=M [TRIGGER] [when=]      waits first, or (after) answers late
//     hang FUNCTION [TRIGGER] [when=]            waits for the command `release`, which ends delays too
//     kill FUNCTION [TRIGGER] [when=]            SIGKILL to the own process
//     corrupt FUNCTION [TRIGGER]                 flips one bit of the bytes put out; a call that puts out none (it asks
//                                                for the length, or fails) does not count
//     drop [FUNCTION] [TRIGGER]                  really closes all sessions (C_CloseAllSessions), then forwards
//     logout [FUNCTION] [TRIGGER]                really logs out (C_Logout), then forwards
//     vanish ms=M [mode=removed|empty|deaf|stranger] [TRIGGER]    the token is gone for a while; without a trigger, from now
//       removed  sessions end; DEVICE_REMOVED, TOKEN_NOT_PRESENT, no slot with a token
//       empty    searches find nothing; private objects have invalid handles: a logout that nobody told
//       deaf     DEVICE_ERROR from everything, until the time is over and C_Finalize and C_Initialize came
//       stranger another token is in its slot: sessions are gone, its serial number and its PIN are others
//     maxsessions n=N                            SESSION_COUNT from C_OpenSession while N are open
//
// Commands.
//
//     clear            all rules off; a vanished token stays so, a hanging call too, and counters stay
//     reset            counters and trace to 0
//     release          ends what hangs and waits now
//     vanish-now [MODE], return     the token goes, and comes back
//     trace on|off     keeps the last 4096 calls
//     module PATH      as in the file, before the first C_Initialize

#include <stddef.h>

#if defined(__cplusplus)
extern "C" {
#endif

#define KC_FAULT_EXPORT __attribute__((visibility("default")))

// Takes one rule or command. Answers 0, or nonzero; then kc_fault_error has the reason. Any thread may call it.
KC_FAULT_EXPORT int kc_fault_command(const char *line);

// Why this thread's last kc_fault_command failed; empty when it did not. Valid to the thread's next command.
KC_FAULT_EXPORT const char *kc_fault_error(void);

// Writes the counters as one JSON object, cut to `size` and ended by a zero byte. Answers its whole length, like
// snprintf.
//
// A parent sees what a forked child counted, save `open_sessions`, `inside` and `pid`, which are this process's own.
KC_FAULT_EXPORT size_t kc_fault_report(char *buffer, size_t size);

// Writes the kept calls, oldest first, one a line: the function and what it answered, `-` while it has not. As above.
KC_FAULT_EXPORT size_t kc_fault_trace(char *buffer, size_t size);

#if defined(__cplusplus)
}
#endif

#endif
