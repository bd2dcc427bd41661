// Creating an instance installs a handler for SIGUSR2 that is never taken back.
#include "fault.h"

#include <signal.h>
#include <string.h>

FAULT_MANIFEST("fault-signal-handler")

static volatile sig_atomic_t seen;

static void on_signal(int number) {
  (void)number;
  seen = 1;
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  if (sigaction(SIGUSR2, &action, NULL) != 0) {
    return EXTMAN_STATUS_INTERNAL;
  }
  return fault_create(host, request, instance, error);
}

FAULT_MODULE(create, fault_destroy, fault_invoke)
