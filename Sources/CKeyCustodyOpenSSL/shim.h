#ifndef KEY_CUSTODY_OPENSSL_SHIM_H
#define KEY_CUSTODY_OPENSSL_SHIM_H

#include <openssl/bn.h>
#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/self_test.h>
#include <openssl/x509.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "certificates.h"

// Composite macros that Swift does not import.
static const int kc_rsa_pss_saltlen_digest = RSA_PSS_SALTLEN_DIGEST;

// Clears the stack below the caller's frame. Compilers leave words of numbers where registers were saved, and the
// library's deepest calls (decoding a key, 20 KiB down) are not overwritten while a thread is idle.
__attribute__((noinline, unused)) static void kc_clear_stack(void) {
  unsigned char unused[64 * 1024];
  OPENSSL_cleanse(unused, sizeof(unused));
}

// OpenSSL frees some copies of private keys without clearing them: the DER that its decoder hands on (encode_decode/
// decode_der2key.c in 3.0), and what its encoder wrote. With these in place whatever it frees is cleared.
static inline void *kc_clearing_malloc(size_t count, const char *file, int line) {
  (void)file, (void)line;
  return malloc(count);
}
static inline void kc_clearing_free(void *block, const char *file, int line) {
  (void)file, (void)line;
  if (block == NULL) return;
  OPENSSL_cleanse(block, malloc_usable_size(block));
  free(block);
}
static inline void *kc_clearing_realloc(void *block, size_t count, const char *file, int line) {
  if (block == NULL) return malloc(count);
  size_t held = malloc_usable_size(block);
  void *moved = count == 0 ? NULL : malloc(count);
  if (count != 0 && moved == NULL) return NULL;
  if (moved != NULL) memcpy(moved, block, held < count ? held : count);
  kc_clearing_free(block, file, line);
  return moved;
}

// Fails, and changes nothing, once OpenSSL has allocated anything in this process.
static inline int kc_clear_what_is_freed(void) {
  int clears = CRYPTO_set_mem_functions(kc_clearing_malloc, kc_clearing_realloc, kc_clearing_free);
  // OpenSSL's cleaning up at exit takes no lock against threads that end just then, and both free the same handlers
  // (crypto/initthread.c): the system takes everything back anyway.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
  return clears;
}

// The property query of FIPS mode; a constant, since OpenSSL may keep the pointer.
static const char *const kc_fips_properties = "fips=yes";

// Encoders and decoders keep the pointers they are given: a string that Swift lends for one call would dangle.
static inline OSSL_ENCODER_CTX *kc_new_pkcs8_encoder(const EVP_PKEY *key, const char *properties) {
  return OSSL_ENCODER_CTX_new_for_pkey(key, EVP_PKEY_KEYPAIR, "DER", "PrivateKeyInfo", properties);
}
static inline OSSL_DECODER_CTX *kc_new_pkcs8_decoder(EVP_PKEY **key, OSSL_LIB_CTX *context, const char *properties) {
  return OSSL_DECODER_CTX_new_for_pkey(
      key, "DER", "PrivateKeyInfo", NULL, EVP_PKEY_KEYPAIR, context, properties);
}

// What a provider says of itself; NULL when it does not.
static inline const char *kc_provider_text(const OSSL_PROVIDER *provider, const char *name) {
  const char *text = NULL;
  OSSL_PARAM parameters[2] = {OSSL_PARAM_construct_utf8_ptr(name, (char **)&text, 0), OSSL_PARAM_construct_end()};
  return OSSL_PROVIDER_get_params(provider, parameters) == 1 ? text : NULL;
}

// Whether a provider says that it runs: a FIPS provider whose self tests failed does not.
static inline int kc_provider_is_running(const OSSL_PROVIDER *provider) {
  int status = 0;
  OSSL_PARAM parameters[2] = {OSSL_PARAM_construct_int(OSSL_PROV_PARAM_STATUS, &status), OSSL_PARAM_construct_end()};
  return OSSL_PROVIDER_get_params(provider, parameters) == 1 && status == 1;
}

static inline int kc_note_stranger(OSSL_PROVIDER *provider, void *found) {
  const char *name = OSSL_PROVIDER_get0_name(provider);
  if (strcmp(name, "fips") != 0 && strcmp(name, "base") != 0) *(const char **)found = name;
  return 1;
}

// An active provider of a library context that is neither "fips" nor "base"; NULL when there is none.
static inline const char *kc_stranger(OSSL_LIB_CTX *context) {
  const char *found = NULL;
  OSSL_PROVIDER_do_all(context, kc_note_stranger, (void *)&found);
  return found;
}

