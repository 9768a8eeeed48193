// HTTPS on the loopback address, in C: who asks, and the least that could answer.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// MARK: Asking

typedef struct load load;

// Opens so many connections to a port of this machine, for that host. NULL when one is refused.
load *load_open(const char *host, int port, int connections);
void load_close(load *load);
// Sends a request over the first connection, and leaves the answer's body, ended by a zero, in `body`. Returns the
// status; -1 when the connection breaks or the body has no room.
int load_ask(load *load, const char *request, char *body, size_t room);
// Sends the same request `count` times, shared equally by the connections, each waiting for its answer; leaves how long
// each took in `nanoseconds`. -1 when an answer is not 200.
int load_run(load *load, const char *request, int count, int64_t *nanoseconds);

// The processor time that a process took so far, in nanoseconds; -1 when there is none.
int64_t process_time(pid_t process);

// MARK: Answering

typedef enum https_job {
  https_hello,  // nothing
  https_rsa,    // an unwrap with RSA-2048 OAEP, SHA-256
  https_aes,    // an unwrap with AES-256 key wrap
} https_job;

// Answers every request by the same bytes, after the job, a thread for each connection; prints the port when it
// listens. Returns only when something is refused.
void https_serve(const char *certificate, const char *key, https_job job);
// Nanoseconds of processor time for `count` jobs without any server; -1 when something is refused.
int64_t https_bare(https_job job, int count);
