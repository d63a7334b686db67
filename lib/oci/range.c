#include "oci/range.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Reads digits, saturating at INT64_MAX; returns how many there were. */
static size_t read_digits(const char *text, int64_t *ret_value)
{
    size_t n = 0;
    int64_t value = 0;
    for (; text[n] >= '0' && text[n] <= '9'; n++) {
        int digit = text[n] - '0';
        value = value > (INT64_MAX - digit) / 10 ? INT64_MAX : value * 10 + digit;
    }
    *ret_value = value;
    return n;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* "-n": the last n bytes. */
static enum range_result suffix(int64_t n, int64_t total_bytes, int64_t *ret_first,
                                int64_t *ret_last)
{
    if (n == 0 || total_bytes == 0) {
        return RANGE_UNSATISFIABLE;
    }
    *ret_first = n >= total_bytes ? 0 : total_bytes - n;
    *ret_last = total_bytes - 1;
    return RANGE_PART;
}

enum range_result range_parse(const char *header, int64_t total_bytes, int64_t *ret_first,
                              int64_t *ret_last)
{
    if (!header || strncasecmp(header, "bytes=", 6) != 0) {
        return RANGE_WHOLE;
    }
    const char *p = skip_blanks(header + 6);
    int64_t first = 0, last = INT64_MAX;
    size_t first_digits = read_digits(p, &first);
    p += first_digits;
    if (*p++ != '-') {
        return RANGE_WHOLE;
    }
    size_t last_digits = read_digits(p, &last);
    p = skip_blanks(p + last_digits);
    if (*p || (!first_digits && !last_digits)) {
        return RANGE_WHOLE;
    }
    if (!first_digits) {
        return suffix(last, total_bytes, ret_first, ret_last);
    }
    if (!last_digits) {
        last = INT64_MAX;
    }
    if (first > last) {
        return RANGE_WHOLE;
    }
    if (first >= total_bytes) {
        return RANGE_UNSATISFIABLE;
    }
    *ret_first = first;
    *ret_last = last >= total_bytes ? total_bytes - 1 : last;
    return RANGE_PART;
}
