// Objects and keys.
#include "internal.h"

// MARK: Objects

CK_RV kc_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count,
                        CK_OBJECT_HANDLE *object) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_CreateObject, session)) {
    kc_keep(&call, object, sizeof *object);
    KC_FORWARD(C_CreateObject, (session, attributes, count, object));
  }
  return kc_leave(&call);
}

CK_RV kc_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG count,
                      CK_OBJECT_HANDLE *copy) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_CopyObject, session) && !kc_hides(&call, object, CKR_OBJECT_HANDLE_INVALID)) {
    kc_keep(&call, copy, sizeof *copy);
    KC_FORWARD(C_CopyObject, (session, object, attributes, count, copy));
  }
  return kc_leave(&call);
}

CK_RV kc_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_DestroyObject, session) && !kc_hides(&call, object, CKR_OBJECT_HANDLE_INVALID)) {
    KC_FORWARD(C_DestroyObject, (session, object));
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetObjectSize, session) && !kc_hides(&call, object, CKR_OBJECT_HANDLE_INVALID)) {
    kc_keep(&call, size, sizeof *size);
    KC_FORWARD(C_GetObjectSize, (session, object, size));
  }
  return kc_leave(&call);
}

CK_RV kc_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
                             CK_ULONG count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GetAttributeValue, session) && !kc_hides(&call, object, CKR_OBJECT_HANDLE_INVALID)) {
    if (call.decision.is_lost && attributes != NULL) {
      for (CK_ULONG i = 0; i < count; i++) kc_keep(&call, attributes[i].pValue, attributes[i].ulValueLen);
      kc_keep(&call, attributes, count * sizeof *attributes);
    }
    KC_FORWARD(C_GetAttributeValue, (session, object, attributes, count));
    kc_corrupt_attributes(&call, attributes, count);
  }
  return kc_leave(&call);
}

CK_RV kc_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
                             CK_ULONG count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_SetAttributeValue, session) && !kc_hides(&call, object, CKR_OBJECT_HANDLE_INVALID)) {
    KC_FORWARD(C_SetAttributeValue, (session, object, attributes, count));
  }
  return kc_leave(&call);
}

CK_RV kc_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_FindObjectsInit, session)) KC_FORWARD(C_FindObjectsInit, (session, attributes, count));
  return kc_leave(&call);
}

CK_RV kc_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG most, CK_ULONG *count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_FindObjects, session)) {
    kc_keep(&call, objects, most * sizeof *objects);
    kc_keep(&call, count, sizeof *count);
    KC_FORWARD(C_FindObjects, (session, objects, most, count));
    if (call.rv == CKR_OK && kc_vanish_mode() == KC_EMPTY) *count = 0;
  }
  return kc_leave(&call);
}

CK_RV kc_C_FindObjectsFinal(CK_SESSION_HANDLE session) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_FindObjectsFinal, session)) KC_FORWARD(C_FindObjectsFinal, (session));
  return kc_leave(&call);
}

// MARK: Keys

CK_RV kc_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attributes, CK_ULONG count,
                       CK_OBJECT_HANDLE *key) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GenerateKey, session)) {
    kc_keep(&call, key, sizeof *key);
    KC_FORWARD(C_GenerateKey, (session, mechanism, attributes, count, key));
  }
  return kc_leave(&call);
}

CK_RV kc_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_attributes,
                           CK_ULONG public_count, CK_ATTRIBUTE *private_attributes, CK_ULONG private_count,
                           CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GenerateKeyPair, session)) {
    kc_keep(&call, public_key, sizeof *public_key);
    kc_keep(&call, private_key, sizeof *private_key);
    KC_FORWARD(C_GenerateKeyPair, (session, mechanism, public_attributes, public_count, private_attributes,
                                   private_count, public_key, private_key));
  }
  return kc_leave(&call);
}

CK_RV kc_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                   CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *wrapped_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_WrapKey, session) && !kc_hides(&call, wrapping, CKR_WRAPPING_KEY_HANDLE_INVALID) &&
      !kc_hides(&call, key, CKR_KEY_HANDLE_INVALID)) {
    kc_keep_bytes(&call, wrapped, wrapped_len);
    KC_FORWARD(C_WrapKey, (session, mechanism, wrapping, key, wrapped, wrapped_len));
    kc_corrupt(&call, wrapped, wrapped_len);
  }
  return kc_leave(&call);
}

CK_RV kc_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
                     CK_BYTE *wrapped, CK_ULONG wrapped_len, CK_ATTRIBUTE *attributes, CK_ULONG count,
                     CK_OBJECT_HANDLE *key) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_UnwrapKey, session) && !kc_hides(&call, unwrapping, CKR_UNWRAPPING_KEY_HANDLE_INVALID)) {
    kc_keep(&call, key, sizeof *key);
    KC_FORWARD(C_UnwrapKey, (session, mechanism, unwrapping, wrapped, wrapped_len, attributes, count, key));
  }
  return kc_leave(&call);
}

CK_RV kc_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                     CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *key) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_DeriveKey, session) && !kc_hides(&call, base, CKR_KEY_HANDLE_INVALID)) {
    kc_keep(&call, key, sizeof *key);
    KC_FORWARD(C_DeriveKey, (session, mechanism, base, attributes, count, key));
  }
  return kc_leave(&call);
}

// MARK: Random numbers

CK_RV kc_C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG seed_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_SeedRandom, session)) KC_FORWARD(C_SeedRandom, (session, seed, seed_len));
  return kc_leave(&call);
}

CK_RV kc_C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *bytes, CK_ULONG count) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_GenerateRandom, session)) {
    kc_keep(&call, bytes, count);
    KC_FORWARD(C_GenerateRandom, (session, bytes, count));
  }
  return kc_leave(&call);
}
