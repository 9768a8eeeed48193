#include "baseline.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { tag_length = 16, nonce_length = 12 };

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static EVP_CIPHER_CTX *context(int encrypt) {
  static const unsigned char key[32] = {1, 2, 3, 4, 5, 6, 7, 8};
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  if (cipher && EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL, encrypt) == 1) return cipher;
  EVP_CIPHER_CTX_free(cipher);
  return NULL;
}

static int seal(EVP_CIPHER_CTX *cipher, uint64_t number, const unsigned char *in, size_t length, unsigned char *out) {
  unsigned char nonce[nonce_length] = {0};
  int count, rest;
  memcpy(nonce, &number, sizeof number);
  return EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonce) == 1 &&
         EVP_EncryptUpdate(cipher, out, &count, in, (int)length) == 1 &&
         EVP_EncryptFinal_ex(cipher, out + count, &rest) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, tag_length, out + length) == 1;
}

static int open_(EVP_CIPHER_CTX *cipher, uint64_t number, unsigned char *in, size_t length, unsigned char *out) {
  unsigned char nonce[nonce_length] = {0};
  int count, rest;
  memcpy(nonce, &number, sizeof number);
  return EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, nonce) == 1 &&
         EVP_DecryptUpdate(cipher, out, &count, in, (int)length) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, tag_length, in + length) == 1 &&
         EVP_DecryptFinal_ex(cipher, out + count, &rest) == 1;
}

// Layer by layer from one buffer to the other; the message grows by a tag with each.
static int seal_layers(EVP_CIPHER_CTX *cipher, uint64_t number, unsigned char *buffers[2], size_t length, int layers) {
  for (int layer = 0; layer < layers; layer++) {
    size_t grown = length + (size_t)layer * tag_length;
    if (!seal(cipher, number * 4 + (uint64_t)layer, buffers[layer % 2], grown, buffers[(layer + 1) % 2])) return 0;
  }
  return 1;
}

static int make_buffers(unsigned char *buffers[2], size_t length, int layers) {
  for (int index = 0; index < 2; index++) buffers[index] = calloc(1, length + (size_t)layers * tag_length);
  return buffers[0] && buffers[1];
}

int64_t baseline_seal(size_t length, int layers, int count) {
  EVP_CIPHER_CTX *cipher = context(1);
  unsigned char *buffers[2] = {0};
  int64_t result = -1;
  if (make_buffers(buffers, length, layers) && cipher) {
    int64_t start = now();
    int good = 1;
    for (int index = 0; index < count && good; index++) {
      good = seal_layers(cipher, (uint64_t)index, buffers, length, layers);
    }
    if (good) result = now() - start;
  }
  EVP_CIPHER_CTX_free(cipher);
  free(buffers[0]);
  free(buffers[1]);
  return result;
}

int64_t baseline_open(size_t length, int layers, int count) {
  EVP_CIPHER_CTX *sealer = context(1), *opener = context(0);
  unsigned char *buffers[2] = {0};
  int64_t result = -1;
  unsigned char *sealed = malloc(length + (size_t)layers * tag_length);
  if (make_buffers(buffers, length, layers) && sealer && opener && sealed &&
      seal_layers(sealer, 7, buffers, length, layers)) {
    memcpy(sealed, buffers[layers % 2], length + (size_t)layers * tag_length);
    int64_t start = now();
    int good = 1;
    for (int index = 0; index < count && good; index++) {
      unsigned char *in = sealed;
      for (int layer = layers - 1; layer >= 0 && good; layer--) {
        unsigned char *out = buffers[layer % 2];
        good = open_(opener, 7 * 4 + (uint64_t)layer, in, length + (size_t)layer * tag_length, out);
        in = out;
      }
    }
    if (good) result = now() - start;
  }
  EVP_CIPHER_CTX_free(sealer);
  EVP_CIPHER_CTX_free(opener);
  free(sealed);
  free(buffers[0]);
  free(buffers[1]);
  return result;
}
