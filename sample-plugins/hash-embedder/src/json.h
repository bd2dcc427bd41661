/* A strict reader of JSON (RFC 8259) over borrowed bytes. It allocates nothing and goes forward only. */
#ifndef HASH_EMBEDDER_JSON_H
#define HASH_EMBEDDER_JSON_H

#include "extman_plugin.h"
#include <stdbool.h>

/* Arrays and objects inside each other, at most. */
#define JSON_DEPTH_MAX 32

typedef struct {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    /* What is wrong at `at`; null while nothing is. A function that returns false has set it. */
    const char *problem;
} JsonReader;

JsonReader json_over(ExtmanBytes input);

/* The next byte that is not white space; 0 at the end. */
uint8_t json_peek(JsonReader *json);

/* Passes over one byte of punctuation, which must be there. */
bool json_take(JsonReader *json, uint8_t wanted, const char *problem);

/*
 * Goes to the next item of an array or object whose opening has been taken: passes over the comma, or over `close`.
 * `first` starts as true. `*more` says whether an item follows.
 */
bool json_next(JsonReader *json, uint8_t close, bool *first, bool *more);

/*
 * Reads a string and writes its text as UTF-8 to `room`, which is never longer than the string in the input; `room` may
 * be null.
 */
bool json_string(JsonReader *json, uint8_t *room, size_t *len);

/* Passes over a whole value. */
bool json_skip(JsonReader *json, unsigned depth);

/* Nothing but white space must follow. */
bool json_finish(JsonReader *json);

#endif
