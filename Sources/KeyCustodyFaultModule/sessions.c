// The sessions that the caller has, and who is inside them.
#include "internal.h"

#include <stdlib.h>

enum state {
  IS_OPEN,
  // Ended by a fault: the caller may still ask, and learns that it is gone.
  IS_GONE,
  // Ended by the caller; stays only while some call is still in it.
  IS_CLOSED
};

struct kc_session {
  CK_SESSION_HANDLE handle;
  CK_SLOT_ID slot;
  enum state state;
  // The caller asked to close it and an injected fault refused.
  bool is_refused;
  unsigned users;
  struct kc_session *next;
};

#define BUCKETS 64
#define SLOTS 64

static struct bucket {
  pthread_mutex_t lock;
  struct kc_session *first;
} buckets[BUCKETS];

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static int64_t reserved;
static _Atomic uint64_t open_count;
static CK_SLOT_ID slots[SLOTS];
static size_t slot_count;

static void make_locks(void) {
  for (size_t i = 0; i < BUCKETS; i++) pthread_mutex_init(&buckets[i].lock, NULL);
}

static struct bucket *bucket_of(CK_SESSION_HANDLE handle) {
  pthread_once(&once, make_locks);
  return &buckets[(handle ^ (handle >> 6) ^ (handle >> 12)) % BUCKETS];
}

static struct kc_session *find(struct bucket *bucket, CK_SESSION_HANDLE handle) {
  struct kc_session *entry = bucket->first;
  while (entry != NULL && (entry->handle != handle || entry->state == IS_CLOSED)) entry = entry->next;
  return entry;
}

static void set_state(struct kc_session *entry, enum state state) {
  if (entry->state == IS_OPEN && state != IS_OPEN) atomic_fetch_sub(&open_count, 1);
  entry->state = state;
}

// Frees what the caller closed and nobody is in.
static void sweep(struct bucket *bucket) {
  struct kc_session **link = &bucket->first;
  while (*link != NULL) {
    struct kc_session *entry = *link;
    if (entry->state == IS_CLOSED && entry->users == 0) {
      *link = entry->next;
      free(entry);
    } else {
      link = &entry->next;
    }
  }
}

struct kc_session *kc_session_enter(CK_SESSION_HANDLE handle) {
  struct bucket *bucket = bucket_of(handle);
  pthread_mutex_lock(&bucket->lock);
  struct kc_session *entry = find(bucket, handle);
  if (entry == NULL) {
    KC_COUNT(unknown_session_handle);
  } else if (entry->users++ > 0) {
    KC_COUNT(concurrent_session_use);
  }
  pthread_mutex_unlock(&bucket->lock);
  return entry;
}

void kc_session_leave(struct kc_session *entry) {
  struct bucket *bucket = bucket_of(entry->handle);
  pthread_mutex_lock(&bucket->lock);
  entry->users--;
  if (entry->state == IS_CLOSED) sweep(bucket);
  pthread_mutex_unlock(&bucket->lock);
}

// MARK: Opening

bool kc_session_reserve(int64_t limit) {
  pthread_mutex_lock(&opening);
  bool has_room = limit < 0 || (int64_t)atomic_load(&open_count) + reserved < limit;
  if (has_room) reserved++;
  pthread_mutex_unlock(&opening);
  return has_room;
}

void kc_session_unreserve(void) {
  pthread_mutex_lock(&opening);
  reserved--;
  pthread_mutex_unlock(&opening);
}

void kc_session_add(CK_SESSION_HANDLE handle, CK_SLOT_ID slot) {
  struct kc_session *entry = calloc(1, sizeof *entry);
  if (entry == NULL) return;
  entry->handle = handle;
  entry->slot = slot;
  struct bucket *bucket = bucket_of(handle);
  pthread_mutex_lock(&bucket->lock);
  // The module gives out the handle of a session that is gone a second time.
  struct kc_session *old = find(bucket, handle);
  if (old != NULL) set_state(old, IS_CLOSED);
  sweep(bucket);
  entry->next = bucket->first;
  bucket->first = entry;
  pthread_mutex_unlock(&bucket->lock);
  uint64_t now = atomic_fetch_add(&open_count, 1) + 1;
  uint64_t most = atomic_load(&kc.shared->max_open_sessions);
  while (now > most && !atomic_compare_exchange_weak(&kc.shared->max_open_sessions, &most, now)) {}
}

void kc_slot_seen(CK_SLOT_ID slot) {
  pthread_mutex_lock(&opening);
  size_t i = 0;
  while (i < slot_count && slots[i] != slot) i++;
  if (i == slot_count && slot_count < SLOTS) slots[slot_count++] = slot;
  pthread_mutex_unlock(&opening);
}

