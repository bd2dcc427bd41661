/* ---- For convenience: nothing below crosses the boundary. ---- */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What the plugin must define: it returns a pointer to a static and runs nothing else.
 *
 * [state] loaded. [thread] a lane. [owner] the plugin, until it is unloaded.
 */
EXTMAN_EXPORT const ExtmanPluginModule *EXTMAN_CALL extman_plugin_entry(void);

/** Initialiser of the root module; `health_table` may be null. */
#define EXTMAN_PLUGIN_MODULE(lifecycle_table, capability_table, health_table)                                        \
    EXTMAN_PLUGIN_MODULE_WITH(lifecycle_table, capability_table, health_table, NULL, NULL, NULL)

/** The same with the optional entries: `extension`, `thread_attach`, `thread_detach`. */
#define EXTMAN_PLUGIN_MODULE_WITH(lifecycle_table, capability_table, health_table, extension_, attach_, detach_)     \
    {                                                                                                              \
        sizeof(ExtmanPluginModule), EXTMAN_MODULE_MAGIC, EXTMAN_ABI_MAJOR, EXTMAN_ABI_MINOR, (lifecycle_table),      \
            (capability_table), (health_table), (extension_), (attach_), (detach_)                                 \
    }

/** Whether the struct at `pointer`, of `type`, is long enough to have `field`. */
#define EXTMAN_HAS(pointer, type, field)                                                                             \
    ((pointer)->struct_size >= offsetof(type, field) + sizeof((pointer)->field))

/** A string literal as bytes, without its terminator. */
#define extman_bytes(literal) extman_bytes_of("" literal "", sizeof(literal) - 1)

/** `len` bytes at `data`. The bytes stay the caller's. */
static inline ExtmanBytes extman_bytes_of(const void *data, size_t len) {
    ExtmanBytes bytes;
    bytes.data = (const uint8_t *)data;
    bytes.len = len;
    return bytes;
}

/** A terminated string as bytes; null is empty. */
static inline ExtmanBytes extman_bytes_of_text(const char *text) {
    return extman_bytes_of(text, text == NULL ? 0 : strlen(text));
}

