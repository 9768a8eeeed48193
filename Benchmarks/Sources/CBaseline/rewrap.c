#include "include/rewrap.h"

#include <libpq-fe.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { KEY = 32, WRAPPED = 40 };

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int key_wrap(EVP_CIPHER_CTX *context, const uint8_t *kek, const uint8_t *in, int length, uint8_t *out, int wrap) {
  int size = 0;
  EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  return EVP_CipherInit_ex(context, EVP_aes_256_wrap(), NULL, kek, NULL, wrap) == 1 &&
         EVP_CipherUpdate(context, out, &size, in, length) == 1;
}

static int run(sqlite3 *db, const char *text) { return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK; }

static void name(char *out, size_t size, int number) { snprintf(out, size, "resources/customer-%08d", number); }

static int fill(sqlite3 *db, EVP_CIPHER_CTX *context, const uint8_t *kek, int count, int keys, uint8_t *value, int length) {
  sqlite3_stmt *put = NULL;
  if (!run(db, "BEGIN") || sqlite3_prepare_v2(db, "INSERT INTO records VALUES(?, ?)", -1, &put, NULL) != SQLITE_OK) return 0;
  int good = 1;
  for (int number = 0; good && number < count; number++) {
    uint8_t key[KEY];
    memset(key, number, sizeof key);
    for (int index = 0; good && index < keys; index++) good = key_wrap(context, kek, key, KEY, value + index * WRAPPED, 1);
    char text[64];
    name(text, sizeof text, number);
    sqlite3_bind_text(put, 1, text, -1, SQLITE_STATIC);
    sqlite3_bind_blob(put, 2, value, length, SQLITE_STATIC);
    good = good && sqlite3_step(put) == SQLITE_DONE;
    sqlite3_reset(put);
  }
  sqlite3_finalize(put);
  return good && run(db, "COMMIT");
}

static int rewrap(sqlite3 *db, EVP_CIPHER_CTX *context, const uint8_t *old, const uint8_t *new, int count, int keys, uint8_t *value, int length) {
  sqlite3_stmt *get = NULL, *put = NULL;
  int good = sqlite3_prepare_v2(db, "SELECT value FROM records WHERE name = ?", -1, &get, NULL) == SQLITE_OK &&
             sqlite3_prepare_v2(db, "UPDATE records SET value = ? WHERE name = ?", -1, &put, NULL) == SQLITE_OK;
  for (int number = 0; good && number < count; number++) {
    char text[64];
    name(text, sizeof text, number);
    sqlite3_bind_text(get, 1, text, -1, SQLITE_STATIC);
    good = sqlite3_step(get) == SQLITE_ROW && sqlite3_column_bytes(get, 0) == length;
    if (good) memcpy(value, sqlite3_column_blob(get, 0), length);
    sqlite3_reset(get);
    for (int index = 0; good && index < keys; index++) {
      uint8_t key[KEY + 8];
      good = key_wrap(context, old, value + index * WRAPPED, WRAPPED, key, 0) &&
             key_wrap(context, new, key, KEY, value + index * WRAPPED, 1);
    }
    sqlite3_bind_blob(put, 1, value, length, SQLITE_STATIC);
    sqlite3_bind_text(put, 2, text, -1, SQLITE_STATIC);
    good = good && sqlite3_step(put) == SQLITE_DONE;
    sqlite3_reset(put);
  }
  sqlite3_finalize(get);
  sqlite3_finalize(put);
  return good;
}

int64_t baseline_rewrap(const char *path, int count, int keys, int length) {
  enum { MOST = 65536 };
  static uint8_t value[MOST];
  uint8_t old[32], new[32];
  memset(old, 1, sizeof old);
  memset(new, 2, sizeof new);
  memset(value, 'x', sizeof value);
  sqlite3 *db = NULL;
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  int64_t took = -1;
  if (length >= keys * WRAPPED && length <= MOST && sqlite3_open(path, &db) == SQLITE_OK &&
      run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
              "CREATE TABLE records(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID") &&
      fill(db, context, old, count, keys, value, length)) {
    int64_t start = now();
    if (rewrap(db, context, old, new, count, keys, value, length)) took = now() - start;
  }
  sqlite3_close(db);
  EVP_CIPHER_CTX_free(context);
  return took;
}

