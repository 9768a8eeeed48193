// Rules and commands as text.
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char error[512];

const char *kc_command_error(void) { return error; }

int kc_fail_command(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error, sizeof error, format, arguments);
  va_end(arguments);
  return 1;
}

#define DAY_MS 86400000u

struct words {
  char *words[16];
  int count;
};

// What a rule's options said.
struct options {
  struct kc_rule rule;
  bool has_trigger, has_p, has_seed, has_ms, has_rv, has_when, has_mode, has_n, has_match;
  int64_t n;
  struct kc_functions match;
};

static int parse_number(const char *key, const char *text, uint64_t least, uint64_t most, uint64_t *number) {
  char *end = NULL;
  errno = 0;
  unsigned long long value_read = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value_read < least || value_read > most) {
    return kc_fail_command("%s=%s is no number from %llu to %llu", key, text, (unsigned long long)least,
                           (unsigned long long)most);
  }
  *number = value_read;
  return 0;
}

static int parse_probability(const char *text, struct options *options) {
  char *end = NULL;
  options->has_p = true;
  options->rule.trigger = KC_PROBABILITY;
  options->rule.probability = strtod(text, &end);
  if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && options->rule.probability <= 1) return 0;
  return kc_fail_command("p=%s is no number from 0 to 1", text);
}

static int say_twice(bool *has, const char *key) {
  if (*has) return kc_fail_command("'%s' stands twice, or with another that says when", key);
  *has = true;
  return 0;
}

static int parse_trigger(const char *key, const char *text, struct options *options) {
  if (say_twice(&options->has_trigger, key) != 0) return 1;
  if (strcmp(key, "p") == 0) return parse_probability(text, options);
  options->rule.trigger = strcmp(key, "nth") == 0 ? KC_NTH : strcmp(key, "from") == 0 ? KC_FROM : KC_EVERY;
  return parse_number(key, text, 1, UINT64_MAX / 2, &options->rule.number);
}

static int parse_when(const char *text, struct options *options) {
  options->rule.is_after = strcmp(text, "after") == 0;
  if (say_twice(&options->has_when, "when") != 0) return 1;
  if (options->rule.is_after || strcmp(text, "before") == 0) return 0;
  return kc_fail_command("when=%s is neither before nor after", text);
}

static int parse_option(char *word, struct options *options) {
  char *text = strchr(word, '=');
  if (text == NULL) return kc_fail_command("'%s' is no option (key=value)", word);
  *text++ = '\0';
  struct kc_rule *rule = &options->rule;
  if (strcmp(word, "nth") == 0 || strcmp(word, "from") == 0 || strcmp(word, "every") == 0 || strcmp(word, "p") == 0) {
    return parse_trigger(word, text, options);
  }
  if (strcmp(word, "when") == 0) return parse_when(text, options);
  if (strcmp(word, "count") == 0) return parse_number(word, text, 1, UINT64_MAX / 2, &rule->limit);
  if (strcmp(word, "seed") == 0) {
    options->has_seed = true;
    return parse_number(word, text, 0, UINT64_MAX, &rule->random);
  }
  if (strcmp(word, "ms") == 0) {
    options->has_ms = true;
    return parse_number(word, text, 1, DAY_MS, &rule->ms);
  }
  if (strcmp(word, "n") == 0) {
    uint64_t number = 0;
    options->has_n = true;
    if (parse_number(word, text, 0, 1000000, &number) != 0) return 1;
    options->n = (int64_t)number;
    return 0;
  }
  if (strcmp(word, "rv") == 0) {
    options->has_rv = true;
    return kc_parse_rv(text, &rule->rv) ? 0 : kc_fail_command("rv=%s is no name of an answer and no number", text);
  }
  if (strcmp(word, "mode") == 0) {
    options->has_mode = true;
    rule->mode = kc_parse_mode(text);
    return rule->mode != KC_PRESENT ? 0 : kc_fail_command("mode=%s is none of removed, empty, deaf", text);
  }
  if (strcmp(word, "match") == 0) {
    options->has_match = true;
    return kc_parse_functions(text, &options->match);
  }
  return kc_fail_command("'%s' is no option of a rule", word);
}

// Which options go with which action.
static int check_options(const struct options *options) {
  enum kc_action action = options->rule.action;
  bool is_timed = action == KC_DELAY || action == KC_VANISH;
  bool has_when = action == KC_FAIL || action == KC_DELAY || action == KC_HANG || action == KC_KILL;
  const char *name = kc_action_name(action);
  if (options->has_ms != is_timed) return kc_fail_command(is_timed ? "%s needs ms=" : "%s takes no ms=", name);
  if (options->has_when && !has_when) return kc_fail_command("%s takes no when=", name);
  if (options->has_rv && action != KC_FAIL) return kc_fail_command("%s takes no rv=", name);
  if (options->has_mode && action != KC_VANISH) return kc_fail_command("%s takes no mode=", name);
  if (options->has_seed && !options->has_p && action != KC_CORRUPT) return kc_fail_command("seed= goes with p=");
  if (options->has_n != (action == KC_MAXSESSIONS)) {
    return kc_fail_command(options->has_n ? "%s takes no n=" : "%s needs n=", name);
  }
  if (action == KC_MAXSESSIONS && (options->has_trigger || options->has_match || options->rule.limit > 0)) {
    return kc_fail_command("maxsessions takes n= alone");
  }
  return 0;
}

