// The lifecycle table says that it is too small to hold destroy.
#include "fault.h"

FAULT_MANIFEST("fault-wrong-struct-size")

static const ExtmanLifecycleVtable lifecycle = {
    .struct_size = offsetof(ExtmanLifecycleVtable, destroy), .create = fault_create, .destroy = fault_destroy};
static const ExtmanCapabilityVtable capability = {sizeof(ExtmanCapabilityVtable), fault_invoke, NULL};

FAULT_MODULE_OF(EXTMAN_MODULE_MAGIC, EXTMAN_ABI_MAJOR, &lifecycle, &capability)
