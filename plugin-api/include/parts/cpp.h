#if defined(__cplusplus) && (defined(__cpp_exceptions) || defined(_CPPUNWIND))

#include <exception>
#include <stdexcept>
#include <string>

namespace extman {

/** Throw it inside `guarded` to answer with a status of your choice. */
class Error : public std::runtime_error {
public:
    Error(ExtmanStatus status, const std::string &text) : std::runtime_error(text), status_(status) {}
    ExtmanStatus status() const noexcept { return status_; }

private:
    ExtmanStatus status_;
};

/**
 * Runs `body`, which returns a status, and lets no exception out: an extman::Error becomes its status, all else
 * EXTMAN_STATUS_INTERNAL, with what() in the lent buffer. Each entry point is one call of it:
 *
 *     ExtmanStatus invoke(ExtmanInstanceHandle handle, const ExtmanRequest *request, ExtmanOutcome *outcome,
 *                         ExtmanTextBuffer *error) {
 *         return extman::guarded(error, [&] { return static_cast<Plugin *>(handle)->invoke(*request); });
 *     }
 */
template <class Body> ExtmanStatus guarded(ExtmanTextBuffer *error, Body &&body) noexcept {
    try {
        return body();
    } catch (const Error &thrown) {
        return extman_fail(error, thrown.status(), thrown.what());
    } catch (const std::exception &thrown) {
        return extman_fail(error, EXTMAN_STATUS_INTERNAL, thrown.what());
    } catch (...) {
        return extman_fail(error, EXTMAN_STATUS_INTERNAL, "an exception that is no std::exception");
    }
}

} // namespace extman

#endif