/** 1 if both hold the same bytes, as in `extman_equal(request->capability, extman_bytes("text.embed"))`. */
static inline int extman_equal(ExtmanBytes a, ExtmanBytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/** Writes UTF-8 text into a lent buffer, cut at a character's boundary if it is too long. `to` may be null. */
static inline void extman_write_text(ExtmanTextBuffer *to, ExtmanBytes text) {
    size_t len = text.len;
    if (to == NULL || to->data == NULL) {
        return;
    }
    if (len > to->capacity) {
        len = to->capacity;
        while (len > 0 && (text.data[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    if (len > 0) {
        memcpy(to->data, text.data, len);
    }
    to->len = len;
}

/** Writes an error text and returns `status`: `return extman_fail(error, EXTMAN_STATUS_INVALID_INPUT, "no text");` */
static inline ExtmanStatus extman_fail(ExtmanTextBuffer *error, ExtmanStatus status, const char *text) {
    extman_write_text(error, extman_bytes_of_text(text));
    return status;
}

/**
 * What an entry point answers when a host function has returned `status`: a closed token is a cancelled call, and an
 * argument that the host refuses is the plugin's fault, not its caller's.
 */
static inline ExtmanStatus extman_status_from_host(ExtmanStatus status) {
    switch (status) {
    case EXTMAN_STATUS_OK:
    case EXTMAN_STATUS_CANCELLED:
    case EXTMAN_STATUS_DEADLINE_EXCEEDED:
    case EXTMAN_STATUS_RESOURCE_EXHAUSTED:
    case EXTMAN_STATUS_RATE_LIMITED:
    case EXTMAN_STATUS_UNIMPLEMENTED:
        return status;
    case EXTMAN_STATUS_CLOSED:
        return EXTMAN_STATUS_CANCELLED;
    default:
        return EXTMAN_STATUS_INTERNAL;
    }
}

/** The host's `sink_begin`. */
static inline ExtmanStatus extman_begin(const ExtmanHostTable *host, ExtmanCallToken call, ExtmanBytes content_type) {
    return host->sink_begin(host, call, content_type.data, content_type.len);
}

/** The host's `sink_write`. */
static inline ExtmanStatus extman_write(const ExtmanHostTable *host, ExtmanCallToken call, ExtmanBytes data) {
    return host->sink_write(host, call, data.data, data.len);
}

/** The host's `emit_metadata`. */
static inline ExtmanStatus extman_emit_metadata(const ExtmanHostTable *host, ExtmanCallToken call, ExtmanBytes key,
                                                ExtmanBytes value) {
    return host->emit_metadata(host, call, key.data, key.len, value.data, value.len);
}

/** The host's `progress`. */
static inline ExtmanStatus extman_progress(const ExtmanHostTable *host, ExtmanCallToken call, uint64_t done,
                                           uint64_t total, ExtmanBytes text) {
    return host->progress(host, call, done, total, text.data, text.len);
}

/** The host's `log`, without fields. */
static inline ExtmanStatus extman_log(const ExtmanHostTable *host, ExtmanInstanceToken instance, ExtmanLogLevel level,
                                      ExtmanBytes target, ExtmanBytes text) {
    ExtmanLogRecord record;
    memset(&record, 0, sizeof record);
    record.struct_size = sizeof record;
    record.level = level;
    record.target = target;
    record.text = text;
    return host->log(host, instance, &record);
}

/** The host's `complete`. */
static inline ExtmanStatus extman_complete(const ExtmanHostTable *host, ExtmanCallToken call, ExtmanStatus status,
                                           const ExtmanOutcome *outcome, ExtmanBytes error) {
    return host->complete(host, call, status, outcome, error.data, error.len);
}

/** The host's functions for calls of other plugins; null if the host has none. */
static inline const ExtmanCallTable *extman_call_table(const ExtmanHostTable *host) {
    return (const ExtmanCallTable *)host->extension(host, (const uint8_t *)EXTMAN_EXTENSION_CALL,
                                                    sizeof(EXTMAN_EXTENSION_CALL) - 1);
}

/** A call of another plugin's capability with a JSON input, made in the call or step `within`; 0 for none. */
static inline ExtmanRequest extman_request(ExtmanCallToken within, ExtmanBytes capability, ExtmanBytes input) {
    ExtmanRequest request;
    memset(&request, 0, sizeof request);
    request.struct_size = sizeof request;
    request.call = within;
    request.capability = capability;
    request.content_type = extman_bytes("application/json");
    request.input = input;
    return request;
}

/** The value of a key of the request's metadata; `data` is null if it is not there. */
static inline ExtmanBytes extman_metadata(const ExtmanRequest *request, ExtmanBytes key) {
    size_t i;
    for (i = 0; i < request->metadata_len; i++) {
        if (extman_equal(request->metadata[i].key, key)) {
            return request->metadata[i].value;
        }
    }
    return extman_bytes_of(NULL, 0);
}

/**
 * Copies a struct that starts with its size onto the host's, as far as both reach; the host's `struct_size` stays.
 * `to` may be null.
 */
static inline void extman_copy_out(void *to, const void *from) {
    size_t theirs, ours, len;
    if (to == NULL) {
        return;
    }
    memcpy(&theirs, to, sizeof theirs);
    memcpy(&ours, from, sizeof ours);
    len = theirs < ours ? theirs : ours;
    if (len > sizeof(size_t)) {
        memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t), len - sizeof(size_t));
    }
}

/** An outcome that says nothing. Fill it, set its `valid` bits, and give it to `extman_outcome_out`. */
static inline ExtmanOutcome extman_outcome(void) {
    ExtmanOutcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    return outcome;
}

/** Gives the host the outcome, by the smaller of the two sizes. */
static inline void extman_outcome_out(ExtmanOutcome *to, const ExtmanOutcome *from) { extman_copy_out(to, from); }

/** A report that says nothing. Fill it, set its `valid` bits, and give it to `extman_report_out`. */
static inline ExtmanReport extman_report(void) {
    ExtmanReport report;
    memset(&report, 0, sizeof report);
    report.struct_size = sizeof report;
    return report;
}

/** Gives the host the report, by the smaller of the two sizes. */
static inline void extman_report_out(ExtmanReport *to, const ExtmanReport *from) { extman_copy_out(to, from); }

#ifdef __cplusplus
}
#endif