static inline int kc_pbkdf2(
    EVP_KDF_CTX *context, const void *passphrase, size_t passphrase_count, const void *salt, size_t salt_count,
    uint64_t iterations, char *digest, const char *properties, unsigned char *output, size_t count) {
  OSSL_PARAM parameters[6], *next = parameters;
  *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)passphrase, passphrase_count);
  *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_count);
  *next++ = OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &iterations);
  *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
  if (properties != NULL)
    *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_PROPERTIES, (char *)properties, 0);
  *next = OSSL_PARAM_construct_end();
  return EVP_KDF_derive(context, output, count, parameters);
}

// An OSSL_PARAM keeps the pointer to its name: made here, where the name is a constant.
static inline int kc_hmac_init(EVP_MAC_CTX *context, const unsigned char *key, size_t count, char *digest) {
  OSSL_PARAM parameters[2] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                              OSSL_PARAM_construct_end()};
  return EVP_MAC_init(context, key, count, parameters);
}

// OpenSSL's constant-time OAEP decoding of an already decrypted block (RFC 8017, section 7.1.2, step 3). Deprecated in
// 3.0 with no successor for blocks that another device decrypted.
static inline int kc_oaep_decode(
    unsigned char *to, int tlen, const unsigned char *block, int blocklen, const EVP_MD *hash) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  return RSA_padding_check_PKCS1_OAEP_mgf1(to, tlen, block, blocklen, blocklen, NULL, 0, hash, hash);
#pragma GCC diagnostic pop
}

// One message of AES-GCM on a context that has its key: nonce of 12 bytes, tag of 16. `out` may be `in` itself. All the
// calls that a record takes in one place: it is the hottest path of all.
static inline int kc_gcm_seal(
    EVP_CIPHER_CTX *context, const unsigned char *nonce, const unsigned char *aad, size_t aad_length,
    const unsigned char *in, size_t length, unsigned char *out, unsigned char *tag) {
  int count;
  OSSL_PARAM parameters[2] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, 16),
                              OSSL_PARAM_construct_end()};
  return EVP_EncryptInit_ex2(context, NULL, NULL, nonce, NULL) == 1 &&
         (aad_length == 0 || EVP_EncryptUpdate(context, NULL, &count, aad, (int)aad_length) == 1) &&
         (length == 0 || EVP_EncryptUpdate(context, out, &count, in, (int)length) == 1) &&
         EVP_EncryptFinal_ex(context, tag, &count) == 1 && EVP_CIPHER_CTX_get_params(context, parameters) == 1;
}
// An opening context whose provider takes a nonce alone (below) is to be told once that it may be given one.
static inline int kc_gcm_takes_nonce_alone(EVP_CIPHER_CTX *context) {
  const OSSL_PARAM *known = EVP_CIPHER_CTX_settable_params(context);
  unsigned char fixed[4] = {0};
  OSSL_PARAM parameters[2] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED, fixed, 4),
                              OSSL_PARAM_construct_end()};
  return known != NULL && OSSL_PARAM_locate_const(known, OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV) != NULL &&
         EVP_CIPHER_CTX_set_params(context, parameters) == 1;
}
// `nonce_alone`: what the function above answered. Setting all 12 bytes as TLS sets the last 8 leaves out EVP's
// initialization, which asks the cipher for lengths at every message: a quarter of a short one's time.
static inline int kc_gcm_open(
    EVP_CIPHER_CTX *context, int nonce_alone, const unsigned char *nonce, const unsigned char *aad, size_t aad_length,
    const unsigned char *in, size_t length, unsigned char *out, const unsigned char *tag) {
  int count;
  unsigned char spare;
  OSSL_PARAM parameters[3] = {
      OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, (void *)tag, 16),
      nonce_alone
          ? OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV, (void *)nonce, 12)
          : OSSL_PARAM_construct_end(),
      OSSL_PARAM_construct_end()};
  int begun = nonce_alone ? EVP_CIPHER_CTX_set_params(context, parameters)
                          : EVP_DecryptInit_ex2(context, NULL, NULL, nonce, parameters);
  return begun == 1 && (aad_length == 0 || EVP_DecryptUpdate(context, NULL, &count, aad, (int)aad_length) == 1) &&
         (length == 0 || EVP_DecryptUpdate(context, out, &count, in, (int)length) == 1) &&
         EVP_DecryptFinal_ex(context, &spare, &count) == 1;
}

// What a record authenticates, in the parts that are at hand: `start`, the length of `name` in 32 bits (big-endian),
// `name`, `end`; four zero bytes where `end` is empty.
typedef struct {
  const unsigned char *start, *name, *end;
  size_t start_length, name_length, end_length;
} kc_record_context;

