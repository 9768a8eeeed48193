#ifndef KEY_CUSTODY_CERTIFICATES_H
#define KEY_CUSTODY_CERTIFICATES_H

// X.509 certificates (RFC 5280): making them, and what is asked of one. Everything is fetched from the given library
// context; what hashes or signs is handed in, since OpenSSL's own shortcuts would take its default context.

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <string.h>

enum { kc_identifier_length = 20, kc_serial_length = 16 };

typedef struct {
  const unsigned char *serial;      // kc_serial_length bytes, a positive number
  const unsigned char *identifier;  // kc_identifier_length bytes
  int64_t not_before, not_after;    // seconds since 1970
  const char *common_name;
  X509 *issuer;                     // NULL for a certificate that signs itself
  GENERAL_NAMES *names;             // NULL for an authority
} kc_certificate_facts;

static inline int kc_add_extension(X509 *certificate, int nid, void *value, int critical) {
  return value != NULL && X509_add1_ext_i2d(certificate, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static inline int kc_add_usage(X509 *certificate, unsigned char bits, int unused) {
  ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
  int done = usage != NULL && ASN1_BIT_STRING_set(usage, &bits, 1) == 1;
  if (done) {
    // DER counts the bits that are not used; without this OpenSSL counts them itself.
    usage->flags = (usage->flags & ~0x07L) | ASN1_STRING_FLAG_BITS_LEFT | unused;
    done = kc_add_extension(certificate, NID_key_usage, usage, 1);
  }
  ASN1_BIT_STRING_free(usage);
  return done;
}

static inline int kc_add_constraints(X509 *certificate, int is_authority) {
  BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
  int done = constraints != NULL;
  if (done && is_authority) {
    constraints->ca = 0xff;
    constraints->pathlen = ASN1_INTEGER_new();
    done = constraints->pathlen != NULL && ASN1_INTEGER_set(constraints->pathlen, 0) == 1;
  }
  done = done && kc_add_extension(certificate, NID_basic_constraints, constraints, 1);
  BASIC_CONSTRAINTS_free(constraints);
  return done;
}

static inline int kc_add_identifiers(X509 *certificate, const kc_certificate_facts *facts) {
  ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
  int done = own != NULL && ASN1_OCTET_STRING_set(own, facts->identifier, kc_identifier_length) == 1 &&
             kc_add_extension(certificate, NID_subject_key_identifier, own, 0);
  ASN1_OCTET_STRING_free(own);
  if (!done || facts->issuer == NULL) return done;
  const ASN1_OCTET_STRING *theirs = X509_get0_subject_key_id(facts->issuer);
  AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
  done = theirs != NULL && authority != NULL && (authority->keyid = ASN1_OCTET_STRING_dup(theirs)) != NULL &&
         kc_add_extension(certificate, NID_authority_key_identifier, authority, 0);
  AUTHORITY_KEYID_free(authority);
  return done;
}

static inline int kc_add_server_purpose(X509 *certificate, GENERAL_NAMES *names) {
  EXTENDED_KEY_USAGE *purposes = EXTENDED_KEY_USAGE_new();
  ASN1_OBJECT *server = OBJ_nid2obj(NID_server_auth);
  int done = purposes != NULL && server != NULL && sk_ASN1_OBJECT_push(purposes, server) > 0 &&
             kc_add_extension(certificate, NID_ext_key_usage, purposes, 0) &&
             kc_add_extension(certificate, NID_subject_alt_name, names, 0);
  EXTENDED_KEY_USAGE_free(purposes);
  return done;
}

static inline int kc_set_names(X509 *certificate, const kc_certificate_facts *facts) {
  X509_NAME *subject = X509_get_subject_name(certificate);
  return X509_NAME_add_entry_by_NID(
             subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)facts->common_name, -1, -1, 0) == 1 &&
         X509_set_issuer_name(
             certificate, facts->issuer == NULL ? subject : X509_get_subject_name(facts->issuer)) == 1;
}

static inline int kc_set_serial(X509 *certificate, const unsigned char *serial) {
  BIGNUM *number = BN_bin2bn(serial, kc_serial_length, NULL);
  int done = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
  BN_free(number);
  return done;
}

// A signed certificate for `key`, or NULL. `signer` is the issuer's key, or `key` itself.
static inline X509 *kc_make_certificate(
    OSSL_LIB_CTX *context, const char *properties, const kc_certificate_facts *facts, EVP_PKEY *key, EVP_PKEY *signer,
    const EVP_MD *hash) {
  X509 *made = X509_new_ex(context, properties);
  int is_authority = facts->issuer == NULL;
  if (made != NULL && X509_set_version(made, X509_VERSION_3) == 1 && kc_set_serial(made, facts->serial) &&
      kc_set_names(made, facts) && ASN1_TIME_set(X509_getm_notBefore(made), (time_t)facts->not_before) != NULL &&
      ASN1_TIME_set(X509_getm_notAfter(made), (time_t)facts->not_after) != NULL &&
      X509_set_pubkey(made, key) == 1 && kc_add_constraints(made, is_authority) &&
      // The first byte of KeyUsage (RFC 5280, section 4.2.1.3): keyCertSign and cRLSign, or digitalSignature.
      (is_authority ? kc_add_usage(made, 0x06, 1) : kc_add_usage(made, 0x80, 7)) &&
      kc_add_identifiers(made, facts) && (is_authority || kc_add_server_purpose(made, facts->names)) &&
      X509_sign(made, signer, hash) > 0)
    return made;
  X509_free(made);
  return NULL;
}

// Adds a DNS name (its characters) or an address (4 or 16 bytes) to a list.
static inline int kc_add_name(GENERAL_NAMES *names, int is_address, const unsigned char *bytes, size_t count) {
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_STRING *value = is_address ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
  if (name == NULL || value == NULL || ASN1_STRING_set(value, bytes, (int)count) != 1) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return 0;
  }
  GENERAL_NAME_set0_value(name, is_address ? GEN_IPADD : GEN_DNS, value);
  if (sk_GENERAL_NAME_push(names, name) > 0) return 1;
  GENERAL_NAME_free(name);
  return 0;
}

