// Linked with -z nodelete: the library is never unloaded.
#include "fault.h"

FAULT_MANIFEST("fault-nodelete")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)
