// Each call computes in three threads of OpenMP. Two of them wait in libgomp for the next call, and their start routine is there.
#include "fault.h"

#include <omp.h>

#ifndef OPENMP_ID
#define OPENMP_ID "fault-openmp"
#endif

FAULT_MANIFEST(OPENMP_ID)

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  volatile unsigned sums[3] = {0};
#pragma omp parallel num_threads(3)
  for (unsigned round = 0; round < 20u * 1000 * 1000; round++) {
    sums[omp_get_thread_num()] += round;
  }
  return fault_invoke(instance, request, outcome, error);
}

FAULT_MODULE(fault_create, fault_destroy, invoke)
