/* The header's helpers, one by one. Prints ok, or returns the line that failed. */
#include "extman_plugin.h"
#include <stdio.h>

#define CHECK(condition)                                                                                             \
    if (!(condition)) {                                                                                              \
        printf("line %d: %s\n", __LINE__, #condition);                                                               \
        return 1;                                                                                                    \
    }

static ExtmanTextBuffer lent(uint8_t *data, size_t capacity) {
    ExtmanTextBuffer buffer = {data, capacity, 0};
    return buffer;
}

int main(void) {
    uint8_t room[8];
    memset(room, '#', sizeof room);

    CHECK(extman_bytes("abc").len == 3);
    CHECK(extman_equal(extman_bytes("abc"), extman_bytes_of_text("abc")));
    CHECK(!extman_equal(extman_bytes("abc"), extman_bytes("abd")));
    CHECK(!extman_equal(extman_bytes("abc"), extman_bytes("ab")));
    CHECK(extman_equal(extman_bytes(""), extman_bytes_of_text(NULL)));

    ExtmanTextBuffer buffer = lent(room, 4);
    CHECK(extman_fail(&buffer, EXTMAN_STATUS_INVALID_INPUT, "no") == EXTMAN_STATUS_INVALID_INPUT);
    CHECK(buffer.len == 2 && memcmp(room, "no#", 3) == 0);
    extman_write_text(&buffer, extman_bytes("abcdef"));
    CHECK(buffer.len == 4 && memcmp(room, "abcd#", 5) == 0);
    /* Three bytes a character: the second one does not fit and is not cut in two. */
    extman_write_text(&buffer, extman_bytes("\xe6\x97\xa5\xe6\x9c\xac"));
    CHECK(buffer.len == 3);
    buffer = lent(NULL, 4);
    extman_write_text(&buffer, extman_bytes("abc"));
    CHECK(buffer.len == 0);
    extman_write_text(NULL, extman_bytes("abc"));

    CHECK(extman_status_from_host(EXTMAN_STATUS_OK) == EXTMAN_STATUS_OK);
    CHECK(extman_status_from_host(EXTMAN_STATUS_RESOURCE_EXHAUSTED) == EXTMAN_STATUS_RESOURCE_EXHAUSTED);
    CHECK(extman_status_from_host(EXTMAN_STATUS_CLOSED) == EXTMAN_STATUS_CANCELLED);
    CHECK(extman_status_from_host(EXTMAN_STATUS_INVALID_INPUT) == EXTMAN_STATUS_INTERNAL);
    CHECK(extman_status_from_host(4711) == EXTMAN_STATUS_INTERNAL);

    /* A host of today and a plugin of tomorrow, and the other way round. */
    ExtmanOutcome ours = extman_outcome();
    CHECK(ours.struct_size == sizeof ours && ours.valid == 0);
    ours.valid = EXTMAN_OUTCOME_TOKENS_OUT;
    ours.tokens_out = 7;
    struct {
        ExtmanOutcome known;
        uint64_t later;
    } newer;
    memset(&newer, 0xAA, sizeof newer);
    newer.known.struct_size = sizeof newer;
    extman_outcome_out(&newer.known, &ours);
    CHECK(newer.known.struct_size == sizeof newer);
    CHECK(newer.known.tokens_out == 7 && newer.known.valid == EXTMAN_OUTCOME_TOKENS_OUT);
    CHECK(newer.later == UINT64_C(0xAAAAAAAAAAAAAAAA));
    CHECK(EXTMAN_HAS(&newer.known, ExtmanOutcome, tokens_out));

    ExtmanOutcome older;
    memset(&older, 0xAA, sizeof older);
    older.struct_size = offsetof(ExtmanOutcome, tokens_out);
    extman_outcome_out(&older, &ours);
    CHECK(older.struct_size == offsetof(ExtmanOutcome, tokens_out));
    CHECK(older.valid == EXTMAN_OUTCOME_TOKENS_OUT && older.tokens_in == 0);
    CHECK(older.tokens_out == UINT64_C(0xAAAAAAAAAAAAAAAA));
    CHECK(!EXTMAN_HAS(&older, ExtmanOutcome, tokens_out));
    extman_outcome_out(NULL, &ours);

    ExtmanReport report = extman_report(), host = extman_report();
    report.health = EXTMAN_HEALTH_UP;
    report.valid = EXTMAN_REPORT_HEALTH;
    extman_report_out(&host, &report);
    CHECK(host.health == EXTMAN_HEALTH_UP && host.valid == EXTMAN_REPORT_HEALTH);

    puts("ok");
    return 0;
}
