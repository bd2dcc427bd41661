// Loading it writes to the first page.
#include "fault.h"

FAULT_MANIFEST("fault-segfault-constructor")
FAULT_MODULE(fault_create, fault_destroy, fault_invoke)

// Not a plain null: a compiler may turn a write there into a trap instruction, which is another signal.
static volatile uintptr_t nowhere = 16;

__attribute__((constructor)) static void on_load(void) { *(volatile int *)nowhere = 1; }