static int narrow(struct options *options) {
  struct kc_rule *rule = &options->rule;
  bool is_any = false;
  for (int i = 0; i < KC_FUNCTION_COUNT; i++) {
    enum kc_function function = (enum kc_function)i;
    bool is_in = kc_functions_have(&rule->functions, function);
    if (options->has_match) is_in = is_in && kc_functions_have(&options->match, function);
    if (rule->action == KC_CORRUPT) is_in = is_in && kc_puts_out_bytes(function);
    if (!is_in) rule->functions.bits[i / 64] &= ~(1ull << (i % 64));
    is_any = is_any || is_in;
  }
  return is_any ? 0 : kc_fail_command("the rule fits no function that %s acts on", kc_action_name(rule->action));
}

static int parse_rule(enum kc_action action, const struct words *words) {
  struct options options = {.rule = {.action = action, .number = 1, .rv = CKR_DEVICE_ERROR, .mode = KC_REMOVED}};
  bool may_lack_function = action >= KC_DROP;
  int next = 1;
  bool has_function = words->count > 1 && strchr(words->words[1], '=') == NULL;
  if (!has_function && !may_lack_function) return kc_fail_command("%s needs a function or *", kc_action_name(action));
  if (has_function && action >= KC_VANISH) return kc_fail_command("%s takes no function", kc_action_name(action));
  if (kc_parse_functions(has_function ? words->words[next++] : "*", &options.rule.functions) != 0) return 1;
  for (; next < words->count; next++) {
    if (parse_option(words->words[next], &options) != 0) return 1;
  }
  if (check_options(&options) != 0 || narrow(&options) != 0) return 1;
  if (action == KC_MAXSESSIONS) {
    atomic_store(&kc_session_limit, options.n);
    return 0;
  }
  if (action == KC_VANISH && !options.has_trigger) {
    kc_vanish_now(options.rule.mode, options.rule.ms);
    return 0;
  }
  return kc_rules_add(&options.rule);
}

static int vanish_now(const struct words *words) {
  int mode = words->count == 1 ? KC_REMOVED : kc_parse_mode(words->words[1]);
  if (mode == KC_PRESENT) return kc_fail_command("'%s' is none of removed, empty, deaf", words->words[1]);
  kc_vanish_now(mode, KC_PENDING);
  return 0;
}

static int set_trace(const struct words *words) {
  bool is_on = words->count == 2 && strcmp(words->words[1], "on") == 0;
  if (!is_on && (words->count != 2 || strcmp(words->words[1], "off") != 0)) {
    return kc_fail_command("trace is on or off");
  }
  atomic_store(&kc.is_tracing, is_on);
  return 0;
}

static int run_words(const struct words *words) {
  const char *verb = words->words[0];
  for (int i = 0; i < KC_ACTION_COUNT; i++) {
    if (strcmp(verb, kc_action_name((enum kc_action)i)) == 0) return parse_rule((enum kc_action)i, words);
  }
  if (strcmp(verb, "vanish-now") == 0 && words->count <= 2) return vanish_now(words);
  if (strcmp(verb, "trace") == 0) return set_trace(words);
  static const struct {
    const char *name;
    void (*run)(void);
  } plain[] = {
      {"clear", kc_rules_clear}, {"reset", kc_reset}, {"release", kc_release}, {"return", kc_vanish_return}};
  for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
    if (strcmp(verb, plain[i].name) != 0) continue;
    if (words->count > 1) return kc_fail_command("%s stands alone", verb);
    plain[i].run();
    return 0;
  }
  return kc_fail_command("'%s' is no rule and no command", verb);
}

int kc_command(const char *line) {
  error[0] = '\0';
  char copy[4096];
  if (strlen(line) >= sizeof copy) return kc_fail_command("the line is too long");
  strcpy(copy, line);
  // A path may hold blanks, so its line is not cut into words.
  if (strncmp(copy, "module ", 7) == 0) {
    size_t end = strlen(copy);
    while (end > 7 && (copy[end - 1] == ' ' || copy[end - 1] == '\t')) copy[--end] = '\0';
    return kc_load_module(copy + 7 + strspn(copy + 7, " \t"));
  }
  struct words words = {.count = 0};
  char *rest = NULL;
  for (char *word = strtok_r(copy, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
    if (words.count == 16) return kc_fail_command("the line has too many words");
    words.words[words.count++] = word;
  }
  return words.count == 0 ? kc_fail_command("the line is empty") : run_words(&words);
}
