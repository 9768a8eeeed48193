// What a PKCS#11 module alone costs: each job's calls and no other, in C, on a session for each thread, with the
// handles of keys found once.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct hsm hsm;

// A job is done in these calls:
typedef enum hsm_job {
  hsm_rsa_unwrap,  // C_DecryptInit and C_Decrypt: RSA-OAEP with SHA-1
  hsm_aes_unwrap,  // C_UnwrapKey to a readable secret of the session, C_GetAttributeValue, C_DestroyObject
  hsm_aes_wrap,    // C_CreateObject of a secret of the session, C_WrapKey, C_DestroyObject
} hsm_job;

// Opens a session for each thread on the token with that label. The module may be initialised already, and this
// process must be logged in to the token: a login is the process's, not a session's. NULL when something is refused.
hsm *hsm_open(const char *module, const char *label, int threads);
void hsm_close(hsm *token);

// What was refused last: the name of the call and the code.
const char *hsm_refusal(void);

// The handle of the private or secret key with that CKA_ID; 0 when there is none.
unsigned long hsm_find(hsm *token, const unsigned char *id, size_t length);

// Adds AES keys that nobody uses. -1 when something is refused.
int hsm_fill(hsm *token, int count);

// Nanoseconds for `count` jobs with the same input, shared equally by the threads; the last output of the first thread
// is left in `output`, which has room for `*output_length` bytes. -1 when something is refused.
int64_t hsm_run(
    hsm *token, hsm_job job, unsigned long key, const unsigned char *input, size_t length, unsigned char *output,
    size_t *output_length, int threads, int count);
