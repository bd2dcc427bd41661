// A plugin in all but its manifest.
#include "fault.h"

FAULT_MODULE(fault_create, fault_destroy, fault_invoke)
