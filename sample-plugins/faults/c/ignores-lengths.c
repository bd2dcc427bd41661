// Fails every call with an error text that fills the buffer to its last byte, whatever character is cut in two there.
// With the input "beyond" it also says that it wrote more than there is room for.
#include "fault.h"

#include <string.h>

FAULT_MANIFEST("fault-ignores-lengths")

static uint32_t invoke(void *instance, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  static const uint8_t letter[3] = {0xe2, 0x82, 0xac};
  (void)instance;
  (void)outcome;
  for (uintptr_t i = 0; i < error->capacity; i++) {
    error->data[i] = letter[i % sizeof letter];
  }
  error->len = error->capacity;
  if (request->input.len == 6 && memcmp(request->input.data, "beyond", 6) == 0) {
    error->len += 4096;
  }
  return EXTMAN_STATUS_INTERNAL;
}

FAULT_MODULE(fault_create, fault_destroy, invoke)
