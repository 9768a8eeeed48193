// The rules in force: counting calls, and saying what is to happen to one.
#include "internal.h"

#define MOST_RULES 128

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kc_rule rules[MOST_RULES];
// Read without the lock, so that a module without rules only forwards.
static _Atomic int rule_count;
_Atomic int64_t kc_session_limit = -1;

// SplitMix64: small, and the same everywhere.
uint64_t kc_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

int kc_rules_add(const struct kc_rule *rule) {
  pthread_mutex_lock(&lock);
  int result = 0;
  if (rule_count == MOST_RULES) {
    result = kc_fail_command("there are %d rules already", MOST_RULES);
  } else {
    rules[rule_count] = *rule;
    rule_count++;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

void kc_rules_clear(void) {
  pthread_mutex_lock(&lock);
  rule_count = 0;
  atomic_store(&kc_session_limit, -1);
  pthread_mutex_unlock(&lock);
}

int kc_rules_number(void) { return rule_count + (atomic_load(&kc_session_limit) >= 0 ? 1 : 0); }

static bool fires(struct kc_rule *rule) {
  rule->seen++;
  bool wants = false;
  switch (rule->trigger) {
    case KC_EVERY: wants = rule->seen % rule->number == 0; break;
    case KC_FROM: wants = rule->seen >= rule->number; break;
    case KC_NTH: wants = rule->seen == rule->number; break;
    // 53 bits are what a double holds. The draw happens in any case, so that the sequence is that of the calls.
    case KC_PROBABILITY: wants = (double)(kc_random(&rule->random) >> 11) * 0x1p-53 < rule->probability; break;
  }
  if (!wants || (rule->limit > 0 && rule->fired == rule->limit)) return false;
  rule->fired++;
  return true;
}

static void apply(const struct kc_rule *rule, struct kc_decision *decision) {
  switch (rule->action) {
    case KC_FAIL:
      // The rule that stands first has its way.
      if (decision->fails) return;
      decision->fails = true;
      decision->is_lost = rule->is_after;
      decision->rv = rule->rv;
      break;
    case KC_DELAY: *(rule->is_after ? &decision->delay_after : &decision->delay_before) += rule->ms; break;
    case KC_HANG: *(rule->is_after ? &decision->hangs_after : &decision->hangs_before) = true; break;
    case KC_KILL: *(rule->is_after ? &decision->kills_after : &decision->kills_before) = true; break;
    case KC_DROP: decision->drops = true; break;
    case KC_LOGOUT: decision->logs_out = true; break;
    case KC_VANISH:
      decision->vanishes = true;
      decision->vanish_mode = rule->mode;
      decision->vanish_ms = rule->ms;
      break;
    case KC_CORRUPT:
    case KC_MAXSESSIONS:
    case KC_ACTION_COUNT: break;
  }
}

bool kc_rules_decide(enum kc_function function, struct kc_decision *decision) {
  if (atomic_load_explicit(&rule_count, memory_order_acquire) == 0) return false;
  bool is_any = false;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < rule_count; i++) {
    struct kc_rule *rule = &rules[i];
    if (rule->action == KC_CORRUPT || !kc_functions_have(&rule->functions, function) || !fires(rule)) continue;
    apply(rule, decision);
    is_any = true;
  }
  pthread_mutex_unlock(&lock);
  return is_any;
}

bool kc_rules_corrupt(enum kc_function function, uint64_t *random) {
  if (atomic_load_explicit(&rule_count, memory_order_acquire) == 0) return false;
  bool is_any = false;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < rule_count; i++) {
    struct kc_rule *rule = &rules[i];
    if (rule->action != KC_CORRUPT || !kc_functions_have(&rule->functions, function) || !fires(rule)) continue;
    *random = kc_random(&rule->random);
    is_any = true;
  }
  pthread_mutex_unlock(&lock);
  return is_any;
}

void kc_rules_before_fork(void) { pthread_mutex_lock(&lock); }

void kc_rules_after_fork(bool is_child) {
  (void)is_child;
  pthread_mutex_unlock(&lock);
}
