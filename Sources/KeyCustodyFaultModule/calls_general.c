// The module, slots, tokens and sessions.
#include "internal.h"

// MARK: The module

static void note_initialized(CK_RV rv) {
  // Who adopts a module that somebody else initialised past this one calls on as well.
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) return;
  uint64_t leaked = 0, refused = 0;
  if (atomic_load(&kc.owner) != atomic_load(&kc.process)) kc_sessions_forget(&leaked, &refused);
  atomic_store(&kc.finalized_untold, false);
  atomic_store(&kc.owner, atomic_load(&kc.process));
  if (rv == CKR_OK) kc_vanish_initialized();
}

CK_RV kc_C_Initialize(void *arguments) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_Initialize, 0)) {
    pid_t owner = atomic_load(&kc.owner);
    KC_FORWARD(C_Initialize, (arguments));
    if (call.rv == CKR_CRYPTOKI_ALREADY_INITIALIZED && owner != 0 && owner != atomic_load(&kc.process)) {
      // The real module came through a fork initialised; for the caller, who is new here, it was not.
      kc.real->C_Finalize(NULL);
      KC_FORWARD(C_Initialize, (arguments));
    }
    note_initialized(call.rv);
  }
  return kc_leave(&call);
}

static void note_finalized(bool is_lost) {
  uint64_t leaked = 0, refused = 0;
  kc_sessions_forget(&leaked, &refused);
  atomic_fetch_add(&kc.shared->leaked_at_finalize, leaked);
  atomic_fetch_add(&kc.shared->refused_at_finalize, refused);
  atomic_store(&kc.finalized_untold, is_lost);
  atomic_store(&kc.owner, 0);
}

CK_RV kc_C_Finalize(void *reserved) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_Finalize, 0)) {
    if (atomic_load(&kc.inside) > 1) KC_COUNT(finalize_while_inside);
    KC_FORWARD(C_Finalize, (reserved));
    if (call.rv == CKR_OK) note_finalized(call.decision.is_lost);
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetInfo(CK_INFO *info) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetInfo, 0)) {
    kc_keep(&call, info, sizeof *info);
    KC_FORWARD(C_GetInfo, (info));
  }
  return kc_leave(&call);
}

CK_RV kc_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_WaitForSlotEvent, 0)) {
    kc_keep(&call, slot, sizeof *slot);
    kc_unlock(&call);
    KC_FORWARD(C_WaitForSlotEvent, (flags, slot, reserved));
  }
  return kc_leave(&call);
}

// MARK: Slots and tokens

CK_RV kc_C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *slots, CK_ULONG *count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetSlotList, 0)) {
    if (count != NULL) kc_keep(&call, slots, *count * sizeof *slots);
    kc_keep(&call, count, sizeof *count);
    if (token_present && count != NULL && kc_vanish_mode() == KC_REMOVED) {
      *count = 0;
      call.rv = CKR_OK;
    } else {
      KC_FORWARD(C_GetSlotList, (token_present, slots, count));
    }
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetSlotInfo, 0)) {
    kc_keep(&call, info, sizeof *info);
    KC_FORWARD(C_GetSlotInfo, (slot, info));
    if (call.rv == CKR_OK && kc_vanish_mode() == KC_REMOVED) info->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetTokenInfo, 0)) {
    kc_keep(&call, info, sizeof *info);
    KC_FORWARD(C_GetTokenInfo, (slot, info));
    if (call.rv == CKR_OK && kc_vanish_mode() == KC_STRANGER) info->serialNumber[0] ^= 1;
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *mechanisms, CK_ULONG *count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetMechanismList, 0)) {
    if (count != NULL) kc_keep(&call, mechanisms, *count * sizeof *mechanisms);
    kc_keep(&call, count, sizeof *count);
    KC_FORWARD(C_GetMechanismList, (slot, mechanisms, count));
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO *info) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetMechanismInfo, 0)) {
    kc_keep(&call, info, sizeof *info);
    KC_FORWARD(C_GetMechanismInfo, (slot, mechanism, info));
  }
  return kc_leave(&call);
}

