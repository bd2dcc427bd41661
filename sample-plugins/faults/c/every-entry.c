// A plugin that has every entry of the ABI. Each entry fails where its thread was not attached. `c.echo` tells what was counted and
// says the caller's `tenant` beside it; calls of `c.wait` hold no thread and end when one comes whose input is "release", or by
// `cancel`, which waits until there is a file of the name that the configuration has under `hold`; so does a submitted "stay" once it has
// completed its own call. `destroy` says that something is left.
#define FAULT_TOML_MORE "\n[[capability]]\nname = \"c.wait\"\nasync = true\n"
#include "fault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

FAULT_MANIFEST("fault-every-entry")

#define WAITING_MAX 20000

static _Thread_local int attached;
static atomic_int attaches, detaches, cancels, late;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ExtmanCallToken waiting[WAITING_MAX];
static size_t waiting_len;

typedef struct {
  const ExtmanHostTable *host;
  char config[128];
} Instance;

static uint32_t attach(const ExtmanHostTable *host) {
  attached = host != NULL;
  attaches++;
  return EXTMAN_STATUS_OK;
}

static void detach(const ExtmanHostTable *host) {
  attached = host == NULL;
  detaches++;
}

static void keep(Instance *instance, ExtmanBytes config) {
  snprintf(instance->config, sizeof instance->config, "%.*s", (int)config.len, (const char *)config.data);
}

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **handle,
                       ExtmanTextBuffer *error) {
  Instance *made = calloc(1, sizeof *made);
  if (!attached || made == NULL || request->resource_dir.len == 0 || host->deadline_ns(host, request->call) == 0) {
    free(made);
    return extman_fail(error, EXTMAN_STATUS_INTERNAL, "not attached, no folder, or no time");
  }
  made->host = host;
  keep(made, request->config);
  *handle = made;
  return EXTMAN_STATUS_OK;
}

static uint32_t start(void *handle, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
  const ExtmanHostTable *host = ((Instance *)handle)->host;
  if (!attached || host->cancelled(host, request->call)) {
    return extman_fail(error, EXTMAN_STATUS_INTERNAL, "not attached, or cancelled");
  }
  return extman_progress(host, request->call, 1, 2, extman_bytes("half way"));
}

static uint32_t configure(void *handle, const ExtmanConfigureRequest *request, ExtmanTextBuffer *error) {
  if (!attached || request->config.len > 100) {
    return extman_fail(error, EXTMAN_STATUS_CONFIGURATION, "too long");
  }
  keep(handle, request->config);
  return EXTMAN_STATUS_OK;
}

static uint32_t step(void *handle, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
  (void)handle;
  (void)request;
  return attached ? EXTMAN_STATUS_OK : extman_fail(error, EXTMAN_STATUS_INTERNAL, "not attached");
}

static uint32_t snapshot(void *handle, const ExtmanStepRequest *request, ExtmanSnapshot *to, ExtmanTextBuffer *error) {
  const Instance *instance = handle;
  const ExtmanSnapshot said = {sizeof said, 7, 0};
  (void)error;
  extman_copy_out(to, &said);
  return extman_write(instance->host, request->call, extman_bytes_of_text(instance->config));
}

static uint32_t restore(void *handle, const ExtmanRestoreRequest *request, ExtmanTextBuffer *error) {
  if (request->format != 7 || !extman_equal(request->plugin_version, extman_bytes("0.9.0"))) {
    return extman_fail(error, EXTMAN_STATUS_DATA_LOSS, "of another format or version");
  }
  keep(handle, request->state);
  return EXTMAN_STATUS_OK;
}

static uint32_t destroy(void *handle, const ExtmanStepRequest *request, ExtmanTextBuffer *error) {
  (void)request;
  free(handle);
  return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, "a connection is left");
}

