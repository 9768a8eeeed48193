// Functions, actions and answers by name.
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// MARK: Functions

static const struct {
  const char *name;
  enum kc_need need;
  bool puts_out_bytes;
} functions[] = {
#define KC_ROW(name, need, bytes) {#name, KC_NEEDS_##need, bytes},
    KC_FUNCTIONS(KC_ROW)
#undef KC_ROW
};

const char *kc_function_name(enum kc_function function) { return functions[function].name; }
enum kc_need kc_function_need(enum kc_function function) { return functions[function].need; }
bool kc_puts_out_bytes(enum kc_function function) { return functions[function].puts_out_bytes; }

void kc_functions_add(struct kc_functions *set, enum kc_function function) {
  set->bits[function / 64] |= 1ull << (function % 64);
}

bool kc_functions_have(const struct kc_functions *set, enum kc_function function) {
  return (set->bits[function / 64] >> (function % 64)) & 1;
}

static bool add_named(struct kc_functions *set, const char *name, size_t length) {
  for (int i = 0; i < KC_FUNCTION_COUNT; i++) {
    const char *known = functions[i].name;
    bool is_whole = strlen(known) == length && strncmp(known, name, length) == 0;
    bool is_short = strlen(known) == length + 2 && strncmp(known + 2, name, length) == 0;
    if (!is_whole && !is_short) continue;
    kc_functions_add(set, (enum kc_function)i);
    return true;
  }
  return false;
}

int kc_parse_functions(const char *text, struct kc_functions *set) {
  *set = (struct kc_functions){{0, 0}};
  if (strcmp(text, "*") == 0) {
    for (int i = 0; i < KC_FUNCTION_COUNT; i++) kc_functions_add(set, (enum kc_function)i);
    return 0;
  }
  for (;;) {
    size_t length = strcspn(text, ",");
    if (!add_named(set, text, length)) return kc_fail_command("'%.*s' is no function", (int)length, text);
    if (text[length] == '\0') return 0;
    text += length + 1;
  }
}

// MARK: Actions

const char *kc_action_name(enum kc_action action) {
  static const char *const names[] = {"fail",  "delay",  "hang",   "kill",       "corrupt",
                                      "drop",  "logout", "vanish", "maxsessions"};
  return names[action];
}

// MARK: Answers

