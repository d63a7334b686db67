/* layer_watch.h - does containerd throw layers away once they are unpacked? Told from what is held.
 *
 * Such a containerd (discard_unpacked_layers) keeps each image's manifest and configuration, and
 * collects its layers when the pull is over. That is what is looked for: images that came without
 * their layers, or that at least half of all are without. One look tells nothing: the last layers
 * may be on their way into the inventory. So it has to be so for LIMIT_ADVICE_WAIT_MS.
 *
 * Pure: time is an argument, monotonic milliseconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/inventory.h"

struct layer_watch { /* caller-owned, zeroed; not to be read */
    bool began, seen;
    size_t without; /* the least there were */
    uint64_t seen_at_ms;
};

/* Takes what inventory_layers says now. True: it has been so for long enough, and is so now. */
bool layer_watch_look(struct layer_watch *w, const struct inventory_layers *now, uint64_t now_ms);

/* What comes next has nothing to do with what was seen: containerd is away. */
void layer_watch_interrupt(struct layer_watch *w);
