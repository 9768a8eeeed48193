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

// Records wherever they are kept, and what reads one and writes one; each answers whether it did.
typedef struct {
  void *state;
  int (*get)(void *state, const char *name, uint8_t *value, int length);
  int (*put)(void *state, const char *name, const uint8_t *value, int length);
} Records;

static void name(char *out, size_t size, int number) { snprintf(out, size, "resources/customer-%08d", number); }

static int fill(Records *records, EVP_CIPHER_CTX *context, const uint8_t *kek, int count, int keys, uint8_t *value, int length) {
  int good = 1;
  for (int number = 0; good && number < count; number++) {
    uint8_t key[KEY];
    memset(key, number, sizeof key);
    for (int index = 0; good && index < keys; index++) good = key_wrap(context, kek, key, KEY, value + index * WRAPPED, 1);
    char text[64];
    name(text, sizeof text, number);
    good = good && records->put(records->state, text, value, length);
  }
  return good;
}

static int rewrap(Records *records, EVP_CIPHER_CTX *context, const uint8_t *old, const uint8_t *new, int count, int keys, uint8_t *value, int length) {
  int good = 1;
  for (int number = 0; good && number < count; number++) {
    char text[64];
    name(text, sizeof text, number);
    good = records->get(records->state, text, value, length);
    for (int index = 0; good && index < keys; index++) {
      uint8_t key[KEY + 8];
      good = key_wrap(context, old, value + index * WRAPPED, WRAPPED, key, 0) &&
             key_wrap(context, new, key, KEY, value + index * WRAPPED, 1);
    }
    good = good && records->put(records->state, text, value, length);
  }
  return good;
}

// Fills, has `filled` commit that and make ready for changes that are each a commit, and tells how long those took.
static int64_t measured(Records *records, int (*filled)(void *state), int count, int keys, int length) {
  enum { MOST = 65536 };
  static uint8_t value[MOST];
  uint8_t old[32], new[32];
  memset(old, 1, sizeof old);
  memset(new, 2, sizeof new);
  memset(value, 'x', sizeof value);
  if (length < keys * WRAPPED || length > MOST) return -1;
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  int64_t took = -1;
  if (fill(records, context, old, count, keys, value, length) && filled(records->state)) {
    int64_t start = now();
    if (rewrap(records, context, old, new, count, keys, value, length)) took = now() - start;
  }
  EVP_CIPHER_CTX_free(context);
  return took;
}

// MARK: SQLite

typedef struct {
  sqlite3 *db;
  sqlite3_stmt *get, *put;
} SQLite;

static int run(sqlite3 *db, const char *text) { return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK; }

static int sqlite_get(void *state, const char *name, uint8_t *value, int length) {
  sqlite3_stmt *get = ((SQLite *)state)->get;
  sqlite3_bind_text(get, 1, name, -1, SQLITE_STATIC);
  int good = sqlite3_step(get) == SQLITE_ROW && sqlite3_column_bytes(get, 0) == length;
  if (good) memcpy(value, sqlite3_column_blob(get, 0), length);
  sqlite3_reset(get);
  return good;
}

static int sqlite_put(void *state, const char *name, const uint8_t *value, int length) {
  sqlite3_stmt *put = ((SQLite *)state)->put;
  sqlite3_bind_text(put, 1, name, -1, SQLITE_STATIC);
  sqlite3_bind_blob(put, 2, value, length, SQLITE_STATIC);
  int good = sqlite3_step(put) == SQLITE_DONE;
  sqlite3_reset(put);
  return good;
}

static int sqlite_filled(void *state) {
  SQLite *sqlite = state;
  sqlite3_finalize(sqlite->put);
  sqlite->put = NULL;
  return run(sqlite->db, "COMMIT") &&
         sqlite3_prepare_v2(sqlite->db, "UPDATE records SET value = ?2 WHERE name = ?1", -1, &sqlite->put, NULL) == SQLITE_OK;
}

int64_t baseline_rewrap(const char *path, int count, int keys, int length) {
  SQLite sqlite = {NULL, NULL, NULL};
  Records records = {&sqlite, sqlite_get, sqlite_put};
  int64_t took = -1;
  if (sqlite3_open(path, &sqlite.db) == SQLITE_OK &&
      run(sqlite.db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "CREATE TABLE records(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID; BEGIN") &&
      sqlite3_prepare_v2(sqlite.db, "SELECT value FROM records WHERE name = ?", -1, &sqlite.get, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(sqlite.db, "INSERT INTO records VALUES(?1, ?2)", -1, &sqlite.put, NULL) == SQLITE_OK)
    took = measured(&records, sqlite_filled, count, keys, length);
  sqlite3_finalize(sqlite.get);
  sqlite3_finalize(sqlite.put);
  sqlite3_close(sqlite.db);
  return took;
}

// MARK: PostgreSQL

typedef struct {
  PGconn *db;
  const char *put;
} PostgreSQL;

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

static int postgresql_get(void *state, const char *name, uint8_t *value, int length) {
  const char *values[] = {name};
  PGresult *result = PQexecPrepared(((PostgreSQL *)state)->db, "get", 1, values, NULL, NULL, 1);
  int good = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && PQgetlength(result, 0, 0) == length;
  if (good) memcpy(value, PQgetvalue(result, 0, 0), length);
  PQclear(result);
  return good;
}

static int postgresql_put(void *state, const char *name, const uint8_t *value, int length) {
  PostgreSQL *postgresql = state;
  const char *values[] = {name, (const char *)value};
  int lengths[] = {0, length}, formats[] = {0, 1};
  PGresult *result = PQexecPrepared(postgresql->db, postgresql->put, 2, values, lengths, formats, 1);
  int good = PQresultStatus(result) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(result), "1") == 0;
  PQclear(result);
  return good;
}

static int postgresql_filled(void *state) {
  PostgreSQL *postgresql = state;
  postgresql->put = "put";
  return does(postgresql->db, "COMMIT", "");
}

int64_t baseline_rewrap_postgresql(const char *address, const char *schema, int count, int keys, int length) {
  PGconn *db = PQconnectdb(address);
  PostgreSQL postgresql = {db, "add"};
  Records records = {&postgresql, postgresql_get, postgresql_put};
  int64_t took = -1;
  if (PQstatus(db) == CONNECTION_OK && does(db, "SET client_min_messages = warning", schema) &&
      does(db, "CREATE SCHEMA %s", schema) &&
      does(db, "CREATE TABLE %s.records(name TEXT COLLATE \"C\" PRIMARY KEY, value BYTEA NOT NULL)", schema) &&
      prepare(db, "add", "INSERT INTO %s.records VALUES($1, $2)", schema) &&
      prepare(db, "get", "SELECT value FROM %s.records WHERE name = $1", schema) &&
      prepare(db, "put", "UPDATE %s.records SET value = $2 WHERE name = $1", schema) && does(db, "BEGIN", schema))
    took = measured(&records, postgresql_filled, count, keys, length);
  does(db, "DROP SCHEMA IF EXISTS %s CASCADE", schema);
  PQfinish(db);
  return took;
}
