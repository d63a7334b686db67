/* support.h - what unit tests share: cmocka's includes and an allocator that can be told to fail.
 *
 * Every unit test program is linked with --wrap for malloc, calloc, realloc, strdup and strndup. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The n-th allocation from now (1 is the next) and all after it fail; 0: none does. */
void support_fail_allocation(unsigned n);

/* How many allocations were asked for since the last call of support_fail_allocation. */
unsigned support_allocations(void);

/* Runs `body` with the 1st, 2nd, … allocation failing until one run needs fewer; body must free
 * what it made and leave nothing behind (ASan's leak check sees to that). */
#define SUPPORT_OUT_OF_MEMORY_SWEEP(body)                                                          \
    do {                                                                                           \
        for (unsigned nth_ = 1; nth_ < 10000; nth_++) {                                            \
            support_fail_allocation(nth_);                                                         \
            body;                                                                                  \
            unsigned used_ = support_allocations();                                                \
            support_fail_allocation(0);                                                            \
            if (used_ < nth_) {                                                                    \
                break;                                                                             \
            }                                                                                      \
        }                                                                                          \
    } while (0)