// MARK: PostgreSQL

static int does(PGconn *db, const char *format, const char *schema) {
  char text[256];
  snprintf(text, sizeof text, format, schema);
  PGresult *result = PQexec(db, text);
  int good = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  return good;
}

static int prepare(PGconn *db, const char *name, const char *format, const char *schema) {
  char text[256];
  snprintf(text, sizeof text, format, schema);
  PGresult *result = PQprepare(db, name, text, 0, NULL);
  int good = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  return good;
}

static int put(PGconn *db, const char *statement, const char *key, const uint8_t *value, int length) {
  const char *values[] = {key, (const char *)value};
  int lengths[] = {0, length}, formats[] = {0, 1};
  PGresult *result = PQexecPrepared(db, statement, 2, values, lengths, formats, 1);
  int good = PQresultStatus(result) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(result), "1") == 0;
  PQclear(result);
  return good;
}

static int get(PGconn *db, const char *key, uint8_t *value, int length) {
  const char *values[] = {key};
  PGresult *result = PQexecPrepared(db, "get", 1, values, NULL, NULL, 1);
  int good = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && PQgetlength(result, 0, 0) == length;
  if (good) memcpy(value, PQgetvalue(result, 0, 0), length);
  PQclear(result);
  return good;
}

static int postgresql_fill(PGconn *db, EVP_CIPHER_CTX *context, const uint8_t *kek, const char *schema, int count, int keys, uint8_t *value, int length) {
  int good = does(db, "SET client_min_messages = warning", schema) && does(db, "CREATE SCHEMA %s", schema) &&
             does(db, "CREATE TABLE %s.records(name TEXT COLLATE \"C\" PRIMARY KEY, value BYTEA NOT NULL)", schema) &&
             prepare(db, "add", "INSERT INTO %s.records VALUES($1, $2)", schema) &&
             prepare(db, "get", "SELECT value FROM %s.records WHERE name = $1", schema) &&
             prepare(db, "put", "UPDATE %s.records SET value = $2 WHERE name = $1", schema) && does(db, "BEGIN", schema);
  for (int number = 0; good && number < count; number++) {
    uint8_t key[KEY];
    memset(key, number, sizeof key);
    for (int index = 0; good && index < keys; index++) good = key_wrap(context, kek, key, KEY, value + index * WRAPPED, 1);
    char text[64];
    name(text, sizeof text, number);
    good = good && put(db, "add", text, value, length);
  }
  return good && does(db, "COMMIT", schema);
}

static int postgresql_rewrap(PGconn *db, EVP_CIPHER_CTX *context, const uint8_t *old, const uint8_t *new, int count, int keys, uint8_t *value, int length) {
  int good = 1;
  for (int number = 0; good && number < count; number++) {
    char text[64];
    name(text, sizeof text, number);
    good = get(db, text, value, length);
    for (int index = 0; good && index < keys; index++) {
      uint8_t key[KEY + 8];
      good = key_wrap(context, old, value + index * WRAPPED, WRAPPED, key, 0) &&
             key_wrap(context, new, key, KEY, value + index * WRAPPED, 1);
    }
    good = good && put(db, "put", text, value, length);
  }
  return good;
}

int64_t baseline_rewrap_postgresql(const char *address, const char *schema, int count, int keys, int length) {
  enum { MOST = 65536 };
  static uint8_t value[MOST];
  uint8_t old[32], new[32];
  memset(old, 1, sizeof old);
  memset(new, 2, sizeof new);
  memset(value, 'x', sizeof value);
  PGconn *db = PQconnectdb(address);
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  int64_t took = -1;
  if (length >= keys * WRAPPED && length <= MOST && PQstatus(db) == CONNECTION_OK &&
      postgresql_fill(db, context, old, schema, count, keys, value, length)) {
    int64_t start = now();
    if (postgresql_rewrap(db, context, old, new, count, keys, value, length)) took = now() - start;
  }
  does(db, "DROP SCHEMA IF EXISTS %s CASCADE", schema);
  PQfinish(db);
  EVP_CIPHER_CTX_free(context);
  return took;
}
