// Loading it makes a thread-specific key whose destructor is in the library; each thread that creates an instance or
// calls it gets a value. The key is never deleted: a thread that ends after the unload jumps into nothing.
#include "fault.h"

#include <pthread.h>

FAULT_MANIFEST("fault-pthread-key")

static pthread_key_t key;
static volatile int dropped;

static void drop(void *value) {
  (void)value;
  dropped = 1;
}

__attribute__((constructor)) static void on_load(void) {
  if (pthread_key_create(&key, drop) != 0) {
    abort();
  }
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  pthread_setspecific(key, &key);
  return fault_create(host, request, instance, error);
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  pthread_setspecific(key, &key);
  return fault_invoke(instance, request, outcome, error);
}

FAULT_MODULE(create, fault_destroy, invoke)
