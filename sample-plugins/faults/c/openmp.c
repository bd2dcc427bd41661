// Each call computes in three threads of OpenMP, whose library it opens itself. Two of them wait there for the next call of this
// thread, and that library's is their start routine.
#include "fault.h"

#include <dlfcn.h>

FAULT_MANIFEST("fault-openmp")

// What a compiler makes of `#pragma omp parallel`.
typedef void Parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);

static void compute(void *unused) {
  volatile unsigned sum = 0;
  (void)unused;
  for (unsigned round = 0; round < 10u * 1000 * 1000; round++) {
    sum = sum + round;
  }
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  void *openmp = dlopen("libgomp.so.1", RTLD_NOW | RTLD_LOCAL);
  Parallel *parallel = NULL;
  if (openmp != NULL) {
    *(void **)&parallel = dlsym(openmp, "GOMP_parallel");
  }
  if (parallel == NULL) {
    return EXTMAN_STATUS_UNAVAILABLE;
  }
  parallel(compute, NULL, 3, 0);
  return fault_invoke(instance, request, outcome, error);
}

FAULT_MODULE(fault_create, fault_destroy, invoke)
