// Flipping one bit of what the real module put out.
#include "internal.h"

static void flip(CK_BYTE *bytes, CK_ULONG count, uint64_t random) {
  KC_COUNT(injected[KC_CORRUPT]);
  bytes[(random >> 3) % count] ^= (CK_BYTE)(1u << (random & 7));
}

void kc_corrupt(struct kc_call *call, CK_BYTE *bytes, const CK_ULONG *count) {
  uint64_t random = 0;
  if (call->rv != CKR_OK || bytes == NULL || count == NULL || *count == 0) return;
  if (kc_rules_corrupt(call->function, &random)) flip(bytes, *count, random);
}

// A flipped flag or number is another kind of answer, not damaged bytes.
static bool holds_bytes(const CK_ATTRIBUTE *attribute) {
  if (attribute->pValue == NULL || attribute->ulValueLen == 0 || attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION) {
    return false;
  }
  switch (attribute->type) {
    case CKA_VALUE: case CKA_MODULUS: case CKA_PUBLIC_EXPONENT: case CKA_PRIVATE_EXPONENT: case CKA_PRIME_1:
    case CKA_PRIME_2: case CKA_EXPONENT_1: case CKA_EXPONENT_2: case CKA_COEFFICIENT: case CKA_PUBLIC_KEY_INFO:
    case CKA_PRIME: case CKA_SUBPRIME: case CKA_BASE: case CKA_EC_PARAMS: case CKA_EC_POINT: case CKA_ID:
    case CKA_LABEL: case CKA_APPLICATION: case CKA_OBJECT_ID: case CKA_SUBJECT: case CKA_ISSUER:
    case CKA_SERIAL_NUMBER: case CKA_CHECK_VALUE: return true;
    default: return false;
  }
}

void kc_corrupt_attributes(struct kc_call *call, CK_ATTRIBUTE *attributes, CK_ULONG count) {
  if (call->rv != CKR_OK || attributes == NULL) return;
  CK_ULONG eligible = 0;
  for (CK_ULONG i = 0; i < count; i++) eligible += holds_bytes(&attributes[i]);
  uint64_t random = 0;
  if (eligible == 0 || !kc_rules_corrupt(call->function, &random)) return;
  CK_ULONG chosen = (CK_ULONG)((random >> 32) % eligible);
  for (CK_ULONG i = 0; i < count; i++) {
    if (!holds_bytes(&attributes[i]) || chosen-- > 0) continue;
    flip(attributes[i].pValue, attributes[i].ulValueLen, random & 0xffffffff);
    return;
  }
}
