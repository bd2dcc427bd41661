// Each instance starts a C11 thread that outlives it until the release. thrd_create does not go through pthread_create.
#include "fault.h"

#include <threads.h>

FAULT_MANIFEST("fault-thrd-create-alive")

static int live(void *unused) {
  (void)unused;
  fault_wait_for_release();
  return 0;
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  thrd_t thread;
  if (thrd_create(&thread, live, NULL) != thrd_success) {
    return EXTMAN_STATUS_INTERNAL;
  }
  thrd_detach(thread);
  return fault_create(host, request, instance, error);
}

FAULT_MODULE(create, fault_destroy, fault_invoke)
