/* head_times.h - how long peers take to a response head, and so when to ask the next one too.
 *
 * The hedge is twice the 95th percentile of the last HEAD_TIMES_KEPT heads, within
 * LIMIT_HEDGE_MIN_MS..LIMIT_HEDGE_MAX_MS; LIMIT_HEDGE_START_MS while fewer than
 * HEAD_TIMES_ENOUGH were seen (architecture.md, "Time"). */
#pragma once

#include <stdint.h>

#define HEAD_TIMES_KEPT 128
#define HEAD_TIMES_ENOUGH 16

struct head_times { /* zero at start */
    uint32_t us[HEAD_TIMES_KEPT];
    uint32_t count;    /* ever seen */
    uint32_t hedge_ms; /* computed at `computed_at`; 0: not yet */
    uint32_t computed_at;
};

void head_times_add(struct head_times *t, uint64_t us);
uint32_t head_times_hedge_ms(struct head_times *t);
