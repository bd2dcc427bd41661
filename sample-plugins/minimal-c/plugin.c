/* The smallest plugin: one capability that gives back what it is given. */
#include "extman_plugin.h"
#include <stdlib.h>

typedef struct {
    const ExtmanHostTable *host;
} Echo;

static ExtmanStatus create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, ExtmanInstanceHandle *instance,
                           ExtmanTextBuffer *error) {
    (void)request;
    Echo *echo = malloc(sizeof *echo);
    if (echo == NULL) {
        return extman_fail(error, EXTMAN_STATUS_EXHAUSTED, "out of memory");
    }
    echo->host = host;
    *instance = echo;
    return EXTMAN_STATUS_OK;
}

static void destroy(ExtmanInstanceHandle instance) { free(instance); }

static ExtmanStatus invoke(ExtmanInstanceHandle instance, const ExtmanRequest *request, ExtmanOutcome *outcome,
                           ExtmanTextBuffer *error) {
    const Echo *echo = instance;
    (void)outcome;
    if (!extman_equal(request->capability, extman_bytes("bytes.echo"))) {
        return extman_fail(error, EXTMAN_STATUS_UNSUPPORTED, "this plugin has only bytes.echo");
    }
    ExtmanStatus status = echo->host->sink_begin(request->call, request->content_type);
    if (status == EXTMAN_STATUS_OK) {
        status = echo->host->sink_write(request->call, request->input);
    }
    return extman_of_host(status);
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

const ExtmanPluginModule *extman_plugin_entry(void) { return &module; }
