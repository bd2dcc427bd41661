// Unloading it does not return until the release; nor does the end of a process that has it loaded.
#include "fault.h"

FAULT_MANIFEST("fault-hang-finaliser")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)

__attribute__((destructor)) static void on_unload(void) { fault_wait_for_release(); }
