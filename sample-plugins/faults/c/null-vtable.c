// The root has no lifecycle table.
#include "fault.h"

FAULT_MANIFEST("fault-null-vtable")

static const ExtmanCapabilityVtable capability = {sizeof(ExtmanCapabilityVtable), fault_invoke, NULL};

FAULT_MODULE_OF(EXTMAN_MODULE_MAGIC, EXTMAN_ABI_MAJOR, NULL, &capability)
