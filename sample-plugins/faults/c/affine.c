// All calls and checks on one thread, as its manifest asks; overlap.h says what it answers.
#define FAULT_TOML_MORE "\n[threads]\nmodel = \"affine\"\n"
#define FAULT_CHECK check
#include "overlap.h"

FAULT_MANIFEST("fault-affine")
FAULT_MODULE(fault_create, fault_destroy, invoke)