static inline GENERAL_NAMES *kc_new_names(void) { return GENERAL_NAMES_new(); }
static inline void kc_free_names(GENERAL_NAMES *names) { GENERAL_NAMES_free(names); }

// The names that a certificate is for, to be freed with the function above; NULL when it has none.
static inline GENERAL_NAMES *kc_names(const X509 *certificate) {
  return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}
static inline int kc_name_count(const GENERAL_NAMES *names) { return names == NULL ? 0 : sk_GENERAL_NAME_num(names); }

// A name's bytes, which belong to the list: 1 for a DNS name, 2 for an address, 0 for any other.
static inline int kc_name_at(const GENERAL_NAMES *names, int index, const unsigned char **bytes, size_t *count) {
  int type = -1;
  const ASN1_STRING *value =
      (const ASN1_STRING *)GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, index), &type);
  if (type != GEN_DNS && type != GEN_IPADD) return 0;
  *bytes = ASN1_STRING_get0_data(value);
  *count = (size_t)ASN1_STRING_length(value);
  return type == GEN_DNS ? 1 : 2;
}

// Seconds since 1970; 0 when the time can't be read.
static inline int kc_seconds(const ASN1_TIME *time, int64_t *seconds) {
  ASN1_TIME *start = ASN1_TIME_set(NULL, 0);
  int days = 0, rest = 0;
  int done = start != NULL && ASN1_TIME_diff(&days, &rest, start, time) == 1;
  ASN1_TIME_free(start);
  if (done) *seconds = (int64_t)days * 86400 + rest;
  return done;
}
static inline int kc_not_before(const X509 *certificate, int64_t *seconds) {
  return kc_seconds(X509_get0_notBefore(certificate), seconds);
}
static inline int kc_not_after(const X509 *certificate, int64_t *seconds) {
  return kc_seconds(X509_get0_notAfter(certificate), seconds);
}

// Whether a certificate names another as its issuer, which may issue it, and bears its signature.
static inline int kc_is_issued_by(X509 *certificate, X509 *issuer) {
  EVP_PKEY *key = X509_get0_pubkey(issuer);
  return key != NULL && X509_check_ca(issuer) == 1 && X509_check_issued(issuer, certificate) == X509_V_OK &&
         X509_verify(certificate, key) == 1;
}

// The next certificate of a PEM text, or NULL.
static inline X509 *kc_read_certificate(BIO *text, OSSL_LIB_CTX *context, const char *properties) {
  X509 *certificate = X509_new_ex(context, properties);
  if (certificate != NULL && PEM_read_bio_X509(text, &certificate, NULL, NULL) == NULL) {
    // What failed to be read into is freed by the reader in some versions, and emptied in others.
    X509_free(certificate);
    certificate = NULL;
  }
  return certificate;
}

// A private key's PEM around its PKCS#8; the memory of the BIO is cleared when it is freed.
static inline BIO *kc_private_key_pem(const unsigned char *pkcs8, size_t count) {
  BIO *text = BIO_new(BIO_s_mem());
  if (text != NULL && PEM_write_bio(text, PEM_STRING_PKCS8INF, "", pkcs8, (long)count) > 0) return text;
  BIO_free(text);
  return NULL;
}

// The PKCS#8 in a private key's PEM, to be cleared and freed; NULL when the first thing in the text is anything else.
static inline unsigned char *kc_private_key_pkcs8(const unsigned char *pem, size_t count, size_t *found) {
  char *name = NULL, *header = NULL;
  unsigned char *data = NULL;
  long length = 0;
  BIO *text = BIO_new_mem_buf(pem, (int)count);
  int done = text != NULL && PEM_read_bio(text, &name, &header, &data, &length) == 1 &&
             strcmp(name, PEM_STRING_PKCS8INF) == 0 && header[0] == 0;
  BIO_free(text);
  OPENSSL_free(name);
  OPENSSL_free(header);
  *found = done ? (size_t)length : 0;
  if (done) return data;
  OPENSSL_clear_free(data, (size_t)length);
  return NULL;
}

static inline size_t kc_text(BIO *text, const unsigned char **start) {
  char *data = NULL;
  long count = BIO_get_mem_data(text, &data);
  *start = (const unsigned char *)data;
  return count > 0 ? (size_t)count : 0;
}

#endif
