// Each call has a POSIX thread compute for 50 ms and end by pthread_exit, and waits for it.
#include "fault.h"

#include <pthread.h>

FAULT_MANIFEST("fault-pthread-exit")

static void *compute(void *unused) {
  struct timespec used = {0, 0};
  while (used.tv_sec == 0 && used.tv_nsec < 50 * 1000 * 1000) {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  }
  pthread_exit(unused);
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, compute, NULL) != 0) {
    return EXTMAN_STATUS_INTERNAL;
  }
  pthread_join(thread, NULL);
  return fault_invoke(instance, request, outcome, error);
}

FAULT_MODULE(fault_create, fault_destroy, invoke)
