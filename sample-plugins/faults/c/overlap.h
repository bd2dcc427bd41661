// A plugin that watches how it is entered. A call whose input is not empty makes the file <input>.begun and waits until the
// file <input> is there. Each answers with the most that were inside at once so far, and with its thread:
// {"most":1,"thread":1234}.
#include "fault.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

static atomic_int inside, most;

static void enter(void) {
  int now = atomic_fetch_add(&inside, 1) + 1;
  int before = atomic_load(&most);
  while (before < now && !atomic_compare_exchange_weak(&most, &before, now)) {
  }
}

static void leave(void) { atomic_fetch_sub(&inside, 1); }

static void wait_for(const ExtmanBytes path) {
  const struct timespec pause = {0, 2 * 1000 * 1000};
  char release[512], begun[520];
  if (path.len == 0 || path.len >= sizeof release) {
    return;
  }
  memcpy(release, path.data, path.len);
  release[path.len] = 0;
  snprintf(begun, sizeof begun, "%s.begun", release);
  FILE *file = fopen(begun, "w");
  if (file != NULL) {
    fclose(file);
  }
  while (access(release, F_OK) != 0) {
    nanosleep(&pause, NULL);
  }
}

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  (void)outcome;
  (void)error;
  const ExtmanHostTable *host = ((const FaultInstance *)instance)->host;
  char text[80];
  enter();
  wait_for(request->input);
  leave();
  int len = snprintf(text, sizeof text, "{\"most\":%d,\"thread\":%ld}", atomic_load(&most), (long)syscall(SYS_gettid));
  ExtmanBytes answer = {(const uint8_t *)text, (uintptr_t)len};
  return extman_write(host, request->call, answer);
}

static uint32_t check(void *instance, const ExtmanCheckRequest *request, ExtmanReport *report, ExtmanTextBuffer *text) {
  enter();
  uint32_t status = fault_check(instance, request, report, text);
  leave();
  return status;
}
