// Two manifests in one library.
#include "fault.h"

FAULT_MANIFEST("fault-two-frames")
FAULT_MANIFEST_AS(extman_manifest_too, "fault-two-frames-too")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)
