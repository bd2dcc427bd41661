#include "embed.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* In quarters. */
enum { WORD_WEIGHT = 4, PAIR_WEIGHT = 2, RUN_WEIGHT = 1 };
enum { RUN_CHARACTERS_MIN = 3, RUN_CHARACTERS_MAX = 5 };

/* FNV-1a, 64 bits (draft-eastlake-fnv). The first byte says which kind of feature it is. */
#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static uint64_t hash_byte(uint64_t hash, uint8_t byte) { return (hash ^ byte) * FNV_PRIME; }

static uint64_t hash_bytes(uint64_t hash, ExtmanBytes bytes) {
    for (size_t i = 0; i < bytes.len; i++) {
        hash = hash_byte(hash, bytes.data[i]);
    }
    return hash;
}

static uint64_t hash_of_kind(char kind) { return hash_byte(FNV_OFFSET, (uint8_t)kind); }

/* MurmurHash3's finaliser: FNV's upper bits depend too little on the last bytes. */
static uint64_t mixed(uint64_t hash) {
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

/* The upper half picks the component, the lowest bit the sign. */
static void add(int64_t sums[DIMENSIONS], uint64_t hash, int64_t weight) {
    hash = mixed(hash);
    sums[(hash >> 32) * DIMENSIONS >> 32] += hash & 1 ? weight : -weight;
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool in_word(uint8_t c) { return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); }

static bool continues_character(uint8_t c) { return (c & 0xC0) == 0x80; }

/* Lowercase, with single spaces and one at either end. `to` has room for two bytes more than the text. */
static ExtmanBytes normalised(ExtmanBytes text, uint8_t *to) {
    size_t len = 0;
    to[len++] = ' ';
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (!is_space(c)) {
            to[len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
        } else if (to[len - 1] != ' ') {
            to[len++] = ' ';
        }
    }
    if (to[len - 1] != ' ') {
        to[len++] = ' ';
    }
    return extman_bytes_of(to, len);
}

static void add_words(int64_t sums[DIMENSIONS], ExtmanBytes text) {
    ExtmanBytes before = {NULL, 0};
    size_t at = 0;
    while (at < text.len) {
        if (!in_word(text.data[at])) {
            at++;
            continue;
        }
        const size_t start = at;
        while (at < text.len && in_word(text.data[at])) {
            at++;
        }
        const ExtmanBytes word = extman_bytes_of(text.data + start, at - start);
        add(sums, hash_bytes(hash_of_kind('w'), word), WORD_WEIGHT);
        if (before.len > 0) {
            const uint64_t first = hash_byte(hash_bytes(hash_of_kind('p'), before), ' ');
            add(sums, hash_bytes(first, word), PAIR_WEIGHT);
        }
        before = word;
    }
}

static void add_runs(int64_t sums[DIMENSIONS], ExtmanBytes text) {
    for (size_t start = 0; start < text.len; start++) {
        if (continues_character(text.data[start])) {
            continue;
        }
        uint64_t hash = hash_of_kind('r');
        size_t at = start;
        for (int characters = 1; characters <= RUN_CHARACTERS_MAX && at < text.len; characters++) {
            do {
                hash = hash_byte(hash, text.data[at++]);
            } while (at < text.len && continues_character(text.data[at]));
            if (characters >= RUN_CHARACTERS_MIN) {
                add(sums, hash, RUN_WEIGHT);
            }
        }
    }
}

ExtmanStatus embed(ExtmanBytes text, float vector[DIMENSIONS]) {
    int64_t sums[DIMENSIONS] = {0};
    uint8_t *room = malloc(text.len + 2);
    if (room == NULL) {
        return EXTMAN_STATUS_RESOURCE_EXHAUSTED;
    }
    const ExtmanBytes clean = normalised(text, room);
    add_words(sums, clean);
    add_runs(sums, clean);

    uint64_t squares = 0;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        squares += (uint64_t)(sums[i] * sums[i]);
    }
    if (squares == 0) {
        /* All features have cancelled out: the whole text stands for itself. */
        add(sums, hash_bytes(hash_of_kind('t'), clean), 1);
        squares = 1;
    }
    const double length = sqrt((double)squares);
    for (size_t i = 0; i < DIMENSIONS; i++) {
        vector[i] = (float)((double)sums[i] / length);
    }
    free(room);
    return EXTMAN_STATUS_OK;
}
