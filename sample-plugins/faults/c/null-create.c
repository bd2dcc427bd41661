// The lifecycle table has no create.
#include "fault.h"

FAULT_MANIFEST("fault-null-create")
FAULT_MODULE(NULL, fault_destroy, fault_invoke)