static uint32_t invoke(void *handle, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  const Instance *instance = handle;
  char text[400];
  (void)outcome;
  if (!attached) {
    return extman_fail(error, EXTMAN_STATUS_INTERNAL, "not attached");
  }
  pthread_mutex_lock(&lock);
  snprintf(text, sizeof text,
           "{\"waiting\": %zu, \"cancels\": %d, \"late\": %d, \"attaches\": %d, \"attached\": %d, \"config\": %s, "
           "\"parts\": %zu}",
           waiting_len, cancels, late, attaches, attaches - detaches, instance->config, request->parts_len);
  pthread_mutex_unlock(&lock);
  extman_emit_metadata(instance->host, request->call, extman_bytes("tenant"),
                       extman_metadata(request, extman_bytes("tenant")));
  return extman_write(instance->host, request->call, extman_bytes_of_text(text));
}

static void complete(const Instance *instance, ExtmanCallToken call, ExtmanStatus status) {
  ExtmanOutcome outcome = extman_outcome();
  outcome.valid = EXTMAN_OUTCOME_TOKENS_REASONING;
  outcome.tokens_reasoning = 3;
  extman_write(instance->host, call, extman_bytes("done"));
  if (extman_complete(instance->host, call, status, &outcome, extman_bytes_of(NULL, 0)) == EXTMAN_STATUS_CLOSED) {
    late++;
  }
}

static void hold(const Instance *instance) {
  char path[sizeof instance->config];
  const char *at = strstr(instance->config, "\"hold\":\"");
  if (at != NULL && sscanf(at + strlen("\"hold\":\""), "%[^\"]", path) == 1) {
    while (access(path, F_OK) != 0) {
      usleep(1000);
    }
  }
}

static uint32_t submit(void *handle, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  const Instance *instance = handle;
  (void)outcome;
  if (!attached) {
    return extman_fail(error, EXTMAN_STATUS_INTERNAL, "not attached");
  }
  if (extman_equal(request->input, extman_bytes("refuse"))) {
    return extman_fail(error, EXTMAN_STATUS_RATE_LIMITED, "not now");
  }
  if (extman_equal(request->input, extman_bytes("stay"))) {
    complete(instance, request->call, EXTMAN_STATUS_OK);
    hold(instance);
    return EXTMAN_STATUS_OK;
  }
  pthread_mutex_lock(&lock);
  if (waiting_len < WAITING_MAX) {
    waiting[waiting_len++] = request->call;
  }
  if (extman_equal(request->input, extman_bytes("release"))) {
    while (waiting_len > 0) {
      complete(instance, waiting[--waiting_len], EXTMAN_STATUS_OK);
    }
  }
  pthread_mutex_unlock(&lock);
  return EXTMAN_STATUS_OK;
}

static void cancel(void *handle, ExtmanCallToken call) {
  hold(handle);
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < waiting_len; i++) {
    if (waiting[i] == call) {
      waiting[i] = waiting[--waiting_len];
      complete(handle, call, EXTMAN_STATUS_CANCELLED);
      cancels++;
      break;
    }
  }
  pthread_mutex_unlock(&lock);
}

static const ExtmanAsyncVtable asynchronous = {sizeof(ExtmanAsyncVtable), submit};

static const void *extension(const uint8_t *id, size_t id_len) {
  return extman_equal(extman_bytes_of(id, id_len), extman_bytes(EXTMAN_EXTENSION_ASYNC)) ? &asynchronous : NULL;
}

static const ExtmanLifecycleVtable lifecycle = {sizeof(ExtmanLifecycleVtable), create,   start,   configure, step,
                                                step,                          snapshot, restore, destroy};
static const ExtmanCapabilityVtable capability = {sizeof(ExtmanCapabilityVtable), invoke, cancel};
static const ExtmanHealthVtable health = {sizeof(ExtmanHealthVtable), fault_check};
static const ExtmanPluginModule module =
    EXTMAN_PLUGIN_MODULE_WITH(&lifecycle, &capability, &health, extension, attach, detach);

FAULT_EXPORTED const ExtmanPluginModule *extman_plugin_entry(void) { return &module; }
