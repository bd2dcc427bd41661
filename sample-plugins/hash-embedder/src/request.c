#include "request.h"
#include "json.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    JsonReader json;
    TextsRequest *request;
    /* Bytes of `room` that are taken. */
    size_t used;
    /* "text" or "texts" was there. */
    bool given;
    char problem[160];
} Reading;

static bool refuse(Reading *reading, const char *problem) {
    snprintf(reading->problem, sizeof reading->problem, "%s", problem);
    return false;
}

static bool refuse_text(Reading *reading, const char *problem) {
    snprintf(reading->problem, sizeof reading->problem, "text %zu %s", reading->request->count, problem);
    return false;
}

static bool blank(ExtmanBytes text) {
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(" \t\n\v\f\r", text.data[i]) == NULL || text.data[i] == 0) {
            return false;
        }
    }
    return true;
}

static bool read_text(Reading *reading) {
    TextsRequest *request = reading->request;
    uint8_t *room = request->room + reading->used;
    size_t len;
    if (request->count == TEXTS_MAX) {
        return refuse(reading, "there are more than 256 texts; send them in several calls");
    }
    if (json_peek(&reading->json) != '"') {
        return refuse_text(reading, "is not a string");
    }
    if (!json_string(&reading->json, room, &len)) {
        return false;
    }
    if (len > TEXT_BYTES_MAX) {
        return refuse_text(reading, "is longer than 1 MiB; split it");
    }
    request->texts[request->count] = extman_bytes_of(room, len);
    if (blank(request->texts[request->count])) {
        return refuse_text(reading, "is blank; there is nothing to embed");
    }
    request->count++;
    reading->used += len;
    return true;
}

static bool read_texts(Reading *reading) {
    bool first = true, more = true;
    if (json_peek(&reading->json) != '[') {
        return refuse(reading, "\"texts\" is not an array");
    }
    reading->json.at++;
    while (json_next(&reading->json, ']', &first, &more) && more) {
        if (!read_text(reading)) {
            return false;
        }
    }
    if (more) {
        return false;
    }
    return reading->request->count > 0 || refuse(reading, "\"texts\" is empty; give at least one");
}

static bool read_member(Reading *reading) {
    /* A key is only looked at, so what is written to the room is free again at once. */
    uint8_t *room = reading->request->room + reading->used;
    size_t len;
    if (!json_string(&reading->json, room, &len) ||
        !json_take(&reading->json, ':', "expected ':' after a key")) {
        return false;
    }
    const ExtmanBytes key = extman_bytes_of(room, len);
    const bool one = extman_equal(key, extman_bytes("text"));
    const bool many = extman_equal(key, extman_bytes("texts"));
    if (!one && !many) {
        return json_skip(&reading->json, 1);
    }
    if (reading->given) {
        return refuse(reading, "give \"text\" or \"texts\", and only once");
    }
    reading->given = true;
    return one ? read_text(reading) : read_texts(reading);
}

static bool read_whole(Reading *reading) {
    bool first = true, more = true;
    if (json_peek(&reading->json) != '{') {
        return refuse(reading, "expected {\"text\": \"...\"} or {\"texts\": [\"...\"]}");
    }
    reading->json.at++;
    while (json_next(&reading->json, '}', &first, &more) && more) {
        if (!read_member(reading)) {
            return false;
        }
    }
    if (more || !json_finish(&reading->json)) {
        return false;
    }
    return reading->given || refuse(reading, "there is neither \"text\" nor \"texts\"");
}

static void explain(const Reading *reading, ExtmanTextBuffer *error) {
    char text[240];
    if (reading->json.problem != NULL) {
        snprintf(text, sizeof text, "the input is not JSON at byte %zu: %s",
                 (size_t)(reading->json.at - reading->json.start), reading->json.problem);
    } else {
        snprintf(text, sizeof text, "the input is not as expected: %s", reading->problem);
    }
    extman_write_text(error, extman_bytes_of_text(text));
}

TextsRequest *request_read(ExtmanBytes input, ExtmanStatus *status, ExtmanTextBuffer *error) {
    TextsRequest *request = malloc(sizeof *request + input.len);
    if (request == NULL) {
        *status = extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    request->count = 0;
    Reading reading = {.json = json_over(input), .request = request};
    if (read_whole(&reading)) {
        *status = EXTMAN_STATUS_OK;
        return request;
    }
    explain(&reading, error);
    *status = EXTMAN_STATUS_INVALID_INPUT;
    free(request);
    return NULL;
}
