// Answers checks as its configuration says. "hang:<path>;" makes the file <path>.begun in a check and waits until <path> is there.
// "sleep;" takes 500 ms for each check. "spoil;" leaves its thread with another affinity, float mode, signal mask, name and
// priority. The text of a check and the answer of a call say what they found of these on their thread:
// name=... cpus=2 mxcsr=1f80 blocked=0 nice=0.
#define _GNU_SOURCE
#define FAULT_CHECK check
#include "fault.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#ifdef __x86_64__
#include <xmmintrin.h>
#define FLOAT_MODE _mm_getcsr()
#define SPOIL_FLOAT_MODE _mm_setcsr(_mm_getcsr() | 0x8040)
#else
#define FLOAT_MODE 0u
#define SPOIL_FLOAT_MODE
#endif

typedef struct Checked {
  FaultInstance base;
  char config[1024];
} Checked;

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  (void)error;
  Checked *made = (Checked *)calloc(1, sizeof *made);
  if (made == NULL) {
    return EXTMAN_STATUS_INTERNAL;
  }
  made->base.host = host;
  size_t len = request->config.len < sizeof made->config - 1 ? request->config.len : sizeof made->config - 1;
  if (len > 0) {
    memcpy(made->config, request->config.data, len);
  }
  *instance = made;
  return EXTMAN_STATUS_OK;
}

static int thread_state(char *text, size_t size) {
  cpu_set_t cpus;
  sigset_t mask;
  char name[32] = "";
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  pthread_getname_np(pthread_self(), name, sizeof name);
  return snprintf(text, size, "name=%s cpus=%d mxcsr=%04x blocked=%d nice=%d", name, CPU_COUNT(&cpus), FLOAT_MODE & 0x8040,
                  sigismember(&mask, SIGUSR1), getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)));
}

static void spoil(void) {
  cpu_set_t one;
  sigset_t all;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  SPOIL_FLOAT_MODE;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  pthread_setname_np(pthread_self(), "spoiled");
  setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
}

static void hang(const char *from) {
  const struct timespec pause = {0, 2 * 1000 * 1000};
  char release[512], begun[520];
  size_t len = strcspn(from, ";");
  if (len >= sizeof release) {
    return;
  }
  memcpy(release, from, len);
  release[len] = 0;
  snprintf(begun, sizeof begun, "%s.begun", release);
  FILE *file = fopen(begun, "w");
  if (file != NULL) {
    fclose(file);
  }
  while (access(release, F_OK) != 0) {
    nanosleep(&pause, NULL);
  }
}

static uint32_t check(void *instance, const ExtmanCheckRequest *request, ExtmanReport *report, ExtmanTextBuffer *text) {
  const char *config = ((const Checked *)instance)->config;
  const char *path = strstr(config, "hang:");
  const struct timespec half_a_second = {0, 500 * 1000 * 1000};
  char found[160];
  thread_state(found, sizeof found);
  extman_write_text(text, extman_bytes_of_text(found));
  if (strstr(config, "spoil;") != NULL) {
    spoil();
  }
  if (strstr(config, "sleep;") != NULL) {
    nanosleep(&half_a_second, NULL);
  }
  if (path != NULL) {
    hang(path + strlen("hang:"));
  }
  return fault_check(instance, request, report, text);
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  (void)outcome;
  (void)error;
  const ExtmanHostTable *host = ((const FaultInstance *)instance)->host;
  char found[160];
  int len = thread_state(found, sizeof found);
  ExtmanBytes answer = {(const uint8_t *)found, (uintptr_t)len};
  return extman_write(host, request->call, answer);
}

FAULT_MANIFEST("fault-checks")
FAULT_MODULE(create, fault_destroy, invoke)
