#ifndef KEY_CUSTODY_OPENSSL_SHIM_H
#define KEY_CUSTODY_OPENSSL_SHIM_H

#include <openssl/bn.h>
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
#include <openssl/x509.h>

// Composite macros that Swift does not import.
static const int kc_rsa_pss_saltlen_digest = RSA_PSS_SALTLEN_DIGEST;

// Encoders and decoders keep the pointers they are given: a string that Swift lends for one call would dangle.
static inline OSSL_ENCODER_CTX *kc_new_pkcs8_encoder(const EVP_PKEY *key) {
  return OSSL_ENCODER_CTX_new_for_pkey(key, EVP_PKEY_KEYPAIR, "DER", "PrivateKeyInfo", NULL);
}
static inline OSSL_DECODER_CTX *kc_new_pkcs8_decoder(EVP_PKEY **key, OSSL_LIB_CTX *context) {
  return OSSL_DECODER_CTX_new_for_pkey(key, "DER", "PrivateKeyInfo", NULL, EVP_PKEY_KEYPAIR, context, NULL);
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

#endif
