/* window.c - the replay window of seal.h. */
#include "gossip/seal.h"

bool gossip_window_is_new(const struct gossip_window *w, uint64_t counter)
{
    if (counter == 0) {
        return false;
    }
    if (counter > w->top) {
        return true;
    }
    uint64_t age = w->top - counter;
    return age < GOSSIP_WINDOW_COUNTERS && !(w->bits[age / 64] >> (age % 64) & 1);
}

void gossip_window_accept(struct gossip_window *w, uint64_t counter)
{
    if (counter <= w->top) {
        uint64_t age = w->top - counter;
        w->bits[age / 64] |= UINT64_C(1) << (age % 64);
        return;
    }
    uint64_t shift = counter - w->top;
    if (w->top == 0 || shift >= GOSSIP_WINDOW_COUNTERS) {
        w->bits[0] = w->bits[1] = 0;
    } else if (shift >= 64) {
        w->bits[1] = shift == 64 ? w->bits[0] : w->bits[0] << (shift - 64);
        w->bits[0] = 0;
    } else {
        w->bits[1] = w->bits[1] << shift | w->bits[0] >> (64 - shift);
        w->bits[0] <<= shift;
    }
    w->bits[0] |= 1;
    w->top = counter;
}
