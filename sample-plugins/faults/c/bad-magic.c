// The root does not start with the module's magic.
#include "fault.h"

FAULT_MANIFEST("fault-bad-magic")

static const ExtmanLifecycleVtable lifecycle = {
    .struct_size = sizeof(ExtmanLifecycleVtable), .create = fault_create, .destroy = fault_destroy};
static const ExtmanCapabilityVtable capability = {sizeof(ExtmanCapabilityVtable), fault_invoke, NULL};

FAULT_MODULE_OF(UINT64_C(0x0123456789abcdef), EXTMAN_ABI_MAJOR, &lifecycle, &capability)
