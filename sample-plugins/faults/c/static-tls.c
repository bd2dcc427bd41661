// Has more thread-locals that the dynamic loader has to place in its reserve than that holds.
#include "fault.h"

FAULT_MANIFEST("fault-static-tls")

static __thread volatile char mine[16 * 1024] __attribute__((tls_model("initial-exec")));

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  mine[0] = 1;
  return fault_create(host, request, instance, error);
}

FAULT_MODULE(create, fault_destroy, fault_invoke)
