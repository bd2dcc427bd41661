// The smallest plugin in C++17: one capability that gives back what it is given. No exception leaves it.
#include "extman_plugin.h"
#include <memory>

namespace {

class Echo {
public:
    explicit Echo(const ExtmanHostTable *host) : host_(host) {}

    ExtmanStatus invoke(const ExtmanRequest &request) const {
        if (!extman_equal(request.capability, extman_bytes("bytes.echo"))) {
            throw extman::Error(EXTMAN_STATUS_UNIMPLEMENTED, "this plugin has only bytes.echo");
        }
        ExtmanStatus status = extman_begin(host_, request.call, request.content_type);
        if (status == EXTMAN_STATUS_OK) {
            status = extman_write(host_, request.call, request.input);
        }
        return extman_status_from_host(status);
    }

private:
    const ExtmanHostTable *host_;
};

ExtmanStatus EXTMAN_CALL create(const ExtmanHostTable *host, const ExtmanCreateRequest *, ExtmanInstanceHandle *handle,
                                ExtmanTextBuffer *error) {
    return extman::guarded(error, [&] {
        *handle = std::make_unique<Echo>(host).release();
        return EXTMAN_STATUS_OK;
    });
}

ExtmanStatus EXTMAN_CALL destroy(ExtmanInstanceHandle handle, const ExtmanStepRequest *, ExtmanTextBuffer *error) {
    return extman::guarded(error, [&] {
        delete static_cast<Echo *>(handle);
        return EXTMAN_STATUS_OK;
    });
}

ExtmanStatus EXTMAN_CALL invoke(ExtmanInstanceHandle handle, const ExtmanRequest *request, ExtmanOutcome *,
                                ExtmanTextBuffer *error) {
    return extman::guarded(error, [&] { return static_cast<const Echo *>(handle)->invoke(*request); });
}

constexpr ExtmanLifecycleVtable lifecycle{sizeof lifecycle, create,  nullptr, nullptr, nullptr,
                                          nullptr,          nullptr, nullptr, destroy};

constexpr ExtmanCapabilityVtable capability{sizeof capability, invoke, nullptr};

const ExtmanPluginModule module = EXTMAN_PLUGIN_MODULE(&lifecycle, &capability, nullptr);

} // namespace

const ExtmanPluginModule *EXTMAN_CALL extman_plugin_entry(void) { return &module; }
