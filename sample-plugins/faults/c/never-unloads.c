// Nothing wrong: its manifest says that it is never to be unloaded.
#define FAULT_TOML_PLUGIN "unload = \"never\"\n"
#include "fault.h"

FAULT_MANIFEST("fault-never-unloads")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)
