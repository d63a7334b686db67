/* error.h - errors that a person will read.
 *
 * Functions return 0 or a negative errno. Where a sentence helps, they also take a caller-owned
 * `struct error *`, which may be NULL. It has a fixed size and never allocates; text that does not
 * fit is cut. It is written only on failure. */
#pragma once

#include <stdarg.h>

struct error {
    int code; /* negative errno, the same as the function returned */
    char text[480];
};

/* Writes the sentence and returns `code`, so that failing is one line:
 *     return error_set(err, -EPROTO, "frame of %zu bytes", n); */
__attribute__((format(printf, 3, 4))) int error_set(struct error *err, int code, const char *format,
                                                    ...);

/* Puts context before what is there ("reading a.json: no such file") and returns err's code, or
 * `code` when err is NULL. */
__attribute__((format(printf, 3, 4))) int error_wrap(struct error *err, int code,
                                                     const char *format, ...);
