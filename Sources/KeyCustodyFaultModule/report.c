// What the module counted, as JSON, and its last calls.
#include "internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// MARK: Text

// Text that is cut to the caller's buffer and counted whole.
struct text {
  char *buffer;
  size_t size, length;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...) {
  size_t used = text->length < text->size ? text->length : text->size;
  va_list arguments;
  va_start(arguments, format);
  int count = vsnprintf(text->size == used ? NULL : text->buffer + used, text->size - used, format, arguments);
  va_end(arguments);
  if (count > 0) text->length += (size_t)count;
}

static void add_string(struct text *text, const char *string) {
  add(text, "\"");
  for (; *string != '\0'; string++) {
    unsigned char byte = (unsigned char)*string;
    if (byte < 0x20 || byte == '"' || byte == '\\') add(text, "\\u%04x", byte);
    else add(text, "%c", byte);
  }
  add(text, "\"");
}

static void add_number(struct text *text, const char *name, uint64_t number) {
  add(text, ",\"%s\":%" PRIu64, name, number);
}

// MARK: Report

static void add_functions(struct text *text) {
  const char *separator = "";
  add(text, ",\"functions\":{");
  for (int i = 0; i < KC_FUNCTION_COUNT; i++) {
    uint64_t count = atomic_load(&kc.shared->functions[i]);
    if (count == 0) continue;
    add(text, "%s\"%s\":%" PRIu64, separator, kc_function_name((enum kc_function)i), count);
    separator = ",";
  }
  add(text, "}");
}

static void add_injected(struct text *text) {
  const char *separator = "";
  add(text, ",\"injected\":{");
  for (int i = 0; i < KC_ACTION_COUNT; i++) {
    uint64_t count = atomic_load(&kc.shared->injected[i]);
    if (count == 0) continue;
    add(text, "%s\"%s\":%" PRIu64, separator, kc_action_name((enum kc_action)i), count);
    separator = ",";
  }
  add(text, "}");
}

static void add_counters(struct text *text) {
#define COUNTER(name) add_number(text, #name, atomic_load(&kc.shared->name))
  COUNTER(concurrent_session_use);
  COUNTER(used_after_fork);
  COUNTER(after_finalize);
  COUNTER(finalize_while_inside);
  COUNTER(leaked_at_finalize);
  COUNTER(refused_at_finalize);
  COUNTER(max_open_sessions);
  COUNTER(logins);
  COUNTER(login_failures);
  COUNTER(unknown_session_handle);
#undef COUNTER
}

size_t kc_fault_report(char *buffer, size_t size) {
  kc_load();
  struct text text = {buffer, size, 0};
  add(&text, "{\"calls\":%" PRIu64, atomic_load(&kc.shared->calls));
  add_functions(&text);
  add_injected(&text);
  add_counters(&text);
  add_number(&text, "open_sessions", kc_sessions_open());
  add_number(&text, "inside", atomic_load(&kc.inside));
  add_number(&text, "rules", (uint64_t)kc_rules_number());
  add(&text, ",\"pid\":%ld,\"vanished\":\"%s\",\"config_error\":", (long)atomic_load(&kc.owner),
      kc_mode_name(kc_vanish_mode()));
  add_string(&text, kc_config_error());
  add(&text, "}");
  return text.length;
}

void kc_reset(void) { memset(kc.shared, 0, sizeof *kc.shared); }

// MARK: Trace

uint64_t kc_trace_begin(enum kc_function function) {
  uint64_t ticket = KC_COUNT(tickets);
  struct kc_traced *traced = &kc.shared->trace[ticket % KC_TRACE_LENGTH];
  atomic_store(&traced->ticket, KC_PENDING);
  atomic_store(&traced->function, (uint32_t)function);
  atomic_store(&traced->rv, KC_PENDING);
  atomic_store(&traced->ticket, ticket);
  return ticket;
}

void kc_trace_end(uint64_t ticket, CK_RV rv) {
  struct kc_traced *traced = &kc.shared->trace[ticket % KC_TRACE_LENGTH];
  if (atomic_load(&traced->ticket) == ticket) atomic_store(&traced->rv, rv);
}

size_t kc_fault_trace(char *buffer, size_t size) {
  kc_load();
  struct text text = {buffer, size, 0};
  if (size > 0) buffer[0] = '\0';
  uint64_t end = atomic_load(&kc.shared->tickets);
  for (uint64_t ticket = end > KC_TRACE_LENGTH ? end - KC_TRACE_LENGTH : 0; ticket < end; ticket++) {
    struct kc_traced *traced = &kc.shared->trace[ticket % KC_TRACE_LENGTH];
    if (atomic_load(&traced->ticket) != ticket) continue;
    const char *name = kc_function_name((enum kc_function)atomic_load(&traced->function));
    uint64_t rv = atomic_load(&traced->rv);
    const char *answer = kc_rv_name((CK_RV)rv);
    if (rv == KC_PENDING) add(&text, "%s -\n", name);
    else if (answer != NULL) add(&text, "%s %s\n", name, answer);
    else add(&text, "%s 0x%" PRIx64 "\n", name, rv);
  }
  return text.length;
}

// MARK: Commands

int kc_fault_command(const char *line) {
  kc_load();
  return kc_command(line == NULL ? "" : line);
}

const char *kc_fault_error(void) { return kc_command_error(); }
