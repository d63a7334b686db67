/* seen.h - which of the numbered things that others sealed were taken already, so that what was
 * read off the wire is worth nothing when it is sent again.
 *
 * Kept for each life of a sender, in a window as that of packets (seal.h), for the lives that were
 * heard last: LIMIT_GOSSIP_SEEN of them, which takes the cluster's key to fill. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "gossip/seal.h"

struct gossip_seen { /* in place */
    struct map lives;
    struct list latest_last;
};

void gossip_seen_init(struct gossip_seen *seen);
void gossip_seen_done(struct gossip_seen *seen);

/* Takes the sender's n-th, counted from 1, which was opened: 0; -EALREADY (taken, or too old to
 * tell), -ENOMEM. */
int gossip_seen_take(struct gossip_seen *seen, const struct gossip_sender *sender, uint64_t n);
