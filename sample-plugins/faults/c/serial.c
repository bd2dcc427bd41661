// One call or check at a time, as its manifest asks; overlap.h says what it answers.
#define FAULT_TOML_MORE "\n[threads]\nmodel = \"serial\"\n"
#define FAULT_CHECK check
#include "overlap.h"

FAULT_MANIFEST("fault-serial")
FAULT_MODULE(fault_create, fault_destroy, invoke)
