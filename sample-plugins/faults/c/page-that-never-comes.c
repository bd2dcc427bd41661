// Each call that has an input writes bytes whose page comes only when the file is there that the input names: until then, who reads
// them stops there (userfaultfd).
#include "fault.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

FAULT_MANIFEST("fault-page-that-never-comes")

#define PAGE 4096

typedef struct {
  int faults;
  void *page;
  char release[512];
} Held;

static void *give_at_release(void *held_) {
  const Held *held = held_;
  const struct timespec pause = {0, 5 * 1000 * 1000};
  struct uffdio_zeropage zero = {.range = {(uintptr_t)held->page, PAGE}};
  while (access(held->release, F_OK) != 0) {
    nanosleep(&pause, NULL);
  }
  ioctl(held->faults, UFFDIO_ZEROPAGE, &zero);
  return NULL;
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  const ExtmanHostTable *host = ((const FaultInstance *)instance)->host;
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
  Held held;
  pthread_t giver;
  uint32_t status;
  (void)outcome;
  if (request->input.len == 0) {
    return fault_invoke(instance, request, outcome, error);
  }
  snprintf(held.release, sizeof held.release, "%.*s", (int)request->input.len, (const char *)request->input.data);
  held.faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  held.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  range.range.start = (uintptr_t)held.page;
  range.range.len = PAGE;
  if (held.faults < 0 || held.page == MAP_FAILED || ioctl(held.faults, UFFDIO_API, &api) != 0 ||
      ioctl(held.faults, UFFDIO_REGISTER, &range) != 0 || pthread_create(&giver, NULL, give_at_release, &held) != 0) {
    return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, "no userfaultfd");
  }
  status = extman_write(host, request->call, extman_bytes_of(held.page, 16));
  pthread_join(giver, NULL);
  munmap(held.page, PAGE);
  close(held.faults);
  return status;
}

FAULT_MODULE(fault_create, fault_destroy, invoke)
