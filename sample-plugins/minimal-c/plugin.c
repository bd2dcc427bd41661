/* The smallest plugin: one capability that gives back what it is given. */
#include "extman_plugin.h"
#include <stdlib.h>

typedef struct {
    const ExtmanHostTable *host;
} Echo;

static ExtmanStatus EXTMAN_CALL create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, ExtmanInstanceHandle *handle,
                           ExtmanTextBuffer *error) {
    (void)request;
    Echo *echo = malloc(sizeof *echo);
    if (echo == NULL) {
        return extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    echo->host = host;
    *handle = echo;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL destroy(ExtmanInstanceHandle handle, const ExtmanStepRequest *request,
                                        ExtmanTextBuffer *error) {
    (void)request;
    (void)error;
    free(handle);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL invoke(ExtmanInstanceHandle handle, const ExtmanRequest *request, ExtmanOutcome *outcome,
                           ExtmanTextBuffer *error) {
    const Echo *echo = handle;
    (void)outcome;
    if (!extman_equal(request->capability, extman_bytes("bytes.echo"))) {
        return extman_fail(error, EXTMAN_STATUS_UNIMPLEMENTED, "this plugin has only bytes.echo");
    }
    ExtmanStatus status = extman_begin(echo->host, request->call, request->content_type);
    if (status == EXTMAN_STATUS_OK) {
        status = extman_write(echo->host, request->call, request->input);
    }
    return extman_status_from_host(status);
}

static const ExtmanLifecycleVtable lifecycle = {
    .struct_size = sizeof lifecycle,
    .create = create,
    .destroy = destroy,
};

static const ExtmanCapabilityVtable capability = {
    .struct_size = sizeof capability,
    .invoke = invoke,
};

static const ExtmanPluginModule module = EXTMAN_PLUGIN_MODULE(&lifecycle, &capability, NULL);

const ExtmanPluginModule *EXTMAN_CALL extman_plugin_entry(void) { return &module; }
