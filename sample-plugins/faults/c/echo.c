// No fault: the smallest good plugin in C.
#include "fault.h"

FAULT_MANIFEST("fault-echo")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)