uint64_t kc_sessions_open(void) { return atomic_load(&open_count); }

bool kc_session_any(CK_SESSION_HANDLE preferred, CK_SESSION_HANDLE *found) {
  struct bucket *first = bucket_of(preferred);
  for (size_t i = 0; i < BUCKETS; i++) {
    struct bucket *bucket = &buckets[((size_t)(first - buckets) + i) % BUCKETS];
    pthread_mutex_lock(&bucket->lock);
    struct kc_session *entry = find(bucket, preferred);
    if (entry == NULL || entry->state != IS_OPEN) {
      entry = bucket->first;
      while (entry != NULL && entry->state != IS_OPEN) entry = entry->next;
    }
    if (entry != NULL) *found = entry->handle;
    pthread_mutex_unlock(&bucket->lock);
    if (entry != NULL) return true;
  }
  return false;
}

// MARK: Closing

void kc_session_closed(struct kc_call *call) {
  if (call->entry == NULL) return;
  struct bucket *bucket = bucket_of(call->entry->handle);
  pthread_mutex_lock(&bucket->lock);
  bool is_ended = call->is_forwarded && (call->rv == CKR_OK || call->rv == CKR_SESSION_HANDLE_INVALID);
  if (!is_ended) {
    call->entry->is_refused = true;
  } else if (call->decision.is_lost) {
    set_state(call->entry, IS_GONE);
  } else {
    set_state(call->entry, IS_CLOSED);
  }
  pthread_mutex_unlock(&bucket->lock);
}

static void for_all(void (*body)(struct kc_session *, const void *), const void *context) {
  pthread_once(&once, make_locks);
  for (size_t i = 0; i < BUCKETS; i++) {
    pthread_mutex_lock(&buckets[i].lock);
    for (struct kc_session *entry = buckets[i].first; entry != NULL; entry = entry->next) body(entry, context);
    sweep(&buckets[i]);
    pthread_mutex_unlock(&buckets[i].lock);
  }
}

struct slot_end {
  CK_SLOT_ID slot;
  bool is_lost;
};

static void end_on_slot(struct kc_session *entry, const void *context) {
  const struct slot_end *end = context;
  if (entry->slot == end->slot && entry->state != IS_CLOSED) set_state(entry, end->is_lost ? IS_GONE : IS_CLOSED);
}

void kc_sessions_closed(CK_SLOT_ID slot, bool is_lost) {
  struct slot_end end = {slot, is_lost};
  for_all(end_on_slot, &end);
}

static void refuse_on_slot(struct kc_session *entry, const void *context) {
  if (entry->slot == *(const CK_SLOT_ID *)context) entry->is_refused = true;
}

void kc_sessions_refused(CK_SLOT_ID slot) { for_all(refuse_on_slot, &slot); }

static void end_as_gone(struct kc_session *entry, const void *context) {
  (void)context;
  if (entry->state == IS_OPEN) set_state(entry, IS_GONE);
}

void kc_sessions_gone(void) { for_all(end_as_gone, NULL); }

// Only on slots where the caller has opened sessions: that is where it can have any.
void kc_sessions_close_really(void) {
  for (size_t i = 0; i < slot_count; i++) kc.real->C_CloseAllSessions(slots[i]);
  kc_sessions_gone();
}

struct ends {
  uint64_t *leaked, *refused;
};

static void forget(struct kc_session *entry, const void *context) {
  const struct ends *ends = context;
  if (entry->state == IS_OPEN) *(entry->is_refused ? ends->refused : ends->leaked) += 1;
  set_state(entry, IS_CLOSED);
}

void kc_sessions_forget(uint64_t *leaked, uint64_t *refused) {
  *leaked = 0;
  *refused = 0;
  struct ends ends = {leaked, refused};
  for_all(forget, &ends);
  pthread_mutex_lock(&opening);
  slot_count = 0;
  pthread_mutex_unlock(&opening);
}

// MARK: Forks

void kc_sessions_before_fork(void) {
  pthread_once(&once, make_locks);
  for (size_t i = 0; i < BUCKETS; i++) pthread_mutex_lock(&buckets[i].lock);
  pthread_mutex_lock(&opening);
}

static void leave_behind(struct kc_session *entry, const void *context) {
  (void)context;
  entry->users = 0;
}

void kc_sessions_after_fork(bool is_child) {
  if (is_child) reserved = 0;
  pthread_mutex_unlock(&opening);
  for (size_t i = 0; i < BUCKETS; i++) pthread_mutex_unlock(&buckets[i].lock);
  // The child forks inside no call, and the threads that were inside one stayed with the parent.
  if (is_child) for_all(leave_behind, NULL);
}
