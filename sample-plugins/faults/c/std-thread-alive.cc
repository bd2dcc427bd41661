// Each call leaves a std::thread behind, which makes another one. Both compute until the file that the call's input names is there. Their
// start routine is libstdc++'s.
#include "fault.h"

#include <string>
#include <thread>

FAULT_MANIFEST("fault-std-thread-alive")

static void compute_until(const std::string &release) {
  volatile unsigned work = 0;
  while (access(release.c_str(), F_OK) != 0) {
    for (unsigned round = 0; round < 100000; round++) {
      work = work + round;
    }
  }
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  const std::string release((const char *)request->input.data, request->input.len);
  std::thread([release] {
    std::thread(compute_until, release).detach();
    compute_until(release);
  }).detach();
  return fault_invoke(instance, request, outcome, error);
}

FAULT_MODULE(fault_create, fault_destroy, invoke)
