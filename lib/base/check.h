/* check.h - assertions about our own code.
 *
 * CHECK stays on in release builds: a broken invariant stops the process with the place and the
 * expression on stderr. It is for our bugs only; bytes from outside give errors (error.h). */
#pragma once

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(expression), 0)) {                                                  \
            check_failed(__FILE__, __LINE__, #expression);                                         \
        }                                                                                          \
    } while (0)

__attribute__((noreturn, cold)) void check_failed(const char *file, int line,
                                                  const char *expression);
