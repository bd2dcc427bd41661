#include "json.h"

static bool fail(JsonReader *json, const char *problem) {
    json->problem = problem;
    return false;
}

JsonReader json_over(ExtmanBytes input) {
    static const uint8_t nothing[1] = {0};
    JsonReader json;
    json.start = input.data == NULL ? nothing : input.data;
    json.at = json.start;
    json.end = json.start + (input.data == NULL ? 0 : input.len);
    json.problem = NULL;
    return json;
}

uint8_t json_peek(JsonReader *json) {
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r')) {
        json->at++;
    }
    return json->at < json->end ? *json->at : 0;
}

bool json_take(JsonReader *json, uint8_t wanted, const char *problem) {
    if (json_peek(json) != wanted) {
        return fail(json, problem);
    }
    json->at++;
    return true;
}

bool json_next(JsonReader *json, uint8_t close, bool *first, bool *more) {
    const bool was_first = *first;
    *first = false;
    *more = true;
    if (json_peek(json) == close) {
        json->at++;
        *more = false;
        return true;
    }
    return was_first || json_take(json, ',', close == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
}

bool json_finish(JsonReader *json) {
    return (json_peek(json) == 0 && json->at == json->end) || fail(json, "something follows the JSON value");
}

/* ---- Strings ---- */

/* Length of the UTF-8 sequence at `at`; 0 if it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const uint8_t *at, const uint8_t *end) {
    const uint8_t lead = *at;
    size_t len;
    uint8_t low = 0x80, high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        len = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        len = 3;
        low = lead == 0xE0 ? 0xA0 : 0x80;
        high = lead == 0xED ? 0x9F : 0xBF;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        len = 4;
        low = lead == 0xF0 ? 0x90 : 0x80;
        high = lead == 0xF4 ? 0x8F : 0xBF;
    } else {
        return lead < 0x80 ? 1 : 0;
    }
    if ((size_t)(end - at) < len || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static size_t put_utf8(uint32_t point, uint8_t *to) {
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xC0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xE0 | point >> 12);
        to[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        to[2] = (uint8_t)(0x80 | (point & 0x3F));
        return 3;
    }
    to[0] = (uint8_t)(0xF0 | point >> 18);
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
    to[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
    to[3] = (uint8_t)(0x80 | (point & 0x3F));
    return 4;
}

/* The four digits after `\u`. */
static bool hex4(JsonReader *json, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < 4; i++, json->at++) {
        const uint8_t c = json->at < json->end ? *json->at : 0;
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint32_t)(c - 'a') + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = (uint32_t)(c - 'A') + 10;
        } else {
            return fail(json, "\\u needs four hexadecimal digits");
        }
        *value = *value << 4 | digit;
    }
    return true;
}

/* What follows `\u`: one unit, or two that make a pair. */
static bool unicode_escape(JsonReader *json, uint32_t *point) {
    uint32_t low;
    if (!hex4(json, point)) {
        return false;
    }
    if (*point < 0xD800 || *point > 0xDFFF) {
        return true;
    }
    if (*point > 0xDBFF || json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') {
        return fail(json, "half of a surrogate pair");
    }
    json->at += 2;
    if (!hex4(json, &low)) {
        return false;
    }
    if (low < 0xDC00 || low > 0xDFFF) {
        return fail(json, "half of a surrogate pair");
    }
    *point = 0x10000 + ((*point - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

/* What follows a backslash. */
static bool escape(JsonReader *json, uint32_t *point) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const uint8_t c = json->at < json->end ? *json->at : 0;
    const char *found = c == 0 ? NULL : strchr(names, c);
    if (c != 'u' && found == NULL) {
        return fail(json, "an unknown escape");
    }
    json->at++;
    if (c == 'u') {
        return unicode_escape(json, point);
    }
    *point = (uint8_t)values[found - names];
    return true;
}

bool json_string(JsonReader *json, uint8_t *room, size_t *len) {
    uint8_t bytes[4];
    size_t written = 0;
    if (!json_take(json, '"', "expected a string")) {
        return false;
    }
    while (json->at < json->end && *json->at != '"') {
        size_t count;
        const uint8_t *from = bytes;
        if (*json->at == '\\') {
            uint32_t point;
            json->at++;
            if (!escape(json, &point)) {
                return false;
            }
            count = put_utf8(point, bytes);
        } else if (*json->at < 0x20) {
            return fail(json, "a control character in a string; escape it");
        } else {
            count = utf8_length(json->at, json->end);
            if (count == 0) {
                return fail(json, "the text is not UTF-8");
            }
            from = json->at;
            json->at += count;
        }
        if (room != NULL) {
            memcpy(room + written, from, count);
        }
        written += count;
    }
    if (json->at == json->end) {
        return fail(json, "the string does not end");
    }
    json->at++;
    *len = written;
    return true;
}

/* ---- Values that nobody asked for ---- */

static size_t digits(JsonReader *json) {
    const uint8_t *from = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        json->at++;
    }
    return (size_t)(json->at - from);
}

static bool skip_number(JsonReader *json) {
    if (*json->at == '-') {
        json->at++;
    }
    const uint8_t *from = json->at;
    const size_t whole = digits(json);
    if (whole == 0 || (whole > 1 && *from == '0')) {
        return fail(json, "a malformed number");
    }
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        if (digits(json) == 0) {
            return fail(json, "a malformed number");
        }
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) {
            json->at++;
        }
        if (digits(json) == 0) {
            return fail(json, "a malformed number");
        }
    }
    return true;
}

static bool skip_word(JsonReader *json, const char *word) {
    const size_t len = strlen(word);
    if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) {
        return fail(json, "expected a value");
    }
    json->at += len;
    return true;
}

static bool skip_items(JsonReader *json, uint8_t close, unsigned depth) {
    bool first = true, more;
    size_t len;
    if (depth >= JSON_DEPTH_MAX) {
        return fail(json, "arrays and objects are nested too deeply");
    }
    json->at++;
    for (;;) {
        if (!json_next(json, close, &first, &more)) {
            return false;
        }
        if (!more) {
            return true;
        }
        if (close == '}' &&
            (!json_string(json, NULL, &len) || !json_take(json, ':', "expected ':' after a key"))) {
            return false;
        }
        if (!json_skip(json, depth + 1)) {
            return false;
        }
    }
}

bool json_skip(JsonReader *json, unsigned depth) {
    size_t len;
    const uint8_t c = json_peek(json);
    switch (c) {
    case '"':
        return json_string(json, NULL, &len);
    case '{':
        return skip_items(json, '}', depth);
    case '[':
        return skip_items(json, ']', depth);
    case 't':
        return skip_word(json, "true");
    case 'f':
        return skip_word(json, "false");
    case 'n':
        return skip_word(json, "null");
    default:
        return c == '-' || (c >= '0' && c <= '9') ? skip_number(json) : fail(json, "expected a value");
    }
}
