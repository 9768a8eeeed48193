// The functions of PKCS#11 2.40, in the order of its list.
#ifndef KC_FUNCTIONS_H
#define KC_FUNCTIONS_H

// X(name, what it needs, whether it puts out bytes of a key's work or of an object)
// NOTHING: answers without a token. TOKEN: names a slot that has one. SESSION: its first argument is a session.
#define KC_FUNCTIONS(X)                  \
  X(C_Initialize, NOTHING, 0)            \
  X(C_Finalize, NOTHING, 0)              \
  X(C_GetInfo, NOTHING, 0)               \
  X(C_GetSlotList, NOTHING, 0)           \
  X(C_GetSlotInfo, NOTHING, 0)           \
  X(C_GetTokenInfo, TOKEN, 0)            \
  X(C_GetMechanismList, TOKEN, 0)        \
  X(C_GetMechanismInfo, TOKEN, 0)        \
  X(C_InitToken, TOKEN, 0)               \
  X(C_InitPIN, SESSION, 0)               \
  X(C_SetPIN, SESSION, 0)                \
  X(C_OpenSession, TOKEN, 0)             \
  X(C_CloseSession, SESSION, 0)          \
  X(C_CloseAllSessions, TOKEN, 0)        \
  X(C_GetSessionInfo, SESSION, 0)        \
  X(C_GetOperationState, SESSION, 0)     \
  X(C_SetOperationState, SESSION, 0)     \
  X(C_Login, SESSION, 0)                 \
  X(C_Logout, SESSION, 0)                \
  X(C_CreateObject, SESSION, 0)          \
  X(C_CopyObject, SESSION, 0)            \
  X(C_DestroyObject, SESSION, 0)         \
  X(C_GetObjectSize, SESSION, 0)         \
  X(C_GetAttributeValue, SESSION, 1)     \
  X(C_SetAttributeValue, SESSION, 0)     \
  X(C_FindObjectsInit, SESSION, 0)       \
  X(C_FindObjects, SESSION, 0)           \
  X(C_FindObjectsFinal, SESSION, 0)      \
  X(C_EncryptInit, SESSION, 0)           \
  X(C_Encrypt, SESSION, 1)               \
  X(C_EncryptUpdate, SESSION, 1)         \
  X(C_EncryptFinal, SESSION, 1)          \
  X(C_DecryptInit, SESSION, 0)           \
  X(C_Decrypt, SESSION, 1)               \
  X(C_DecryptUpdate, SESSION, 1)         \
  X(C_DecryptFinal, SESSION, 1)          \
  X(C_DigestInit, SESSION, 0)            \
  X(C_Digest, SESSION, 1)                \
  X(C_DigestUpdate, SESSION, 0)          \
  X(C_DigestKey, SESSION, 0)             \
  X(C_DigestFinal, SESSION, 1)           \
  X(C_SignInit, SESSION, 0)              \
  X(C_Sign, SESSION, 1)                  \
  X(C_SignUpdate, SESSION, 0)            \
  X(C_SignFinal, SESSION, 1)             \
  X(C_SignRecoverInit, SESSION, 0)       \
  X(C_SignRecover, SESSION, 1)           \
  X(C_VerifyInit, SESSION, 0)            \
  X(C_Verify, SESSION, 0)                \
  X(C_VerifyUpdate, SESSION, 0)          \
  X(C_VerifyFinal, SESSION, 0)           \
  X(C_VerifyRecoverInit, SESSION, 0)     \
  X(C_VerifyRecover, SESSION, 1)         \
  X(C_DigestEncryptUpdate, SESSION, 1)   \
  X(C_DecryptDigestUpdate, SESSION, 1)   \
  X(C_SignEncryptUpdate, SESSION, 1)     \
  X(C_DecryptVerifyUpdate, SESSION, 1)   \
  X(C_GenerateKey, SESSION, 0)           \
  X(C_GenerateKeyPair, SESSION, 0)       \
  X(C_WrapKey, SESSION, 1)               \
  X(C_UnwrapKey, SESSION, 0)             \
  X(C_DeriveKey, SESSION, 0)             \
  X(C_SeedRandom, SESSION, 0)            \
  X(C_GenerateRandom, SESSION, 0)        \
  X(C_GetFunctionStatus, SESSION, 0)     \
  X(C_CancelFunction, SESSION, 0)        \
  X(C_WaitForSlotEvent, NOTHING, 0)

enum kc_need { KC_NEEDS_NOTHING, KC_NEEDS_TOKEN, KC_NEEDS_SESSION };

#define KC_ENUMERATE(name, need, bytes) KC_##name,
enum kc_function { KC_FUNCTIONS(KC_ENUMERATE) KC_FUNCTION_COUNT };
#undef KC_ENUMERATE

enum kc_need kc_function_need(enum kc_function function) __attribute__((visibility("hidden")));

#endif
