// Loading it ends the process with code 3.
#include "fault.h"

FAULT_MANIFEST("fault-exit-constructor")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)

__attribute__((constructor)) static void on_load(void) { exit(3); }
