/* What is asked: {"text": "..."} or {"texts": ["...", ...]}. */
#ifndef HASH_EMBEDDER_REQUEST_H
#define HASH_EMBEDDER_REQUEST_H

#include "extman_plugin.h"
#include <stdbool.h>

/* Texts in one call, at most. */
#define TEXTS_MAX 256
/* Bytes of one text in UTF-8, at most. */
#define TEXT_BYTES_MAX ((size_t)1 << 20)

typedef struct {
    size_t count;
    ExtmanBytes texts[TEXTS_MAX];
    /* Holds the texts; never longer than the input. */
    uint8_t room[];
} TextsRequest;

/* Reads the input. Null on failure, then `status` and `error` say why. The caller frees the result. */
TextsRequest *request_read(ExtmanBytes input, ExtmanStatus *status, ExtmanTextBuffer *error);

#endif