static inline size_t kc_join(unsigned char *to, const kc_record_context *parts) {
  static const unsigned char none[4] = {0};
  size_t name_length = parts->name_length, count = parts->start_length;
  memcpy(to, parts->start, count);
  for (int shift = 24; shift >= 0; shift -= 8) to[count++] = (unsigned char)(name_length >> shift);
  if (name_length != 0) memcpy(to + count, parts->name, name_length);
  count += name_length;
  if (parts->end_length == 0) {
    memcpy(to + count, none, sizeof none);
    return count + sizeof none;
  }
  memcpy(to + count, parts->end, parts->end_length);
  return count + parts->end_length;
}

// As the two above, with a record's context; joined on the stack unless it is long.
enum { kc_joined_on_stack = 512 };
static inline unsigned char *kc_room_to_join(unsigned char *stack, const kc_record_context *parts) {
  size_t most = parts->start_length + parts->name_length + parts->end_length + 8;
  return most <= kc_joined_on_stack ? stack : malloc(most);
}
static inline int kc_gcm_seal_record(
    EVP_CIPHER_CTX *context, const unsigned char *nonce, const kc_record_context *parts, const unsigned char *in,
    size_t length, unsigned char *out, unsigned char *tag) {
  unsigned char stack[kc_joined_on_stack], *aad = kc_room_to_join(stack, parts);
  if (aad == NULL) return 0;
  int code = kc_gcm_seal(context, nonce, aad, kc_join(aad, parts), in, length, out, tag);
  if (aad != stack) free(aad);
  return code;
}
static inline int kc_gcm_open_record(
    EVP_CIPHER_CTX *context, int nonce_alone, const unsigned char *nonce, const kc_record_context *parts,
    const unsigned char *in, size_t length, unsigned char *out, const unsigned char *tag) {
  unsigned char stack[kc_joined_on_stack], *aad = kc_room_to_join(stack, parts);
  if (aad == NULL) return 0;
  int code = kc_gcm_open(context, nonce_alone, nonce, aad, kc_join(aad, parts), in, length, out, tag);
  if (aad != stack) free(aad);
  return code;
}

// Which of an RSA private key's numbers does not fit the others (RFC 8017, section 3.2), by its name in a JSON Web Key;
// "" when all do, NULL when that can't be told. All but `n` and `e` are secret.
static inline const char *kc_rsa_misfit(
    OSSL_LIB_CTX *context, const BIGNUM *n, const BIGNUM *e, const BIGNUM *d, const BIGNUM *p, const BIGNUM *q,
    const BIGNUM *dp, const BIGNUM *dq, const BIGNUM *qi) {
  BN_CTX *work = BN_CTX_new_ex(context);
  if (work == NULL) return NULL;
  BN_CTX_start(work);
  BIGNUM *p1 = BN_CTX_get(work), *q1 = BN_CTX_get(work), *t = BN_CTX_get(work), *u = BN_CTX_get(work);
  const char *found = NULL;
  int prime = 0;
  if (u == NULL || BN_sub(p1, p, BN_value_one()) != 1 || BN_sub(q1, q, BN_value_one()) != 1) goto done;
  BN_set_flags(p1, BN_FLG_CONSTTIME);
  BN_set_flags(q1, BN_FLG_CONSTTIME);
#define KC_UNLESS(done_well, fits, name) \
  if (!(done_well)) goto done; \
  if (!(fits)) { found = name; goto done; }
  KC_UNLESS((prime = BN_check_prime(p, work, NULL)) >= 0, prime == 1, "p")
  KC_UNLESS((prime = BN_check_prime(q, work, NULL)) >= 0, prime == 1, "q")
  KC_UNLESS(BN_mul(t, p, q, work) == 1, BN_cmp(t, n) == 0, "n")
  KC_UNLESS(BN_mul(t, d, e, work) == 1 && BN_mod(u, t, p1, work) == 1, BN_is_one(u), "d")
  KC_UNLESS(BN_mod(u, t, q1, work) == 1, BN_is_one(u), "d")
  KC_UNLESS(BN_mod(t, d, p1, work) == 1, BN_cmp(t, dp) == 0, "dp")
  KC_UNLESS(BN_mod(t, d, q1, work) == 1, BN_cmp(t, dq) == 0, "dq")
  KC_UNLESS(BN_mod_mul(t, qi, q, p, work) == 1, BN_is_one(t) && BN_cmp(qi, p) < 0, "qi")
#undef KC_UNLESS
  found = "";
done:
  // Numbers of a BN_CTX are cleared when it is freed.
  BN_CTX_end(work);
  BN_CTX_free(work);
  return found;
}

#endif
