#include "hsm.h"

// The OASIS names (CK_FUNCTION_LIST, CKM_…) of PKCS#11 2.40.
#define CRYPTOKI_COMPAT 1
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { most_threads = 64, most_slots = 64, most_output = 1024 };

struct hsm {
  CK_FUNCTION_LIST *call;
  CK_SESSION_HANDLE sessions[most_threads];
  int count;
};

static char refusal[100];

static int accepted(const char *name, CK_RV code) {
  if (code == CKR_OK) return 1;
  snprintf(refusal, sizeof refusal, "%s answered 0x%lx", name, code);
  return 0;
}

const char *hsm_refusal(void) { return refusal; }

// MARK: Sessions

static CK_FUNCTION_LIST *load(const char *module) {
  CK_FUNCTION_LIST *call = NULL;
  void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList list = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
  if (!list) {
    snprintf(refusal, sizeof refusal, "dlopen: %.80s", dlerror());
    return NULL;
  }
  if (!accepted("C_GetFunctionList", list(&call))) return NULL;
  CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
  CK_RV code = call->C_Initialize(&arguments);
  return code == CKR_CRYPTOKI_ALREADY_INITIALIZED || accepted("C_Initialize", code) ? call : NULL;
}

static int find_slot(CK_FUNCTION_LIST *call, const char *label, CK_SLOT_ID *slot) {
  CK_SLOT_ID slots[most_slots];
  CK_ULONG count = most_slots;
  CK_TOKEN_INFO info;
  if (!accepted("C_GetSlotList", call->C_GetSlotList(CK_TRUE, slots, &count))) return 0;
  size_t length = strlen(label);
  for (CK_ULONG index = 0; index < count; index++) {
    if (!accepted("C_GetTokenInfo", call->C_GetTokenInfo(slots[index], &info))) return 0;
    if (length >= sizeof info.label || memcmp(info.label, label, length) || info.label[length] != ' ') continue;
    *slot = slots[index];
    return 1;
  }
  snprintf(refusal, sizeof refusal, "no token is called %.40s", label);
  return 0;
}

static int open_sessions(hsm *token, CK_SLOT_ID slot, int threads) {
  CK_SESSION_INFO info;
  for (; token->count < threads; token->count++) {
    CK_SESSION_HANDLE *session = &token->sessions[token->count];
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    if (!accepted("C_OpenSession", token->call->C_OpenSession(slot, flags, NULL, NULL, session))) return 0;
  }
  if (!accepted("C_GetSessionInfo", token->call->C_GetSessionInfo(token->sessions[0], &info))) return 0;
  if (info.state == CKS_RW_USER_FUNCTIONS) return 1;
  snprintf(refusal, sizeof refusal, "the process is not logged in to the token");
  return 0;
}

hsm *hsm_open(const char *module, const char *label, int threads) {
  CK_SLOT_ID slot = 0;
  hsm *token = calloc(1, sizeof *token);
  if (!token || threads < 1 || threads > most_threads || !(token->call = load(module)) ||
      !find_slot(token->call, label, &slot)) {
    free(token);
    return NULL;
  }
  if (open_sessions(token, slot, threads)) return token;
  hsm_close(token);
  return NULL;
}

void hsm_close(hsm *token) {
  if (!token) return;
  for (int index = 0; index < token->count; index++) token->call->C_CloseSession(token->sessions[index]);
  free(token);
}

// MARK: Objects

unsigned long hsm_find(hsm *token, const unsigned char *id, size_t length) {
  CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_SECRET_KEY};
  CK_SESSION_HANDLE session = token->sessions[0];
  CK_OBJECT_HANDLE found = 0;
  for (int index = 0; index < 2 && !found; index++) {
    CK_ULONG count = 0;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &classes[index], sizeof classes[index]}, {CKA_ID, (void *)id, length}};
    if (!accepted("C_FindObjectsInit", token->call->C_FindObjectsInit(session, wanted, 2))) return 0;
    CK_RV code = token->call->C_FindObjects(session, &found, 1, &count);
    token->call->C_FindObjectsFinal(session);
    if (!accepted("C_FindObjects", code)) return 0;
    if (!count) found = 0;
  }
  if (!found) snprintf(refusal, sizeof refusal, "no such key");
  return found;
}

int hsm_fill(hsm *token, int count) {
  CK_OBJECT_CLASS class = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  unsigned char value[32] = {0}, id[16] = "other";
  for (int index = 0; index < count; index++) {
    memcpy(id + 8, &index, sizeof index);
    memcpy(value, &index, sizeof index);
    CK_ATTRIBUTE attributes[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &yes, sizeof yes},
        {CKA_PRIVATE, &yes, sizeof yes},   {CKA_SENSITIVE, &yes, sizeof yes},  {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_ID, id, sizeof id},           {CKA_VALUE, value, sizeof value},
    };
    CK_OBJECT_HANDLE object;
    CK_ULONG number = sizeof attributes / sizeof *attributes;
    if (!accepted("C_CreateObject", token->call->C_CreateObject(token->sessions[0], attributes, number, &object))) {
      return -1;
    }
  }
  return 0;
}

