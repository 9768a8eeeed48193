#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "https.h"

enum { most_connections = 64, largest_answer = 16384 };

struct load {
  SSL_CTX *context;
  SSL *connections[most_connections];
  int count;
};

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int64_t process_time(pid_t process) {
  clockid_t clock;
  struct timespec time;
  if (clock_getcpuclockid(process, &clock) || clock_gettime(clock, &time)) return -1;
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// MARK: Connections

static SSL *connected(SSL_CTX *context, const char *host, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int one = 1, file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) return NULL;
  setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  SSL *tls = SSL_new(context);
  if (!connect(file, (struct sockaddr *)&address, sizeof address) && tls && SSL_set_tlsext_host_name(tls, host) &&
      SSL_set_fd(tls, file) && SSL_connect(tls) == 1)
    return tls;
  SSL_free(tls);
  close(file);
  return NULL;
}

load *load_open(const char *host, int port, int connections) {
  load *load = calloc(1, sizeof *load);
  if (!load || connections > most_connections) return NULL;
  // Whose certificate it is does not matter here: this machine's.
  load->context = SSL_CTX_new(TLS_client_method());
  while (load->context && load->count < connections) {
    SSL *tls = connected(load->context, host, port);
    if (!tls) break;
    load->connections[load->count++] = tls;
  }
  if (load->count == connections) return load;
  load_close(load);
  return NULL;
}

void load_close(load *load) {
  for (int index = 0; index < load->count; index++) {
    int file = SSL_get_fd(load->connections[index]);
    SSL_shutdown(load->connections[index]);
    SSL_free(load->connections[index]);
    close(file);
  }
  SSL_CTX_free(load->context);
  free(load);
}

// MARK: Requests

// Sends a request and reads the answer whole; returns the status, and where the body begins.
static int exchange(SSL *tls, const char *request, size_t length, char *answer, char **body) {
  if (SSL_write(tls, request, (int)length) != (int)length) return -1;
  size_t have = 0, whole = 0;
  while (!whole || have < whole) {
    if (have >= largest_answer - 1) return -1;
    int count = SSL_read(tls, answer + have, (int)(largest_answer - 1 - have));
    if (count <= 0) return -1;
    have += (size_t)count;
    answer[have] = 0;
    char *end = whole ? NULL : strstr(answer, "\r\n\r\n");
    if (!end) continue;
    char *field = strcasestr(answer, "\r\ncontent-length:");
    *body = end + 4;
    whole = (size_t)(*body - answer) + (field && field < end ? strtoul(field + 17, NULL, 10) : 0);
  }
  return have == whole && strlen(answer) > 12 ? atoi(answer + 9) : -1;
}

int load_ask(load *load, const char *request, char *body, size_t room) {
  char answer[largest_answer], *begin;
  int status = exchange(load->connections[0], request, strlen(request), answer, &begin);
  if (status < 0 || strlen(begin) >= room) return -1;
  strcpy(body, begin);
  return status;
}

typedef struct share {
  SSL *tls;
  const char *request;
  int count, isDone;
  int64_t *nanoseconds;
} share;

static void *work(void *argument) {
  share *share = argument;
  char answer[largest_answer], *body;
  size_t length = strlen(share->request);
  for (int index = 0; index < share->count; index++) {
    int64_t start = now();
    if (exchange(share->tls, share->request, length, answer, &body) != 200) return NULL;
    share->nanoseconds[index] = now() - start;
  }
  share->isDone = 1;
  return NULL;
}

int load_run(load *load, const char *request, int count, int64_t *nanoseconds) {
  pthread_t threads[most_connections];
  share shares[most_connections];
  int each = count / load->count, isDone = each > 0 && each * load->count == count;
  if (!isDone) return -1;
  for (int index = 0; index < load->count; index++) {
    shares[index] = (share){load->connections[index], request, each, 0, nanoseconds + index * each};
    if (pthread_create(&threads[index], NULL, work, &shares[index])) abort();
  }
  for (int index = 0; index < load->count; index++) {
    pthread_join(threads[index], NULL);
    isDone &= shares[index].isDone;
  }
  return isDone ? 0 : -1;
}
