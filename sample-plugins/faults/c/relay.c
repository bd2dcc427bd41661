// Calls other plugins as its input says, by every function of the host's extman.call/1. The input: a mode and a capability in the
// first line, then what that capability gets. Modes: `call`, `stream`, `submit`, `cancel`, `nothing` (a receiver that lacks `answer`),
// and `metadata`, which calls nobody and answers with what it was called with.
// The answer is what was answered; a failure is passed on with its status and text.
#define FAULT_TOML_MORE                                                                                                \
  "\n[[capability]]\nname = \"c.relay\"\nversion = \"1.1.0\"\n"                                                        \
  "[[requires]]\ncapability = \"test.relay\"\noptional = true\n"                                                       \
  "[[requires]]\ncapability = \"fault.run\"\noptional = true\n"                                                        \
  "[[requires]]\nplugin = \"scripted\"\nversion = \"^1\"\noptional = true\n"
#include "fault.h"

#include <pthread.h>

FAULT_MANIFEST("fault-relay")

typedef struct Relay {
  const ExtmanHostTable *host;
  ExtmanInstanceToken instance;
} Relay;

typedef struct Heard {
  pthread_mutex_t lock;
  pthread_cond_t answered;
  const ExtmanHostTable *host;
  ExtmanCallToken call;
  ExtmanTextBuffer *error;
  int answers;
  int frames;
  ExtmanStatus status;
} Heard;

static uint32_t create(const ExtmanHostTable *host, const ExtmanCreateRequest *request, void **handle,
                       ExtmanTextBuffer *error) {
  Relay *made = (Relay *)malloc(sizeof *made);
  if (made == NULL || host->extension(host, (const uint8_t *)"extman.call/2", 13) != NULL ||
      host->extension(host, NULL, 0) != NULL || extman_call_table(host) == NULL) {
    free(made);
    return extman_fail(error, EXTMAN_STATUS_INTERNAL, "the host has an extension that nobody knows, or lacks one");
  }
  made->host = host;
  made->instance = request->instance;
  *handle = made;
  return EXTMAN_STATUS_OK;
}

static ExtmanStatus heard_frame(void *context, const uint8_t *data, size_t data_len) {
  Heard *heard = (Heard *)context;
  heard->frames++;
  return extman_write(heard->host, heard->call, extman_bytes_of(data, data_len));
}

static ExtmanStatus heard_answer(void *context, const ExtmanAnswer *answer) {
  Heard *heard = (Heard *)context;
  pthread_mutex_lock(&heard->lock);
  heard->answers++;
  heard->status = answer->status;
  if (answer->status == EXTMAN_STATUS_OK) {
    if (answer->output.len > 0) {
      extman_write(heard->host, heard->call, answer->output);
    }
    extman_emit_metadata(heard->host, heard->call, extman_bytes("served-by"), answer->served_by);
  } else {
    extman_write_text(heard->error, answer->error);
  }
  pthread_cond_signal(&heard->answered);
  pthread_mutex_unlock(&heard->lock);
  return EXTMAN_STATUS_OK;
}

// The first line's words, and what follows it.
static int parse(ExtmanBytes input, char mode[16], char capability[64], ExtmanBytes *rest) {
  const uint8_t *end = input.len == 0 ? NULL : (const uint8_t *)memchr(input.data, '\n', input.len);
  char line[96];
  size_t len = end == NULL ? input.len : (size_t)(end - input.data);
  if (len >= sizeof line) {
    return 0;
  }
  memcpy(line, input.data, len);
  line[len] = '\0';
  *rest = end == NULL ? extman_bytes_of(NULL, 0) : extman_bytes_of(end + 1, input.len - len - 1);
  return sscanf(line, "%15s %63s", mode, capability) == 2;
}

static uint32_t relay(const Relay *own, const ExtmanRequest *request, ExtmanTextBuffer *error) {
  const ExtmanCallTable *calls = extman_call_table(own->host);
  char mode[16], capability[64];
  ExtmanBytes rest;
  if (!parse(request->input, mode, capability, &rest)) {
    return extman_fail(error, EXTMAN_STATUS_INVALID_INPUT, "a mode and a capability have to stand in the first line");
  }
  Heard heard = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, own->host, request->call, error, 0, 0, 0};
  ExtmanReceiver receiver = {sizeof receiver, &heard, heard_frame, heard_answer};
  if (strcmp(mode, "metadata") == 0) {
    for (size_t i = 0; i < request->metadata_len; i++) {
      extman_write(own->host, request->call, request->metadata[i].key);
      extman_write(own->host, request->call, extman_bytes("="));
      extman_write(own->host, request->call, request->metadata[i].value);
    }
    return EXTMAN_STATUS_OK;
  }
  ExtmanRequest asked = extman_request(request->call, extman_bytes_of_text(capability), rest);
  ExtmanStatus status;
  if (strcmp(mode, "stream") == 0) {
    asked.flags = EXTMAN_REQUEST_STREAM;
  }
  if (strcmp(mode, "nothing") == 0) {
    receiver.answer = NULL;
  }
  if (strcmp(mode, "submit") != 0 && strcmp(mode, "cancel") != 0) {
    status = calls->call(own->host, own->instance, &asked, EXTMAN_NO_DEADLINE, &receiver);
    return status != EXTMAN_STATUS_OK || heard.answers != 1 ? extman_status_from_host(status) : heard.status;
  }
  ExtmanOutgoingToken token = 0;
  status = calls->submit(own->host, own->instance, &asked, EXTMAN_NO_DEADLINE, &receiver, &token);
  if (status != EXTMAN_STATUS_OK) {
    return extman_status_from_host(status);
  }
  if (strcmp(mode, "cancel") == 0 && calls->cancel(own->host, own->instance, token) != EXTMAN_STATUS_OK) {
    extman_write_text(error, extman_bytes("it was answered before it was cancelled"));
  }
  pthread_mutex_lock(&heard.lock);
  while (heard.answers == 0) {
    pthread_cond_wait(&heard.answered, &heard.lock);
  }
  pthread_mutex_unlock(&heard.lock);
  if (calls->cancel(own->host, own->instance, token + 1000) != EXTMAN_STATUS_CLOSED) {
    return extman_fail(error, EXTMAN_STATUS_INTERNAL, "a token that was made up names a call");
  }
  return heard.status;
}

static uint32_t invoke(void *handle, const ExtmanRequest *request, ExtmanOutcome *outcome, ExtmanTextBuffer *error) {
  const Relay *own = (const Relay *)handle;
  (void)outcome;
  if (extman_equal(request->capability, extman_bytes("c.echo"))) {
    return extman_write(own->host, request->call, request->input);
  }
  return relay(own, request, error);
}

FAULT_MODULE(create, fault_destroy, invoke)
