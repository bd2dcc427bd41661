// Each instance starts a POSIX thread that outlives it until the release.
#include "fault.h"

#include <pthread.h>

FAULT_MANIFEST("fault-pthread-alive")

static void *live(void *unused) {
  fault_wait_for_release();
  return unused;
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, live, NULL) != 0) {
    return EXTMAN_STATUS_INTERNAL;
  }
  pthread_detach(thread);
  return fault_create(host, request, instance, error);
}

FAULT_MODULE(create, fault_destroy, fault_invoke)
