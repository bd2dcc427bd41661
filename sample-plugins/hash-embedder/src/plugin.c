/*
 * The plugin `hash-embedder`: the boundary, and how an answer is written. Calls may come from any number of threads: an
 * instance is never changed after it is made, and each call has memory of its own.
 */
#include "embed.h"
#include "request.h"
#include <stdio.h>
#include <stdlib.h>

#define MODEL "hash-embedder-384"
#define TEXT_OF_NUMBER(x) #x
#define TEXT_OF(x) TEXT_OF_NUMBER(x)
/* Longest float in %.9g: sign, nine digits, point, e, sign and two digits of the exponent. */
#define FLOAT_BYTES_MAX 15

typedef struct {
    const ExtmanHostTable *host;
} Embedder;

/* A float that reads back exactly. printf writes the decimal point of the process's locale; JSON has a dot. */
static size_t write_float(char *to, float value) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)value);
    size_t len = 0;
    for (const char *c = text; *c != 0; c++) {
        if (strchr("0123456789+-e", *c) != NULL) {
            to[len++] = *c;
        } else if (len > 0 && to[len - 1] != '.') {
            to[len++] = '.';
        }
    }
    return len;
}

static ExtmanStatus write_vector(const ExtmanHostTable *host, ExtmanCallToken call, int first,
                                 const float vector[DIMENSIONS]) {
    char text[DIMENSIONS * (FLOAT_BYTES_MAX + 1) + 3];
    size_t len = 0;
    if (!first) {
        text[len++] = ',';
    }
    for (size_t i = 0; i < DIMENSIONS; i++) {
        text[len++] = i == 0 ? '[' : ',';
        len += write_float(text + len, vector[i]);
    }
    text[len++] = ']';
    return extman_write(host, call, extman_bytes_of(text, len));
}

static ExtmanStatus answer(const ExtmanHostTable *host, ExtmanCallToken call, const TextsRequest *request,
                           ExtmanTextBuffer *error) {
    float vector[DIMENSIONS];
    ExtmanStatus status = extman_begin(host, call, extman_bytes("application/json"));
    if (status == EXTMAN_STATUS_OK) {
        status = extman_write(host, call, extman_bytes("{\"model\":\"" MODEL "\",\"dimensions\":" TEXT_OF(DIMENSIONS)
                                                     ",\"embeddings\":["));
    }
    for (size_t i = 0; i < request->count && status == EXTMAN_STATUS_OK; i++) {
        if (host->cancelled(host, call) != 0) {
            return extman_fail(error, EXTMAN_STATUS_CANCELLED, "cancelled");
        }
        status = embed(request->texts[i], vector);
        if (status != EXTMAN_STATUS_OK) {
            return extman_fail(error, status, "out of memory");
        }
        status = write_vector(host, call, i == 0, vector);
    }
    if (status == EXTMAN_STATUS_OK) {
        status = extman_write(host, call, extman_bytes("]}"));
    }
    if (status != EXTMAN_STATUS_OK) {
        return extman_fail(error, extman_status_from_host(status), "the host takes no more output");
    }
    return EXTMAN_STATUS_OK;
}

/* ---- The boundary ---- */

static ExtmanStatus EXTMAN_CALL create(const ExtmanHostTable *host, const ExtmanCreateRequest *request,
                           ExtmanInstanceHandle *handle, ExtmanTextBuffer *error) {
    (void)request;
    if (host->abi_major != EXTMAN_ABI_MAJOR) {
        return extman_fail(error, EXTMAN_STATUS_UNIMPLEMENTED, "the host has another major version of the ABI");
    }
    Embedder *embedder = malloc(sizeof *embedder);
    if (embedder == NULL) {
        return extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    embedder->host = host;
    *handle = embedder;
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
    const Embedder *embedder = handle;
    ExtmanStatus status;
    (void)outcome;
    if (!extman_equal(request->capability, extman_bytes("text.embed"))) {
        return extman_fail(error, EXTMAN_STATUS_UNIMPLEMENTED, "this plugin has only text.embed");
    }
    TextsRequest *texts = request_read(request->input, &status, error);
    if (texts == NULL) {
        return status;
    }
    status = answer(embedder->host, request->call, texts, error);
    free(texts);
    return status;
}

/* Embeds texts of which it is known how their vectors are to each other; what is wrong with them, or NULL. */
static const char *embeds_wrongly(void) {
    float known[DIMENSIONS];
    float alike[DIMENSIONS];
    float other[DIMENSIONS];
    if (embed(extman_bytes("how well is it"), known) != EXTMAN_STATUS_OK ||
        embed(extman_bytes("  How WELL\tis it "), alike) != EXTMAN_STATUS_OK ||
        embed(extman_bytes("something else"), other) != EXTMAN_STATUS_OK) {
        return "out of memory";
    }
    double length = 0;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        length += (double)known[i] * (double)known[i];
    }
    if (length < 0.999 || length > 1.001) {
        return "the vector of a known text has another length than 1";
    }
    if (memcmp(known, alike, sizeof known) != 0) {
        return "a known text has another vector when it is written with other letters and spaces";
    }
    if (memcmp(known, other, sizeof known) == 0) {
        return "two texts that share no word have the same vector";
    }
    return NULL;
}

static ExtmanStatus EXTMAN_CALL check(ExtmanInstanceHandle handle, const ExtmanCheckRequest *request, ExtmanReport *report,
                          ExtmanTextBuffer *text) {
    ExtmanReport said = extman_report();
    const char *wrong;
    (void)handle;
    switch (request->kind) {
    case EXTMAN_CHECK_LIVENESS:
    case EXTMAN_CHECK_READINESS:
        said.health = EXTMAN_HEALTH_UP;
        break;
    case EXTMAN_CHECK_DEEP:
        wrong = embeds_wrongly();
        said.health = wrong == NULL ? EXTMAN_HEALTH_UP : EXTMAN_HEALTH_DOWN;
        if (wrong != NULL) {
            extman_write_text(text, extman_bytes_of(wrong, strlen(wrong)));
        }
        break;
    default:
        return EXTMAN_STATUS_UNIMPLEMENTED;
    }
    said.valid = EXTMAN_REPORT_HEALTH;
    extman_report_out(report, &said);
    return EXTMAN_STATUS_OK;
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

static const ExtmanHealthVtable health = {
    .struct_size = sizeof health,
    .check = check,
};

static const ExtmanPluginModule module = EXTMAN_PLUGIN_MODULE(&lifecycle, &capability, &health);

const ExtmanPluginModule *EXTMAN_CALL extman_plugin_entry(void) { return &module; }