// MARK: Jobs

typedef struct work {
  CK_FUNCTION_LIST *call;
  CK_SESSION_HANDLE session;
  hsm_job job;
  CK_OBJECT_HANDLE key;
  const unsigned char *input;
  size_t length;
  int count;
  unsigned char output[most_output];
  CK_ULONG output_length;
  const char *name;
  CK_RV code;
} work;

// Each sets `name` before a call, so that a refusal can tell which it was.
static CK_RV rsa_unwrap(work *work) {
  CK_RSA_PKCS_OAEP_PARAMS parameters = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
  CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &parameters, sizeof parameters};
  work->name = "C_DecryptInit";
  CK_RV code = work->call->C_DecryptInit(work->session, &mechanism, work->key);
  if (code != CKR_OK) return code;
  work->name = "C_Decrypt";
  work->output_length = most_output;
  return work->call->C_Decrypt(
      work->session, (CK_BYTE *)work->input, work->length, work->output, &work->output_length);
}

// The secret of the session: what both directions of AES key wrap pass through.
static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
static CK_KEY_TYPE secret_type = CKK_GENERIC_SECRET;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
#define SECRET                                                                              \
  {CKA_CLASS, &secret_class, sizeof secret_class}, {CKA_KEY_TYPE, &secret_type, sizeof secret_type}, \
  {CKA_TOKEN, &no, sizeof no}, {CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &no, sizeof no}, \
  {CKA_EXTRACTABLE, &yes, sizeof yes}

static CK_RV aes_unwrap(work *work) {
  CK_ATTRIBUTE secret[] = {SECRET};
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
  CK_OBJECT_HANDLE object = 0;
  work->name = "C_UnwrapKey";
  CK_RV code = work->call->C_UnwrapKey(
      work->session, &mechanism, work->key, (CK_BYTE *)work->input, work->length, secret,
      sizeof secret / sizeof *secret, &object);
  if (code != CKR_OK) return code;
  CK_ATTRIBUTE value = {CKA_VALUE, work->output, most_output};
  work->name = "C_GetAttributeValue";
  code = work->call->C_GetAttributeValue(work->session, object, &value, 1);
  work->output_length = value.ulValueLen;
  if (code != CKR_OK) return code;
  work->name = "C_DestroyObject";
  return work->call->C_DestroyObject(work->session, object);
}

static CK_RV aes_wrap(work *work) {
  CK_ATTRIBUTE secret[] = {SECRET, {CKA_VALUE, (void *)work->input, work->length}};
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
  CK_OBJECT_HANDLE object = 0;
  work->name = "C_CreateObject";
  CK_RV code = work->call->C_CreateObject(work->session, secret, sizeof secret / sizeof *secret, &object);
  if (code != CKR_OK) return code;
  work->name = "C_WrapKey";
  work->output_length = most_output;
  code = work->call->C_WrapKey(work->session, &mechanism, work->key, object, work->output, &work->output_length);
  if (code != CKR_OK) return code;
  work->name = "C_DestroyObject";
  return work->call->C_DestroyObject(work->session, object);
}

static void *run(void *argument) {
  static CK_RV (*const jobs[])(work *) = {
      [hsm_rsa_unwrap] = rsa_unwrap, [hsm_aes_unwrap] = aes_unwrap, [hsm_aes_wrap] = aes_wrap};
  work *work = argument;
  for (int index = 0; index < work->count && work->code == CKR_OK; index++) work->code = jobs[work->job](work);
  return NULL;
}

int64_t hsm_run(
    hsm *token, hsm_job job, unsigned long key, const unsigned char *input, size_t length, unsigned char *output,
    size_t *output_length, int threads, int count) {
  work works[most_threads];
  pthread_t others[most_threads];
  int started = 1;
  if (threads < 1 || threads > token->count || count % threads != 0) return -1;
  for (int index = 0; index < threads; index++) {
    works[index] = (work){
        .call = token->call, .session = token->sessions[index], .job = job, .key = key, .input = input,
        .length = length, .count = count / threads};
  }
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  // The caller's thread is the first; starting the others takes some ten microseconds and is counted.
  while (started < threads && pthread_create(&others[started], NULL, run, &works[started]) == 0) started++;
  run(&works[0]);
  for (int index = 1; index < started; index++) pthread_join(others[index], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  if (started < threads) return -1;
  for (int index = 0; index < threads; index++) {
    if (!accepted(works[index].name, works[index].code)) return -1;
  }
  if (works[0].output_length > *output_length) return -1;
  *output_length = works[0].output_length;
  memcpy(output, works[0].output, *output_length);
  return ((int64_t)end.tv_sec - start.tv_sec) * 1000000000 + (end.tv_nsec - start.tv_nsec);
}
