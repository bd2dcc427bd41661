// Loading it does not return until the release.
#include "fault.h"

FAULT_MANIFEST("fault-hang-constructor")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)

__attribute__((constructor)) static void on_load(void) { fault_wait_for_release(); }
