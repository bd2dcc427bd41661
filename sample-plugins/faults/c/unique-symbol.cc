// A symbol that the loader keeps one copy of for the whole process (STB_GNU_UNIQUE): the library is never unloaded.
#include "fault.h"

template <typename T> struct Counter {
  static int value;
};
template <typename T> int Counter<T>::value = 0;

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **instance,
                       ExtmanTextBuffer *error) {
  Counter<int>::value++;
  return fault_create(host, request, instance, error);
}

FAULT_MANIFEST("fault-unique-symbol")
FAULT_MODULE(create, fault_destroy, fault_invoke)
