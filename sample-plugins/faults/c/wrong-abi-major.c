// The root says ABI major 2, the manifest's frame says 1.
#include "fault.h"

FAULT_MANIFEST("fault-wrong-abi-major")

static const ExtmanLifecycleVtable lifecycle = {
    .struct_size = sizeof(ExtmanLifecycleVtable), .create = fault_create, .destroy = fault_destroy};
static const ExtmanCapabilityVtable capability = {sizeof(ExtmanCapabilityVtable), fault_invoke, NULL};

FAULT_MODULE_OF(EXTMAN_MODULE_MAGIC, 2, &lifecycle, &capability)
