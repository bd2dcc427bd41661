// Ends its process by a signal: which one and when stands in its configuration, {"crash": "segfault", "when": "invoke"}. `crash` is
// "segfault", "bus", "abort", "illegal-instruction", "stack-overflow" or "raise" (SIGSEGV, by raise(3)); `when` is "create", "start",
// "check", "invoke" (each call), "thread" (in create, on a thread of its own), "late-thread" (in each call, likewise) "masked-thread" (as
// "thread", with all signals blocked there, as libraries have it on theirs) or "small-stack-thread" (as "thread", with an alternate stack of
// its own that is as small as Rust's standard library makes them). With
// {"slow_stop_ms": 200} its stop takes that long; with {"handler": "own"} create sets a handler of SIGSEGV that ends the process with
// code 7; with {"fork": "crash"} create forks a child that ends by the crash. Without a configuration nothing is wrong.
#define _GNU_SOURCE
#define FAULT_CHECK check
#include "fault.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>

FAULT_MANIFEST("fault-crashes")

typedef struct Crashes {
  FaultInstance base; // First: the echo reads it.
  char config[512];
} Crashes;

static char crash_name[32];

static volatile int goes_on = 1;

__attribute__((noinline)) static int overflow(volatile char *above) {
  volatile char frame[1024];
  frame[0] = above[0];
  return goes_on ? overflow(frame) + frame[0] : 0;
}

static void crash(void) {
  if (strcmp(crash_name, "segfault") == 0) {
    *(volatile char *)16 = 1;
  } else if (strcmp(crash_name, "bus") == 0) {
    int file = memfd_create("empty", MFD_CLOEXEC);
    // Nothing is in the file, so there is no page behind the mapping.
    volatile char *nothing = (volatile char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    nothing[0] = 1;
  } else if (strcmp(crash_name, "abort") == 0) {
    abort();
  } else if (strcmp(crash_name, "illegal-instruction") == 0) {
    __builtin_trap();
  } else if (strcmp(crash_name, "stack-overflow") == 0) {
    volatile char first = 1;
    exit(overflow(&first));
  } else if (strcmp(crash_name, "raise") == 0) {
    raise(SIGSEGV);
  }
}

static void *crash_in_thread(void *unused) {
  crash();
  return unused;
}

static void *crash_on_a_small_stack(void *unused) {
  const size_t least = 8192, guard = 4096, told = getauxval(AT_MINSIGSTKSZ);
  const size_t size = ((told > least ? told : least) + guard - 1) / guard * guard;
  char *memory = (char *)mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(memory, guard, PROT_NONE);
  const stack_t small = {.ss_sp = memory + guard, .ss_flags = 0, .ss_size = size};
  sigaltstack(&small, NULL);
  crash();
  return unused;
}

static void crash_on_a_thread(void *(*how)(void *)) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, how, NULL) == 0) {
    pthread_join(thread, NULL);
  }
}

static void on_signal(int signal) {
  (void)signal;
  _exit(7);
}

static int says(const Crashes *instance, const char *key, const char *value) {
  char field[96];
  snprintf(field, sizeof field, "\"%s\":\"%s\"", key, value);
  return strstr(instance->config, field) != NULL;
}

static void read_config(Crashes *made, ExtmanBytes config) {
  size_t len = 0;
  for (size_t at = 0; at < config.len && len < sizeof made->config - 1; at++) {
    if (config.data[at] != ' ') {
      made->config[len++] = (char)config.data[at];
    }
  }
  const char *names[] = {"segfault", "bus", "abort", "illegal-instruction", "stack-overflow", "raise"};
  for (size_t at = 0; at < sizeof names / sizeof names[0]; at++) {
    if (says(made, "crash", names[at])) {
      strcpy(crash_name, names[at]);
    }
  }
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  (void)error;
  Crashes *made = (Crashes *)calloc(1, sizeof *made);
  if (made == NULL) {
    return EXTMAN_STATUS_INTERNAL;
  }
  made->base.host = host;
  read_config(made, request->config);
  if (says(made, "handler", "own")) {
    signal(SIGSEGV, on_signal);
  }
  if (says(made, "fork", "crash")) {
    pid_t child = fork();
    if (child == 0) {
      crash();
      _exit(1);
    }
    waitpid(child, NULL, 0);
  }
  if (says(made, "when", "create")) {
    crash();
  }
  if (says(made, "when", "thread")) {
    crash_on_a_thread(crash_in_thread);
  }
  if (says(made, "when", "small-stack-thread")) {
    crash_on_a_thread(crash_on_a_small_stack);
  }
  if (says(made, "when", "masked-thread")) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    crash_on_a_thread(crash_in_thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  *instance = made;
  return EXTMAN_STATUS_OK;
}

static uint32_t start(void *instance, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
  (void)request;
  (void)error;
  if (says((const Crashes *)instance, "when", "start")) {
    crash();
  }
  return EXTMAN_STATUS_OK;
}

static uint32_t stop(void *instance, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
  (void)request;
  (void)error;
  const char *slow = strstr(((const Crashes *)instance)->config, "\"slow_stop_ms\":");
  if (slow != NULL) {
    usleep((useconds_t)atoi(slow + strlen("\"slow_stop_ms\":")) * 1000);
  }
  return EXTMAN_STATUS_OK;
}

static uint32_t check(void *instance, const ExtmanCheckRequest *request, ExtmanReport *report, ExtmanTextBuffer *text) {
  if (says((const Crashes *)instance, "when", "check")) {
    crash();
  }
  return fault_check(instance, request, report, text);
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  if (says((const Crashes *)instance, "when", "invoke")) {
    crash();
  }
  if (says((const Crashes *)instance, "when", "late-thread")) {
    crash_on_a_thread(crash_in_thread);
  }
  return fault_invoke(instance, request, outcome, error);
}

static const ExtmanLifecycleVtable lifecycle = {
    sizeof(ExtmanLifecycleVtable), create, start, NULL, NULL, stop, NULL, NULL, fault_destroy};
static const ExtmanCapabilityVtable capability = {sizeof(ExtmanCapabilityVtable), invoke, NULL};
FAULT_MODULE_OF(EXTMAN_MODULE_MAGIC, EXTMAN_ABI_MAJOR, &lifecycle, &capability)
