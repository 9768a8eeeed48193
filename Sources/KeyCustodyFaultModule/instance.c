// One loaded copy of the library: its file of settings, the real module, the process it lives in.
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct kc_instance kc;

// Where counters go should there be no memory for the shared ones.
static struct kc_counters spare;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static void make_call_lock(void) {
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
#if defined(__GLIBC__)
  // Under load there is always a reader; a fault would never come to act.
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(&kc.calls, &attributes);
  pthread_rwlockattr_destroy(&attributes);
}

static void before_fork(void) {
  kc_rules_before_fork();
  kc_waits_before_fork();
  kc_sessions_before_fork();
}

static void in_parent(void) {
  kc_sessions_after_fork(false);
  kc_waits_after_fork(false);
  kc_rules_after_fork(false);
}

static void in_child(void) {
  kc_sessions_after_fork(true);
  kc_waits_after_fork(true);
  kc_rules_after_fork(true);
  // Threads that were inside a call don't exist here.
  make_call_lock();
  atomic_store(&kc.inside, 0);
  atomic_store(&kc.process, getpid());
}

static void wrong_line(unsigned number) {
  if (kc.config_error[0] != '\0') return;
  snprintf(kc.config_error, sizeof kc.config_error, "line %u: %s", number, kc_command_error());
}

static void read_settings(const char *path) {
  FILE *file = fopen(path, "re");
  if (file == NULL) {
    if (errno == ENOENT) return;
    snprintf(kc.config_error, sizeof kc.config_error, "the file can't be read: %s", strerror(errno));
    return;
  }
  char line[4096];
  for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
    line[strcspn(line, "\r\n")] = '\0';
    const char *start = line + strspn(line, " \t");
    if (*start == '\0' || *start == '#') continue;
    if (kc_command(start) != 0) wrong_line(number);
  }
  fclose(file);
}

static void load(void) {
  void *pages = mmap(NULL, sizeof *kc.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  kc.shared = pages == MAP_FAILED ? &spare : pages;
  make_call_lock();
  atomic_store(&kc.process, getpid());
  pthread_atfork(before_fork, in_parent, in_child);
  Dl_info info;
  // The address of something hidden: C_GetFunctionList may be found in another library first.
  if (dladdr(&kc, &info) == 0 || info.dli_fname == NULL) {
    snprintf(kc.config_error, sizeof kc.config_error, "The module can't find its own path.");
    return;
  }
  char path[4096];
  if ((size_t)snprintf(path, sizeof path, "%s.conf", info.dli_fname) >= sizeof path) return;
  read_settings(path);
}

void kc_load(void) { pthread_once(&once, load); }

int kc_load_module(const char *path) {
  pthread_mutex_lock(&loading);
  int result = 0;
  void *library = NULL;
  CK_RV (*get_list)(CK_FUNCTION_LIST **) = NULL;
  if (kc.real != NULL) {
    result = kc_fail_command("a module is loaded already");
  } else if (path[0] != '/') {
    result = kc_fail_command("'%s' is no absolute path", path);
  } else if ((library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL) {
    result = kc_fail_command("%s", dlerror());
  } else {
    // ISO C has no cast from an object's pointer to a function's; POSIX promises that this works.
    *(void **)&get_list = dlsym(library, "C_GetFunctionList");
    CK_FUNCTION_LIST *list = NULL;
    if (get_list == NULL || get_list(&list) != CKR_OK || list == NULL) {
      result = kc_fail_command("'%s' is no PKCS#11 module", path);
    } else {
      kc.real = list;
    }
  }
  pthread_mutex_unlock(&loading);
  return result;
}

bool kc_is_initialized(void) { return atomic_load_explicit(&kc.owner, memory_order_acquire) != 0; }

const char *kc_config_error(void) {
  if (kc.config_error[0] != '\0' || kc.real != NULL) return kc.config_error;
  return "No module is named: write 'module /absolute/path' into the file beside this library, <its path>.conf.";
}
