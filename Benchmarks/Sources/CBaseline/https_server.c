#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "https.h"

enum { secret_length = 32, most_wrapped = 256, largest_request = 16384 };

// MARK: Jobs

// A key and something that was wrapped for it, shared by all threads.
typedef struct keys {
  https_job job;
  EVP_PKEY *rsa;
  EVP_CIPHER *cipher;
  unsigned char aes[32], wrapped[most_wrapped];
  size_t length;
} keys;

static EVP_PKEY_CTX *oaep(EVP_PKEY *key, int (*begin)(EVP_PKEY_CTX *)) {
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
  if (context && begin(context) > 0 && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0 &&
      EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) > 0)
    return context;
  EVP_PKEY_CTX_free(context);
  return NULL;
}

static int make(keys *keys, https_job job) {
  unsigned char secret[secret_length];
  keys->job = job;
  if (RAND_bytes(secret, sizeof secret) != 1 || RAND_bytes(keys->aes, sizeof keys->aes) != 1) return 0;
  if (job == https_rsa) {
    keys->rsa = EVP_RSA_gen(2048);
    EVP_PKEY_CTX *context = keys->rsa ? oaep(keys->rsa, EVP_PKEY_encrypt_init) : NULL;
    keys->length = sizeof keys->wrapped;
    int isDone = context && EVP_PKEY_encrypt(context, keys->wrapped, &keys->length, secret, sizeof secret) > 0;
    EVP_PKEY_CTX_free(context);
    return isDone;
  }
  if (job != https_aes) return 1;
  keys->cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  int count = 0;
  if (!keys->cipher || !context) return 0;
  EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  int isDone = EVP_EncryptInit_ex2(context, keys->cipher, keys->aes, NULL, NULL) &&
               EVP_EncryptUpdate(context, keys->wrapped, &count, secret, sizeof secret);
  keys->length = (size_t)count;
  EVP_CIPHER_CTX_free(context);
  return isDone;
}

// What a thread needs for the job.
typedef struct worker {
  const keys *keys;
  EVP_PKEY_CTX *rsa;
  EVP_CIPHER_CTX *aes;
} worker;

static int begin(worker *worker, const keys *keys) {
  *worker = (struct worker){.keys = keys};
  if (keys->job == https_rsa) worker->rsa = oaep(keys->rsa, EVP_PKEY_decrypt_init);
  if (keys->job == https_aes) worker->aes = EVP_CIPHER_CTX_new();
  if (worker->aes) EVP_CIPHER_CTX_set_flags(worker->aes, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  return keys->job == https_hello || worker->rsa || worker->aes;
}

static int unwrap(worker *worker, unsigned char *secret) {
  const keys *keys = worker->keys;
  size_t length = most_wrapped;
  int count = 0;
  switch (keys->job) {
    case https_hello: return 1;
    case https_rsa: return EVP_PKEY_decrypt(worker->rsa, secret, &length, keys->wrapped, keys->length) > 0;
    case https_aes:
      return EVP_DecryptInit_ex2(worker->aes, keys->cipher, keys->aes, NULL, NULL) &&
             EVP_DecryptUpdate(worker->aes, secret, &count, keys->wrapped, (int)keys->length);
  }
  return 0;
}

static void end(worker *worker) {
  EVP_PKEY_CTX_free(worker->rsa);
  EVP_CIPHER_CTX_free(worker->aes);
}

int64_t https_bare(https_job job, int count) {
  static keys made[3];
  struct timespec start, stop;
  unsigned char secret[most_wrapped];
  worker worker;
  if (!made[job].length && !make(&made[job], job)) return -1;
  if (!begin(&worker, &made[job])) return -1;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  for (int index = 0; index < count; index++)
    if (!unwrap(&worker, secret)) return -1;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &stop);
  end(&worker);
  return (stop.tv_sec - start.tv_sec) * 1000000000LL + stop.tv_nsec - start.tv_nsec;
}

// MARK: Connections

typedef struct connection {
  SSL *tls;
  const keys *keys;
} connection;

// Reads a request to its end; 0 when the connection ends.
static int request(SSL *tls) {
  char bytes[largest_request];
  size_t have = 0, whole = 0;
  while (!whole || have < whole) {
    int count = SSL_read(tls, bytes + have, (int)(sizeof bytes - 1 - have));
    if (count <= 0) return 0;
    have += (size_t)count;
    bytes[have] = 0;
    char *end = whole ? NULL : strstr(bytes, "\r\n\r\n");
    if (!end) continue;
    char *field = strcasestr(bytes, "\r\ncontent-length:");
    whole = (size_t)(end + 4 - bytes) + (field && field < end ? strtoul(field + 17, NULL, 10) : 0);
  }
  return have == whole;
}

static void *serve(void *argument) {
  connection *connection = argument;
  unsigned char secret[most_wrapped], text[64];
  char answer[512];
  worker worker;
  if (SSL_accept(connection->tls) == 1 && begin(&worker, connection->keys)) {
    while (request(connection->tls) && unwrap(&worker, secret)) {
      EVP_EncodeBlock(text, secret, secret_length);
      int body = (int)strlen((char *)text) + 12;
      int length = snprintf(
          answer, sizeof answer,
          "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
          "{\"value\":\"%s\"}",
          body, (char *)text);
      if (SSL_write(connection->tls, answer, length) != length) break;
    }
    end(&worker);
  }
  close(SSL_get_fd(connection->tls));
  SSL_free(connection->tls);
  free(connection);
  return NULL;
}

void https_serve(const char *certificate, const char *key, https_job job) {
  static keys made;
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  int one = 1, file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  signal(SIGPIPE, SIG_IGN);
  if (!context || !make(&made, job) || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
      bind(file, (struct sockaddr *)&address, sizeof address) || listen(file, 128) ||
      getsockname(file, (struct sockaddr *)&address, &length))
    return;
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    pthread_t thread;
    connection *taken = calloc(1, sizeof *taken);
    int peer = accept(file, NULL, NULL);
    if (peer < 0 || !taken) return;
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *taken = (connection){SSL_new(context), &made};
    SSL_set_fd(taken->tls, peer);
    if (pthread_create(&thread, NULL, serve, taken)) return;
    pthread_detach(thread);
  }
}
