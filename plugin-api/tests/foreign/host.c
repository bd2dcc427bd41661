/*
 * A host in miniature that calls every entry of a plugin once and writes down what it sees. The plugin is whatever made the
 * module: an interpreter's callbacks, or a library's functions.
 */
#include "extman_plugin.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { CREATE = 1, START, INVOKE, UNKNOWN, CANCELLED, CHECK, CONFIGURE, ASYNC, ASYNC_CANCELLED, DRAIN, SNAPSHOT, STOP, DESTROY, RESTORE };

static char said[16384];
static size_t said_len;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t completed = PTHREAD_COND_INITIALIZER;
static ExtmanCallToken completed_call;
static ExtmanStatus completed_status;
static char state[256];
static size_t state_len;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(said + said_len, sizeof said - said_len, format, arguments);
    va_end(arguments);
    said_len += (size_t)len;
}

#define TEXT(bytes) (int)(bytes).len, (const char *)(bytes).data

static int is_ours(const ExtmanHostTable *host);

static ExtmanStatus EXTMAN_CALL host_log(const ExtmanHostTable *host, ExtmanInstanceToken instance,
                                         const ExtmanLogRecord *record) {
    say("log %d %u %.*s: %.*s\n", is_ours(host) && instance == 77, record->level, TEXT(record->target), TEXT(record->text));
    return EXTMAN_STATUS_OK;
}

static uint32_t EXTMAN_CALL host_log_enabled(const ExtmanHostTable *host, ExtmanInstanceToken instance,
                                             ExtmanLogLevel level) {
    return is_ours(host) && instance == 77 && level <= EXTMAN_LOG_INFO;
}

static uint32_t EXTMAN_CALL host_cancelled(const ExtmanHostTable *host, ExtmanCallToken call) {
    return !is_ours(host) || call == CANCELLED;
}

static uint64_t EXTMAN_CALL host_deadline(const ExtmanHostTable *host, ExtmanCallToken call) {
    return is_ours(host) && call == START ? 5000 : EXTMAN_NO_DEADLINE;
}

