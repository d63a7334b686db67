#include "registry/head_times.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

void head_times_add(struct head_times *t, uint64_t us)
{
    t->us[t->count++ % HEAD_TIMES_KEPT] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t head_times_hedge_ms(struct head_times *t)
{
    if (t->count < HEAD_TIMES_ENOUGH) {
        return LIMIT_HEDGE_START_MS;
    }
    /* Sorting for every request would cost more than the request's own book-keeping. */
    if (t->hedge_ms && t->count - t->computed_at < HEAD_TIMES_ENOUGH) {
        return t->hedge_ms;
    }
    uint32_t sorted[HEAD_TIMES_KEPT];
    size_t n = t->count < HEAD_TIMES_KEPT ? t->count : HEAD_TIMES_KEPT;
    memcpy(sorted, t->us, n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), by_value);
    uint64_t hedge_ms = 2 * (uint64_t)sorted[(n * 95 + 99) / 100 - 1] / 1000;
    t->hedge_ms = hedge_ms < LIMIT_HEDGE_MIN_MS   ? LIMIT_HEDGE_MIN_MS
                  : hedge_ms > LIMIT_HEDGE_MAX_MS ? LIMIT_HEDGE_MAX_MS
                                                  : (uint32_t)hedge_ms;
    t->computed_at = t->count;
    return t->hedge_ms;
}
