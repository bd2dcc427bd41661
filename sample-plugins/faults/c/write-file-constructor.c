// Loading it makes the file that EXTMAN_FAULT_FILE names: where there is no such file, nothing of it ran.
#include "fault.h"

FAULT_MANIFEST("fault-write-file-constructor")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)

__attribute__((constructor)) static void on_load(void) { fault_touch(); }