static ExtmanStatus EXTMAN_CALL host_progress(const ExtmanHostTable *host, ExtmanCallToken call, uint64_t done,
                                              uint64_t total, const uint8_t *text, size_t text_len) {
    say("progress %d of call %d: %d of %d, %.*s\n", is_ours(host), (int)call, (int)done, (int)total, (int)text_len, (const char *)text);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL host_begin(const ExtmanHostTable *host, ExtmanCallToken call, const uint8_t *type,
                                           size_t len) {
    say("begin %d for call %d: %.*s\n", is_ours(host), (int)call, (int)len, (const char *)type);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL host_write(const ExtmanHostTable *host, ExtmanCallToken call, const uint8_t *data,
                                           size_t len) {
    say("write %d for call %d: %.*s\n", is_ours(host), (int)call, (int)len, (const char *)data);
    if (call == SNAPSHOT && len < sizeof state) {
        memcpy(state, data, len);
        state_len = len;
    }
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL host_metadata(const ExtmanHostTable *host, ExtmanCallToken call, const uint8_t *key,
                                              size_t key_len, const uint8_t *value, size_t value_len) {
    say("metadata %d for call %d: %.*s=%.*s\n", is_ours(host), (int)call, (int)key_len, (const char *)key, (int)value_len,
        (const char *)value);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL host_check(const ExtmanHostTable *host, ExtmanCallToken call, const ExtmanCheck *check) {
    say("part %d for call %d: %.*s %u %.1f %d\n", is_ours(host), (int)call, TEXT(check->name), check->health, check->value,
        check->valid == (EXTMAN_CHECK_VALID_DURATION | EXTMAN_CHECK_VALID_VALUE) && check->duration_ns == 1500);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL host_health(const ExtmanHostTable *host, ExtmanInstanceToken instance,
                                            const ExtmanReport *report, const uint8_t *text, size_t text_len) {
    say("health %d: %u %.*s\n", is_ours(host) && instance == 77, report->health, (int)text_len, (const char *)text);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus EXTMAN_CALL host_complete(const ExtmanHostTable *host, ExtmanCallToken call, ExtmanStatus status,
                                              const ExtmanOutcome *outcome, const uint8_t *error, size_t error_len) {
    (void)error;
    (void)error_len;
    pthread_mutex_lock(&lock);
    const int is_first = is_ours(host) && completed_call != call;
    if (is_first) {
        completed_call = call;
        completed_status = status;
        if (outcome != NULL && (outcome->valid & EXTMAN_OUTCOME_TOKENS_OUT) != 0) {
            say("used by call %d: %d\n", (int)call, (int)outcome->tokens_out);
        }
    }
    pthread_cond_signal(&completed);
    pthread_mutex_unlock(&lock);
    return is_first ? EXTMAN_STATUS_OK : EXTMAN_STATUS_CLOSED;
}

static const void *EXTMAN_CALL host_extension(const ExtmanHostTable *host, const uint8_t *id, size_t id_len) {
    say("extension %d: %.*s\n", is_ours(host), (int)id_len, (const char *)id);
    return NULL;
}

static const ExtmanHostTable table = {
    sizeof table,  EXTMAN_ABI_MAJOR, EXTMAN_ABI_MINOR, host_log,    host_log_enabled, host_cancelled, host_deadline, host_progress,
    host_begin,    host_write,       host_metadata,    host_check,  host_health,      host_complete,  host_extension,
};

static int is_ours(const ExtmanHostTable *host) { return host == &table; }

static uint8_t room[256];
static ExtmanTextBuffer error;

static ExtmanTextBuffer *lent(void) {
    error.data = room;
    error.capacity = sizeof room;
    error.len = 0;
    return &error;
}

static ExtmanStatus told(const char *entry, ExtmanStatus status) {
    say("%s: %u%s%.*s\n", entry, status, error.len > 0 ? " " : "", TEXT(error));
    return status;
}

static ExtmanStatus wait_for(ExtmanCallToken call) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    pthread_mutex_lock(&lock);
    while (completed_call != call && pthread_cond_timedwait(&completed, &lock, &limit) == 0) {
    }
    const ExtmanStatus status = completed_call == call ? completed_status : 9999;
    pthread_mutex_unlock(&lock);
    return status;
}

static ExtmanRequest request_of(ExtmanCallToken call, const char *capability) {
    static const ExtmanMetadata metadata[1] = {{{(const uint8_t *)"tenant", 6}, {(const uint8_t *)"t1", 2}}};
    static const ExtmanInputPart parts[1] = {
        {{(const uint8_t *)"picture", 7}, {(const uint8_t *)"image/png", 9}, {(const uint8_t *)"png!", 4}}};
    ExtmanRequest request;
    memset(&request, 0, sizeof request);
    request.struct_size = sizeof request;
    request.call = call;
    request.capability = extman_bytes_of_text(capability);
    request.capability_version = extman_bytes("1.2.0");
    request.content_type = extman_bytes("text/plain");
    request.accept = extman_bytes("text/*");
    request.input = extman_bytes("hello");
    request.metadata = metadata;
    request.metadata_len = 1;
    request.parts = parts;
    request.parts_len = 1;
    request.flags = EXTMAN_REQUEST_STREAM;
    return request;
}

static void invoke(const ExtmanPluginModule *module, ExtmanInstanceHandle handle, ExtmanCallToken call,
                   const char *capability) {
    const ExtmanRequest request = request_of(call, capability);
    ExtmanOutcome outcome = extman_outcome();
    told("invoke", module->capability->invoke(handle, &request, &outcome, lent()));
    say("outcome %d: retryable %u, after %d ms, %d in, %d out\n", (int)outcome.valid, outcome.retryable,
        (int)outcome.retry_after_ms, (int)outcome.tokens_in, (int)outcome.tokens_out);
}

static void submit(const ExtmanPluginModule *module, ExtmanInstanceHandle handle, ExtmanCallToken call) {
    const ExtmanAsyncVtable *async =
        module->extension((const uint8_t *)EXTMAN_EXTENSION_ASYNC, sizeof EXTMAN_EXTENSION_ASYNC - 1);
    const ExtmanRequest request = request_of(call, "text.wait");
    ExtmanOutcome outcome = extman_outcome();
    const ExtmanStatus status = async->submit(handle, &request, &outcome, lent());
    if (call == ASYNC_CANCELLED) {
        module->capability->cancel(handle, call);
    }
    const ExtmanStatus ended = wait_for(call);
    told("submit", status);
    say("completed: %u\n", ended);
}

static ExtmanInstanceHandle create(const ExtmanPluginModule *module) {
    ExtmanCreateRequest request;
    ExtmanInstanceHandle handle = NULL;
    memset(&request, 0, sizeof request);
    request.struct_size = sizeof request;
    request.instance = 77;
    request.call = CREATE;
    request.name = extman_bytes("first");
    request.config = extman_bytes("{\"a\":1}");
    request.data_dir = extman_bytes("/data");
    request.cache_dir = extman_bytes("/cache");
    request.resource_dir = extman_bytes("/resources");
    told("create", module->lifecycle->create(&table, &request, &handle, lent()));
    return handle;
}

static void use(const ExtmanPluginModule *module) {
    const ExtmanLifecycleVtable *lifecycle = module->lifecycle;
    ExtmanStepRequest step = {sizeof step, START};
    ExtmanConfigureRequest configure = {sizeof configure, CONFIGURE, extman_bytes("{\"a\":2}")};
    ExtmanCheckRequest check = {sizeof check, CHECK, EXTMAN_CHECK_READINESS, 0};
    ExtmanSnapshot snapshot = {sizeof snapshot, 0, 0};
    ExtmanReport report = extman_report();
    ExtmanInstanceHandle handle = create(module);
    told("start", lifecycle->start(handle, &step, lent()));
    told("check", module->health->check(handle, &check, &report, lent()));
    say("report: %u, %d waiting\n", report.health, (int)report.queue_depth);
    invoke(module, handle, INVOKE, "text.shout");
    invoke(module, handle, UNKNOWN, "text.other");
    invoke(module, handle, CANCELLED, "text.shout");
    told("configure", lifecycle->configure(handle, &configure, lent()));
    submit(module, handle, ASYNC);
    submit(module, handle, ASYNC_CANCELLED);
    step.call = DRAIN;
    told("drain", lifecycle->drain(handle, &step, lent()));
    step.call = SNAPSHOT;
    told("snapshot", lifecycle->snapshot(handle, &step, &snapshot, lent()));
    step.call = STOP;
    told("stop", lifecycle->stop(handle, &step, lent()));
    step.call = DESTROY;
    told("destroy", lifecycle->destroy(handle, &step, lent()));
    handle = create(module);
    const ExtmanRestoreRequest restore = {sizeof restore, RESTORE, extman_bytes("1.0.0"), extman_bytes_of(state, state_len),
                                          snapshot.format, 0};
    told("restore", lifecycle->restore(handle, &restore, lent()));
    told("destroy", lifecycle->destroy(handle, &step, lent()));
}

/* Calls every entry of the module; what was seen, as text. */
EXTMAN_EXPORT const char *drive(const ExtmanPluginModule *module);
const char *drive(const ExtmanPluginModule *module) {
    say("module %d, ABI %u.%u\n", module->magic == EXTMAN_MODULE_MAGIC && module->struct_size == sizeof *module, module->abi_major,
        module->abi_minor);
    say("attach: %u\n", module->thread_attach(&table));
    say("unknown extension: %d\n", module->extension((const uint8_t *)"x", 1) == NULL);
    use(module);
    module->thread_detach(&table);
    return said;
}