static const struct {
  CK_RV rv;
  const char *name;
} codes[] = {
#define CODE(name) {CKR_##name, "CKR_" #name}
  CODE(OK), CODE(CANCEL), CODE(HOST_MEMORY), CODE(SLOT_ID_INVALID), CODE(GENERAL_ERROR), CODE(FUNCTION_FAILED),
  CODE(ARGUMENTS_BAD), CODE(NO_EVENT), CODE(NEED_TO_CREATE_THREADS), CODE(CANT_LOCK), CODE(ATTRIBUTE_READ_ONLY),
  CODE(ATTRIBUTE_SENSITIVE), CODE(ATTRIBUTE_TYPE_INVALID), CODE(ATTRIBUTE_VALUE_INVALID), CODE(ACTION_PROHIBITED),
  CODE(DATA_INVALID), CODE(DATA_LEN_RANGE), CODE(DEVICE_ERROR), CODE(DEVICE_MEMORY), CODE(DEVICE_REMOVED),
  CODE(ENCRYPTED_DATA_INVALID), CODE(ENCRYPTED_DATA_LEN_RANGE), CODE(FUNCTION_CANCELED), CODE(FUNCTION_NOT_PARALLEL),
  CODE(FUNCTION_NOT_SUPPORTED), CODE(KEY_HANDLE_INVALID), CODE(KEY_SIZE_RANGE), CODE(KEY_TYPE_INCONSISTENT),
  CODE(KEY_NOT_NEEDED), CODE(KEY_CHANGED), CODE(KEY_NEEDED), CODE(KEY_INDIGESTIBLE),
  CODE(KEY_FUNCTION_NOT_PERMITTED), CODE(KEY_NOT_WRAPPABLE), CODE(KEY_UNEXTRACTABLE), CODE(MECHANISM_INVALID),
  CODE(MECHANISM_PARAM_INVALID), CODE(OBJECT_HANDLE_INVALID), CODE(OPERATION_ACTIVE),
  CODE(OPERATION_NOT_INITIALIZED), CODE(PIN_INCORRECT), CODE(PIN_INVALID), CODE(PIN_LEN_RANGE), CODE(PIN_EXPIRED),
  CODE(PIN_LOCKED), CODE(SESSION_CLOSED), CODE(SESSION_COUNT), CODE(SESSION_HANDLE_INVALID),
  CODE(SESSION_PARALLEL_NOT_SUPPORTED), CODE(SESSION_READ_ONLY), CODE(SESSION_EXISTS),
  CODE(SESSION_READ_ONLY_EXISTS), CODE(SESSION_READ_WRITE_SO_EXISTS), CODE(SIGNATURE_INVALID),
  CODE(SIGNATURE_LEN_RANGE), CODE(TEMPLATE_INCOMPLETE), CODE(TEMPLATE_INCONSISTENT), CODE(TOKEN_NOT_PRESENT),
  CODE(TOKEN_NOT_RECOGNIZED), CODE(TOKEN_WRITE_PROTECTED), CODE(UNWRAPPING_KEY_HANDLE_INVALID),
  CODE(UNWRAPPING_KEY_SIZE_RANGE), CODE(UNWRAPPING_KEY_TYPE_INCONSISTENT), CODE(USER_ALREADY_LOGGED_IN),
  CODE(USER_NOT_LOGGED_IN), CODE(USER_PIN_NOT_INITIALIZED), CODE(USER_TYPE_INVALID),
  CODE(USER_ANOTHER_ALREADY_LOGGED_IN), CODE(USER_TOO_MANY_TYPES), CODE(WRAPPED_KEY_INVALID),
  CODE(WRAPPED_KEY_LEN_RANGE), CODE(WRAPPING_KEY_HANDLE_INVALID), CODE(WRAPPING_KEY_SIZE_RANGE),
  CODE(WRAPPING_KEY_TYPE_INCONSISTENT), CODE(RANDOM_SEED_NOT_SUPPORTED), CODE(RANDOM_NO_RNG),
  CODE(DOMAIN_PARAMS_INVALID), CODE(CURVE_NOT_SUPPORTED), CODE(BUFFER_TOO_SMALL), CODE(SAVED_STATE_INVALID),
  CODE(INFORMATION_SENSITIVE), CODE(STATE_UNSAVEABLE), CODE(CRYPTOKI_NOT_INITIALIZED),
  CODE(CRYPTOKI_ALREADY_INITIALIZED), CODE(MUTEX_BAD), CODE(MUTEX_NOT_LOCKED), CODE(NEW_PIN_MODE), CODE(NEXT_OTP),
  CODE(EXCEEDED_MAX_ITERATIONS), CODE(FIPS_SELF_TEST_FAILED), CODE(LIBRARY_LOAD_FAILED), CODE(PIN_TOO_WEAK),
  CODE(PUBLIC_KEY_INVALID), CODE(FUNCTION_REJECTED),
#undef CODE
};

#define CODE_COUNT (sizeof codes / sizeof codes[0])

const char *kc_rv_name(CK_RV rv) {
  for (size_t i = 0; i < CODE_COUNT; i++) {
    if (codes[i].rv == rv) return codes[i].name;
  }
  return NULL;
}

bool kc_parse_rv(const char *text, CK_RV *rv) {
  for (size_t i = 0; i < CODE_COUNT; i++) {
    if (strcmp(codes[i].name, text) != 0 && strcmp(codes[i].name + 4, text) != 0) continue;
    *rv = codes[i].rv;
    return true;
  }
  char *end = NULL;
  errno = 0;
  *rv = strtoul(text, &end, 0);
  return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}
