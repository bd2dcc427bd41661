/*
 * A host in miniature, linked with the sources of one plugin. It makes an instance, does one thing, destroys the instance.
 *
 *   driver invoke CAPABILITY       one call with the input from stdin; prints the status, the error text and the media
 *                                  type, a line each, then the output
 *   driver cancel CAPABILITY N     the same, cancelled from the Nth question on
 *   driver refuse CAPABILITY N     the same, with a sink that takes only N writes
 *   driver damage CAPABILITY       every prefix of the input, and the input with each byte changed in several ways; prints how
 *                                  many were served and how many were refused
 *   driver threads CAPABILITY      many calls at once; prints "same" if all gave the same output
 *   driver check KIND              prints the status and the health
 */
#include "extman_plugin.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 4
#define CALLS_A_THREAD 25

typedef struct {
    uint8_t *data;
    size_t len;
} Buffer;

/* One call; its address is the token. */
typedef struct {
    Buffer output;
    char content_type[64];
    char error[256];
    ExtmanStatus status;
    long questions_left;
    long writes_left;
} Call;

static void need(int condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "the driver found: %s\n", what);
        exit(2);
    }
}

static void append(Buffer *to, ExtmanBytes more) {
    to->data = realloc(to->data, to->len + more.len + 1);
    need(to->data != NULL, "no memory");
    if (more.len > 0) {
        memcpy(to->data + to->len, more.data, more.len);
    }
    to->len += more.len;
}

static Call *call_of(ExtmanCallToken token) { return (Call *)(uintptr_t)token; }

typedef const ExtmanHostTable Host;

static ExtmanStatus host_log(Host *host, ExtmanInstanceToken instance, const ExtmanLogRecord *record) {
    (void)host, (void)instance, (void)record;
    return EXTMAN_STATUS_OK;
}

static uint32_t host_log_enabled(Host *host, ExtmanInstanceToken instance, ExtmanLogLevel level) {
    (void)host, (void)instance, (void)level;
    return 1;
}

static uint32_t host_cancelled(Host *host, ExtmanCallToken token) {
    Call *call = call_of(token);
    (void)host;
    if (call->questions_left == 0) {
        return 1;
    }
    call->questions_left--;
    return 0;
}

static uint64_t host_deadline(Host *host, ExtmanCallToken token) {
    (void)host, (void)token;
    return EXTMAN_NO_DEADLINE;
}

