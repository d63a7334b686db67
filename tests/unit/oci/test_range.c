#include "oci/range.h"
#include "support.h"

static void ranges_against_a_length(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int64_t total;
        enum range_result result;
        int64_t first, last;
    } rows[] = {
        {NULL, 10, RANGE_WHOLE, -7, -7},
        {"", 10, RANGE_WHOLE, -7, -7},
        {"bytes=0-9", 10, RANGE_PART, 0, 9},
        {"bytes=0-0", 10, RANGE_PART, 0, 0},
        {"BYTES=3-", 10, RANGE_PART, 3, 9},
        {"bytes=3-100", 10, RANGE_PART, 3, 9},
        {"bytes=-4", 10, RANGE_PART, 6, 9},
        {"bytes=-10", 10, RANGE_PART, 0, 9},
        {"bytes=-11", 10, RANGE_PART, 0, 9},
        {"bytes= 2-3 ", 10, RANGE_PART, 2, 3},
        {"bytes=10-", 10, RANGE_UNSATISFIABLE, -7, -7},
        {"bytes=10-12", 10, RANGE_UNSATISFIABLE, -7, -7},
        {"bytes=-0", 10, RANGE_UNSATISFIABLE, -7, -7},
        {"bytes=0-", 0, RANGE_UNSATISFIABLE, -7, -7},
        {"bytes=-1", 0, RANGE_UNSATISFIABLE, -7, -7},
        {"bytes=5-4", 10, RANGE_WHOLE, -7, -7}, /* invalid, so ignored (RFC 9110 14.1.1) */
        {"bytes=0-1,4-5", 10, RANGE_WHOLE, -7, -7},
        {"bytes=0-1,", 10, RANGE_WHOLE, -7, -7},
        {"bytes=-", 10, RANGE_WHOLE, -7, -7},
        {"bytes=", 10, RANGE_WHOLE, -7, -7},
        {"bytes=a-b", 10, RANGE_WHOLE, -7, -7},
        {"bytes=1 - 2", 10, RANGE_WHOLE, -7, -7},
        {"bytes=--1", 10, RANGE_WHOLE, -7, -7},
        {"bytes=+1-2", 10, RANGE_WHOLE, -7, -7},
        {"bytes 1-2", 10, RANGE_WHOLE, -7, -7},
        {"items=1-2", 10, RANGE_WHOLE, -7, -7},
        {"bytes=1-2x", 10, RANGE_WHOLE, -7, -7},
        {"bytes=99999999999999999999999-", 10, RANGE_UNSATISFIABLE, -7, -7},
        {"bytes=1-99999999999999999999999", 10, RANGE_PART, 1, 9},
        {"bytes=-99999999999999999999999", 10, RANGE_PART, 0, 9},
        {"bytes=9223372036854775806-9223372036854775807", INT64_MAX, RANGE_PART, INT64_MAX - 1,
         INT64_MAX - 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t first = -7, last = -7;
        enum range_result result = range_parse(rows[i].header, rows[i].total, &first, &last);
        if (result != rows[i].result || first != rows[i].first || last != rows[i].last) {
            fail_msg("\"%s\" of %lld: %d, %lld-%lld", rows[i].header, (long long)rows[i].total,
                     (int)result, (long long)first, (long long)last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranges_against_a_length)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
