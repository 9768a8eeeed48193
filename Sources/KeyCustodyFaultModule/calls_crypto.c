// Encrypting, decrypting, digesting, signing and verifying: families of one shape each.
#include "internal.h"

#define BEGIN_WITH_KEY(name)                                                                       \
  CK_RV kc_##name(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {      \
    struct kc_call call;                                                                           \
    if (kc_enter(&call, KC_##name, session) && !kc_hides(&call, key, CKR_KEY_HANDLE_INVALID)) {    \
      KC_FORWARD(name, (session, mechanism, key));                                                 \
    }                                                                                              \
    return kc_leave(&call);                                                                        \
  }

// Bytes in, bytes out: in one go, or a part.
#define TRANSFORM(name)                                                                            \
  CK_RV kc_##name(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,           \
                  CK_ULONG *out_len) {                                                             \
    struct kc_call call;                                                                           \
    if (kc_enter(&call, KC_##name, session)) {                                                     \
      kc_keep_bytes(&call, out, out_len);                                                          \
      KC_FORWARD(name, (session, in, in_len, out, out_len));                                       \
      kc_corrupt(&call, out, out_len);                                                             \
    }                                                                                              \
    return kc_leave(&call);                                                                        \
  }

#define PUT_OUT(name)                                                                              \
  CK_RV kc_##name(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len) {                    \
    struct kc_call call;                                                                           \
    if (kc_enter(&call, KC_##name, session)) {                                                     \
      kc_keep_bytes(&call, out, out_len);                                                          \
      KC_FORWARD(name, (session, out, out_len));                                                   \
      kc_corrupt(&call, out, out_len);                                                             \
    }                                                                                              \
    return kc_leave(&call);                                                                        \
  }

#define TAKE_IN(name)                                                                              \
  CK_RV kc_##name(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len) {                       \
    struct kc_call call;                                                                           \
    if (kc_enter(&call, KC_##name, session)) KC_FORWARD(name, (session, in, in_len));              \
    return kc_leave(&call);                                                                        \
  }

BEGIN_WITH_KEY(C_EncryptInit)
TRANSFORM(C_Encrypt)
TRANSFORM(C_EncryptUpdate)
PUT_OUT(C_EncryptFinal)

BEGIN_WITH_KEY(C_DecryptInit)
TRANSFORM(C_Decrypt)
TRANSFORM(C_DecryptUpdate)
PUT_OUT(C_DecryptFinal)

CK_RV kc_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_DigestInit, session)) KC_FORWARD(C_DigestInit, (session, mechanism));
  return kc_leave(&call);
}

CK_RV kc_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_DigestKey, session) && !kc_hides(&call, key, CKR_KEY_HANDLE_INVALID)) {
    KC_FORWARD(C_DigestKey, (session, key));
  }
  return kc_leave(&call);
}

TRANSFORM(C_Digest)
TAKE_IN(C_DigestUpdate)
PUT_OUT(C_DigestFinal)

BEGIN_WITH_KEY(C_SignInit)
TRANSFORM(C_Sign)
TAKE_IN(C_SignUpdate)
PUT_OUT(C_SignFinal)
BEGIN_WITH_KEY(C_SignRecoverInit)
TRANSFORM(C_SignRecover)

BEGIN_WITH_KEY(C_VerifyInit)
TAKE_IN(C_VerifyUpdate)
TAKE_IN(C_VerifyFinal)
BEGIN_WITH_KEY(C_VerifyRecoverInit)
TRANSFORM(C_VerifyRecover)

CK_RV kc_C_Verify(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature,
                  CK_ULONG signature_len) {
  struct kc_call call;
  if (kc_enter(&call, KC_C_Verify, session)) {
    KC_FORWARD(C_Verify, (session, data, data_len, signature, signature_len));
  }
  return kc_leave(&call);
}

TRANSFORM(C_DigestEncryptUpdate)
TRANSFORM(C_DecryptDigestUpdate)
TRANSFORM(C_SignEncryptUpdate)
TRANSFORM(C_DecryptVerifyUpdate)
