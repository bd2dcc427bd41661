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

static ExtmanStatus host_log(ExtmanInstanceToken instance, ExtmanLogLevel level, ExtmanBytes target, ExtmanBytes text,
                             ExtmanBytes fields) {
    (void)instance, (void)level, (void)target, (void)text, (void)fields;
    return EXTMAN_STATUS_OK;
}

static uint32_t host_cancelled(ExtmanCallToken token) {
    Call *call = call_of(token);
    if (call->questions_left == 0) {
        return 1;
    }
    call->questions_left--;
    return 0;
}

static uint64_t host_deadline(ExtmanCallToken token) {
    (void)token;
    return EXTMAN_NO_DEADLINE;
}

static ExtmanStatus host_begin(ExtmanCallToken token, ExtmanBytes content_type) {
    Call *call = call_of(token);
    need(call->content_type[0] == 0 && call->output.len == 0, "sink_begin came twice or too late");
    need(content_type.len < sizeof call->content_type, "a media type that is too long");
    memcpy(call->content_type, content_type.data, content_type.len);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_write(ExtmanCallToken token, ExtmanBytes data) {
    Call *call = call_of(token);
    if (call->writes_left == 0) {
        return EXTMAN_STATUS_EXHAUSTED;
    }
    call->writes_left--;
    append(&call->output, data);
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_check(ExtmanProbeToken probe, const ExtmanCheck *check) {
    (void)probe, (void)check;
    return EXTMAN_STATUS_OK;
}

static ExtmanStatus host_health(ExtmanInstanceToken instance, const ExtmanReport *report, ExtmanBytes text) {
    (void)instance, (void)report, (void)text;
    return EXTMAN_STATUS_OK;
}

static const void *host_extension(ExtmanInstanceToken instance, ExtmanBytes id) {
    (void)instance, (void)id;
    return NULL;
}

static const ExtmanHostTable host = {
    sizeof host, EXTMAN_ABI_MAJOR, EXTMAN_ABI_MINOR, host_log,    host_cancelled, host_deadline,
    host_begin,  host_write,       host_check,       host_health, host_extension,
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
        sizeof request, 1, extman_bytes_of_text("driver"), extman_bytes_of_text("{}"),
    };
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
    plugin->lifecycle->destroy(instance);
    free(input.data);
    return code;
}
