// No exception leaves extman::guarded. Prints ok, or says what went wrong.
#include "extman_plugin.h"
#include <cstdio>

static bool gives(ExtmanStatus wanted, const char *text, ExtmanStatus (*body)()) {
    uint8_t room[64];
    ExtmanTextBuffer error = {room, sizeof room, 0};
    const ExtmanStatus status = extman::guarded(&error, body);
    const std::string said(reinterpret_cast<const char *>(room), error.len);
    if (status != wanted || said != text) {
        std::printf("status %u, text \"%s\"; not %u, \"%s\"\n", status, said.c_str(), wanted, text);
        return false;
    }
    return true;
}

int main() {
    const bool all =
        gives(EXTMAN_STATUS_OK, "", [] { return ExtmanStatus(EXTMAN_STATUS_OK); }) &&
        gives(EXTMAN_STATUS_INTERNAL, "went wrong", []() -> ExtmanStatus { throw std::logic_error("went wrong"); }) &&
        gives(EXTMAN_STATUS_UNAVAILABLE, "no link",
              []() -> ExtmanStatus { throw extman::Error(EXTMAN_STATUS_UNAVAILABLE, "no link"); }) &&
        gives(EXTMAN_STATUS_INTERNAL, "an exception that is no std::exception", []() -> ExtmanStatus { throw 3; });
    if (!all) {
        return 1;
    }
    std::puts("ok");
    return 0;
}
