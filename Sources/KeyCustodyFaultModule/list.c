// The one function that every caller of PKCS#11 looks up.
#include "internal.h"

static CK_FUNCTION_LIST list = {
    .version = {2, 40},
    .C_GetFunctionList = kc_C_GetFunctionList,
#define KC_ENTRY(name, need, bytes) .name = kc_##name,
    KC_FUNCTIONS(KC_ENTRY)
#undef KC_ENTRY
};

CK_RV kc_C_GetFunctionList(CK_FUNCTION_LIST **answer) {
  kc_load();
  if (answer == NULL) return CKR_ARGUMENTS_BAD;
  *answer = &list;
  return CKR_OK;
}

KC_FAULT_EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **answer) { return kc_C_GetFunctionList(answer); }
