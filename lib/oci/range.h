/* range.h - the Range request header (RFC 9110 section 14) against a representation's length. */
#pragma once

#include <stdint.h>

enum range_result {
    RANGE_WHOLE,         /* no header, another unit, malformed, or several ranges: 200, all of it */
    RANGE_PART,          /* 206 */
    RANGE_UNSATISFIABLE, /* 416 */
};

/* `header` may be NULL. On RANGE_PART *ret_first..*ret_last (inclusive) lie within the length. */
enum range_result range_parse(const char *header, int64_t total_bytes, int64_t *ret_first,
                              int64_t *ret_last);