static ExtmanStatus host_progress(Host *host, ExtmanCallToken token, uint64_t done, uint64_t total, const uint8_t *text,
                                  size_t text_len) {
    (void)host, (void)token, (void)done, (void)total, (void)text, (void)text_len;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_begin(Host *host, ExtmanCallToken token, const uint8_t *content_type, size_t len) {
    Call *call = call_of(token);
    (void)host;
    need(call->content_type[0] == 0 && call->output.len == 0, "sink_begin came twice or too late");
    need(len < sizeof call->content_type, "a media type that is too long");
    memcpy(call->content_type, content_type, len);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_write(Host *host, ExtmanCallToken token, const uint8_t *data, size_t len) {
    Call *call = call_of(token);
    (void)host;
    if (call->writes_left == 0) {
        return EXTMAN_STATUS_RESOURCE_EXHAUSTED;
    }
    call->writes_left--;
    append(&call->output, extman_bytes_of(data, len));
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_metadata(Host *host, ExtmanCallToken token, const uint8_t *key, size_t key_len,
                                  const uint8_t *value, size_t value_len) {
    (void)host, (void)token, (void)key, (void)key_len, (void)value, (void)value_len;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_check(Host *host, ExtmanCallToken token, const ExtmanCheck *check) {
    (void)host, (void)token, (void)check;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_health(Host *host, ExtmanInstanceToken instance, const ExtmanReport *report,
                                const uint8_t *text, size_t text_len) {
    (void)host, (void)instance, (void)report, (void)text, (void)text_len;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_complete(Host *host, ExtmanCallToken token, ExtmanStatus status, const ExtmanOutcome *outcome,
                                  const uint8_t *error, size_t error_len) {
    (void)host, (void)token, (void)status, (void)outcome, (void)error, (void)error_len;
    return EXTMAN_STATUS_CLOSED;
}

static const void *host_extension(Host *host, const uint8_t *id, size_t id_len) {
    (void)host, (void)id, (void)id_len;
    return NULL;
}

static const ExtmanHostTable host = {
    sizeof host, EXTMAN_ABI_MAJOR, EXTMAN_ABI_MINOR, host_log,      host_log_enabled, host_cancelled, host_deadline,
    host_progress, host_begin,     host_write,       host_metadata, host_check,       host_health,    host_complete,
    host_extension,
};

static const ExtmanPluginModule *plugin;
static ExtmanInstanceHandle instance;
static const char *capability;

/* The input is copied to a block of its very size, so that a sanitiser sees a read past its end. */
static Call invoke(ExtmanBytes input, long questions, long writes) {
    Call call = {.questions_left = questions, .writes_left = writes};
    uint8_t *exact = malloc(input.len);
    need(exact != NULL || input.len == 0, "no memory");
    if (input.len > 0) {
        memcpy(exact, input.data, input.len);
    }
    ExtmanTextBuffer error = {(uint8_t *)call.error, sizeof call.error - 1, 0};
    ExtmanOutcome outcome = extman_outcome();
    const ExtmanRequest request = {
        .struct_size = sizeof request,
        .call = (ExtmanCallToken)(uintptr_t)&call,
        .capability = extman_bytes_of_text(capability),
        .content_type = extman_bytes("application/json"),
        .input = extman_bytes_of(exact, input.len),
    };
    call.status = plugin->capability->invoke(instance, &request, &outcome, &error);
    call.error[error.len] = 0;
    free(exact);
    return call;
}

static int print(Call call) {
    printf("%u\n%s\n%s\n", call.status, call.error, call.content_type);
    if (call.output.len > 0) {
        fwrite(call.output.data, 1, call.output.len, stdout);
    }
    free(call.output.data);
    return 0;
}

static int damage(Buffer input) {
    static const uint8_t others[] = {0, ' ', '"', '\\', '{', '}', '[', ']', ',', ':', '0', 'u', 0x80, 0xED, 0xFF};
    unsigned served = 0, refused = 0;
    for (size_t i = 0; i < input.len; i++) {
        for (size_t way = 0; way <= sizeof others; way++) {
            const uint8_t was = input.data[i];
            const size_t len = way == 0 ? i : input.len;
            input.data[i] = way == 0 ? was : others[way - 1];
            Call call = invoke(extman_bytes_of(input.data, len), -1, -1);
            input.data[i] = was;
            need(call.status == EXTMAN_STATUS_OK || call.status == EXTMAN_STATUS_INVALID_INPUT, "an odd status");
            need((call.status == EXTMAN_STATUS_OK) == (call.error[0] == 0), "an error without a text");
            *(call.status == EXTMAN_STATUS_OK ? &served : &refused) += 1;
            free(call.output.data);
        }
    }
    printf("%u served, %u refused\n", served, refused);
    return 0;
}

static Buffer shared_input;
static Call expected;

static void *many_calls(void *nothing) {
    size_t same = 0;
    for (int i = 0; i < CALLS_A_THREAD; i++) {
        Call call = invoke(extman_bytes_of(shared_input.data, shared_input.len), -1, -1);
        same += call.status == expected.status && call.output.len == expected.output.len &&
                memcmp(call.output.data, expected.output.data, call.output.len) == 0;
        free(call.output.data);
    }
    return same == CALLS_A_THREAD ? nothing : NULL;
}

static int threads(Buffer input) {
    pthread_t thread[THREADS];
    int all = 1;
    shared_input = input;
    expected = invoke(extman_bytes_of(input.data, input.len), -1, -1);
    for (int i = 0; i < THREADS; i++) {
        need(pthread_create(&thread[i], NULL, many_calls, &all) == 0, "no thread");
    }
    for (int i = 0; i < THREADS; i++) {
        void *same;
        pthread_join(thread[i], &same);
        all = all && same != NULL;
    }
    free(expected.output.data);
    puts(all ? "same" : "different");
    return 0;
}

static int check(const char *kind) {
    ExtmanReport report = extman_report();
    ExtmanTextBuffer text = {NULL, 0, 0};
    const ExtmanCheckRequest request = {sizeof request, 0, (ExtmanCheckKind)atoi(kind), 0};
    const ExtmanStatus status = plugin->health->check(instance, &request, &report, &text);
    printf("%u %u\n", status, (report.valid & EXTMAN_REPORT_HEALTH) != 0 ? report.health : EXTMAN_HEALTH_UNKNOWN);
    return 0;
}

static int run(const char *what, Buffer input, long n) {
    const ExtmanBytes bytes = extman_bytes_of(input.data, input.len);
    if (strcmp(what, "invoke") == 0) {
        return print(invoke(bytes, -1, -1));
    } else if (strcmp(what, "cancel") == 0) {
        return print(invoke(bytes, n, -1));
    } else if (strcmp(what, "refuse") == 0) {
        return print(invoke(bytes, -1, n));
    } else if (strcmp(what, "damage") == 0) {
        return damage(input);
    }
    return strcmp(what, "threads") == 0 ? threads(input) : 2;
}

int main(int count, char **words) {
    char part[4096];
    Buffer input = {NULL, 0};
    need(count >= 3, "too few arguments");
    plugin = extman_plugin_entry();
    need(plugin->magic == EXTMAN_MODULE_MAGIC && plugin->abi_major == EXTMAN_ABI_MAJOR, "another root module");
    const ExtmanCreateRequest request = {
        .struct_size = sizeof request,
        .instance = 1,
        .call = 2,
        .name = extman_bytes_of_text("driver"),
        .config = extman_bytes_of_text("{}"),
    };
    const ExtmanStepRequest step = {sizeof step, 3};
    ExtmanTextBuffer error = {NULL, 0, 0};
    need(plugin->lifecycle->create(&host, &request, &instance, &error) == EXTMAN_STATUS_OK, "create failed");

    capability = words[2];
    int code;
    if (strcmp(words[1], "check") == 0) {
        code = check(words[2]);
    } else {
        for (size_t got; (got = fread(part, 1, sizeof part, stdin)) > 0;) {
            append(&input, extman_bytes_of(part, got));
        }
        code = run(words[1], input, count > 3 ? atol(words[3]) : -1);
    }
    need(plugin->lifecycle->destroy(instance, &step, &error) == EXTMAN_STATUS_OK, "destroy failed");
    free(input.data);
    return code;
}
