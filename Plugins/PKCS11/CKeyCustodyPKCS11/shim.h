#ifndef KEY_CUSTODY_PKCS11_SHIM_H
#define KEY_CUSTODY_PKCS11_SHIM_H

// p11-kit's header gives the OASIS names (CK_FUNCTION_LIST, CKM_…) of PKCS#11 2.40; uri.h reads RFC 7512.
#define CRYPTOKI_COMPAT 1
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#endif
