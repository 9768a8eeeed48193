// What a C programmer would write to seal or open a file in frames: read, cipher, write; on one thread or on two.
#define _GNU_SOURCE
#include "baseline.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { frame = 64 << 10, tag_length = 16, nonce_length = 12 };

typedef struct {
  int in, out, layers, encrypt, thread, threads, failed;
  int64_t length;
} job;

static int one(EVP_CIPHER_CTX *cipher, int encrypt, uint64_t number, const unsigned char *in, size_t length, unsigned char *out) {
  unsigned char nonce[nonce_length] = {0};
  int count, rest;
  memcpy(nonce, &number, sizeof number);
  if (encrypt)
    return EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonce) == 1 &&
           EVP_EncryptUpdate(cipher, out, &count, in, (int)length) == 1 &&
           EVP_EncryptFinal_ex(cipher, out + count, &rest) == 1 &&
           EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, tag_length, out + length) == 1;
  length -= tag_length;
  return EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, nonce) == 1 &&
         EVP_DecryptUpdate(cipher, out, &count, in, (int)length) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, tag_length, (void *)(in + length)) == 1 &&
         EVP_DecryptFinal_ex(cipher, out + count, &rest) == 1;
}

// Each thread takes every so many frames.
static void *work(void *argument) {
  job *job = argument;
  static const unsigned char key[32] = {1, 2, 3, 4, 5, 6, 7, 8};
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new(), *opener = EVP_CIPHER_CTX_new();
  unsigned char *buffers[2] = {malloc(frame + 64), malloc(frame + 64)};
  int good = buffers[0] && buffers[1] && cipher && opener &&
             EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL, job->encrypt != 0) == 1 &&
             EVP_CipherInit_ex(opener, EVP_aes_256_gcm(), NULL, key, NULL, 0) == 1;
  int64_t in_frame = frame + (job->encrypt == 1 ? 0 : job->layers * tag_length);
  int64_t out_frame = frame + (job->encrypt ? job->layers * tag_length : 0);
  int64_t frames = (job->length + in_frame - 1) / in_frame;
  for (int64_t index = job->thread; index < frames && good; index += job->threads) {
    ssize_t count = pread(job->in, buffers[0], (size_t)in_frame, index * in_frame);
    good = count > 0;
    size_t length = (size_t)count;
    if (job->encrypt == 2) {
      good = good && one(opener, 0, (uint64_t)index * 4, buffers[0], length, buffers[1]) &&
             one(cipher, 1, (uint64_t)index * 4, buffers[1], length - tag_length, buffers[0]) &&
             pwrite(job->out, buffers[0], length, index * out_frame) == (ssize_t)length;
      continue;
    }
    for (int layer = 0; layer < job->layers && good; layer++) {
      int which = job->encrypt ? layer : job->layers - 1 - layer;
      good = one(cipher, job->encrypt, (uint64_t)index * 4 + (uint64_t)which, buffers[layer % 2], length, buffers[(layer + 1) % 2]);
      length = job->encrypt ? length + tag_length : length - tag_length;
    }
    good = good && pwrite(job->out, buffers[job->layers % 2], length, index * out_frame) == (ssize_t)length;
  }
  EVP_CIPHER_CTX_free(cipher);
  EVP_CIPHER_CTX_free(opener);
  free(buffers[0]);
  free(buffers[1]);
  job->failed = !good;
  return NULL;
}

int64_t baseline_file(const char *from, const char *to, int layers, int encrypt, int threads) {
  struct timespec begin, end;
  struct stat status;
  pthread_t ids[16];
  job jobs[16];
  clock_gettime(CLOCK_MONOTONIC, &begin);
  int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  int good = in >= 0 && out >= 0 && fstat(in, &status) == 0 && threads <= 16;
  if (good) {
    for (int index = 0; index < threads; index++) {
      jobs[index] = (job){in, out, layers, encrypt, index, threads, 0, status.st_size};
      if (index > 0 && pthread_create(&ids[index], NULL, work, &jobs[index]) != 0) return -1;
    }
    work(&jobs[0]);
    for (int index = 0; index < threads; index++) {
      if (index > 0) pthread_join(ids[index], NULL);
      good = good && !jobs[index].failed;
    }
    good = fsync(out) == 0 && good;
  }
  close(in);
  close(out);
  clock_gettime(CLOCK_MONOTONIC, &end);
  return good ? (int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (end.tv_nsec - begin.tv_nsec) : -1;
}

// Reads 4 KiB at random aligned places: one frame of 16 KiB in one layer, three in two layers, found and opened.
int64_t baseline_random_read(const char *path, int layers, int count) {
  static const unsigned char key[32] = {1, 2, 3, 4, 5, 6, 7, 8};
  enum { chunk = 16 << 10 };
  struct timespec begin, end;
  struct stat status;
  int chunks = layers == 1 ? 1 : 3;
  int file = open(path, O_RDONLY);
  EVP_CIPHER_CTX *sealer = EVP_CIPHER_CTX_new(), *opener = EVP_CIPHER_CTX_new();
  unsigned char *plain = calloc(1, chunk), *sealed = malloc(chunk + tag_length), *read = malloc(3 * (chunk + tag_length));
  int good = file >= 0 && fstat(file, &status) == 0 && plain && sealed && read &&
             EVP_CipherInit_ex(sealer, EVP_aes_256_gcm(), NULL, key, NULL, 1) == 1 &&
             EVP_CipherInit_ex(opener, EVP_aes_256_gcm(), NULL, key, NULL, 0) == 1 &&
             one(sealer, 1, 7, plain, chunk, sealed);
  uint64_t state = 88172645463325252ull;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (int index = 0; index < count && good; index++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    int outer = layers == 1 ? 1 : 2;
    off_t place = (off_t)(state % (uint64_t)(status.st_size / (chunk + tag_length) - 2)) * (chunk + tag_length);
    good = pread(file, read, (size_t)(outer * (chunk + tag_length)), place) == outer * (chunk + tag_length);
    // The bytes read are another file's: the same chunk is opened instead, which costs the same.
    for (int part = 0; part < chunks && good; part++) good = one(opener, 0, 7, sealed, chunk + tag_length, plain);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  close(file);
  EVP_CIPHER_CTX_free(sealer);
  EVP_CIPHER_CTX_free(opener);
  free(plain);
  free(sealed);
  free(read);
  return good ? (int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (end.tv_nsec - begin.tv_nsec) : -1;
}

// A table of fixed size with linear probing behind a mutex: the least that a look-up among many takes.
int64_t baseline_lookup(int keys, int count) {
  typedef struct { uint64_t key, value; } entry;
  uint64_t capacity = 1;
  while (capacity < (uint64_t)keys * 2) capacity *= 2;
  entry *table = calloc(capacity, sizeof *table);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  struct timespec begin, end;
  if (!table) return -1;
  for (uint64_t key = 1; key <= (uint64_t)keys; key++) {
    uint64_t at = key * 0x9e3779b97f4a7c15ull & (capacity - 1);
    while (table[at].key) at = (at + 1) & (capacity - 1);
    table[at] = (entry){key, key};
  }
  volatile uint64_t found = 0;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (int index = 0; index < count; index++) {
    uint64_t key = 1 + (uint64_t)index % 4;
    pthread_mutex_lock(&mutex);
    uint64_t at = key * 0x9e3779b97f4a7c15ull & (capacity - 1);
    while (table[at].key != key) at = (at + 1) & (capacity - 1);
    found += table[at].value;
    pthread_mutex_unlock(&mutex);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  free(table);
  return (int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (end.tv_nsec - begin.tv_nsec);
}