CK_RV kc_C_InitToken(CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *label) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_InitToken, 0)) KC_FORWARD(C_InitToken, (slot, pin, pin_len, label));
  return kc_leave(&call);
}

CK_RV kc_C_InitPIN(CK_SESSION_HANDLE session, CK_BYTE *pin, CK_ULONG pin_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_InitPIN, session)) KC_FORWARD(C_InitPIN, (session, pin, pin_len));
  return kc_leave(&call);
}

CK_RV kc_C_SetPIN(CK_SESSION_HANDLE session, CK_BYTE *old, CK_ULONG old_len, CK_BYTE *new, CK_ULONG new_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_SetPIN, session)) KC_FORWARD(C_SetPIN, (session, old, old_len, new, new_len));
  return kc_leave(&call);
}

// MARK: Sessions

CK_RV kc_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                       CK_SESSION_HANDLE *session) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_OpenSession, 0)) {
    if (!kc_session_reserve(atomic_load(&kc_session_limit))) {
      KC_COUNT(injected[KC_MAXSESSIONS]);
      call.rv = CKR_SESSION_COUNT;
    } else {
      kc_slot_seen(slot);
      kc_keep(&call, session, sizeof *session);
      KC_FORWARD(C_OpenSession, (slot, flags, application, notify, session));
      // A session whose answer is lost is nobody's: the caller can't close what it never got.
      if (call.rv == CKR_OK && !call.decision.is_lost) kc_session_add(*session, slot);
      kc_session_unreserve();
    }
  }
  return kc_leave(&call);
}

CK_RV kc_C_CloseSession(CK_SESSION_HANDLE session) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_CloseSession, session)) KC_FORWARD(C_CloseSession, (session));
  kc_session_closed(&call);
  return kc_leave(&call);
}

CK_RV kc_C_CloseAllSessions(CK_SLOT_ID slot) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_CloseAllSessions, 0)) KC_FORWARD(C_CloseAllSessions, (slot));
  if (call.is_forwarded && call.rv == CKR_OK) {
    kc_sessions_closed(slot, call.decision.is_lost);
  } else {
    kc_sessions_refused(slot);
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetSessionInfo, session)) {
    kc_keep(&call, info, sizeof *info);
    KC_FORWARD(C_GetSessionInfo, (session, info));
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG *state_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetOperationState, session)) {
    kc_keep_bytes(&call, state, state_len);
    KC_FORWARD(C_GetOperationState, (session, state, state_len));
  }
  return kc_leave(&call);
}

CK_RV kc_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG state_len,
                             CK_OBJECT_HANDLE encryption, CK_OBJECT_HANDLE authentication) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_SetOperationState, session)) {
    KC_FORWARD(C_SetOperationState, (session, state, state_len, encryption, authentication));
  }
  return kc_leave(&call);
}

CK_RV kc_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG pin_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_Login, session)) {
    // Another token has another PIN.
    if (kc_vanish_mode() == KC_STRANGER) call.rv = CKR_PIN_INCORRECT;
    else KC_FORWARD(C_Login, (session, user, pin, pin_len));
  }
  CK_RV rv = kc_leave(&call);
  // What the caller was told counts: it shall not try a refused PIN again. Being logged in already is no refusal.
  if (rv == CKR_OK) KC_COUNT(logins);
  else if (rv != CKR_USER_ALREADY_LOGGED_IN) KC_COUNT(login_failures);
  return rv;
}

CK_RV kc_C_Logout(CK_SESSION_HANDLE session) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_Logout, session)) KC_FORWARD(C_Logout, (session));
  return kc_leave(&call);
}

CK_RV kc_C_GetFunctionStatus(CK_SESSION_HANDLE session) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetFunctionStatus, session)) KC_FORWARD(C_GetFunctionStatus, (session));
  return kc_leave(&call);
}

CK_RV kc_C_CancelFunction(CK_SESSION_HANDLE session) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_CancelFunction, session)) KC_FORWARD(C_CancelFunction, (session));
  return kc_leave(&call);
}
