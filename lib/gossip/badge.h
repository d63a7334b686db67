/* badge.h - what a member shows with a request for content, so that another one knows it for one.
 *
 * Anybody who reaches a registry port may read what is held there (kubernetes.md, "Who can read
 * what"). Two things are for members alone: a place among those who are fed from a download under
 * way, and a place among the few whom a holder sends to while others are told to ask elsewhere. For
 * these a request carries X-Spegel-Follow with a *badge*: an envelope (seal.h) in hex,
 *
 *     sealed            for u8 | serial 48 bits
 *     associated data   whom it is shown to, id 48 | boot 48, and the digest asked for
 *
 * It is good for one request: another node, a later life of that one and another digest refuse it,
 * and each serial of a life of its sender is taken once, in a window as that of packets (seen.h).
 * So whoever reads one off the wire has something that was used, and clocks do not matter. What a
 * node takes for seen it forgets with its life, which badges are bound to. Key rings change as for
 * packets: whatever key of the ring sealed it.
 *
 * Without a key file the key is the label's, which protects against nobody, here too. */
#pragma once

#include "gossip/core.h"

#include <stdint.h>

enum gossip_badge {
    GOSSIP_BADGE_HELD,   /* what is held; busy ones may say so, since others can be asked */
    GOSSIP_BADGE_FOLLOW, /* and what is being downloaded */
    GOSSIP_BADGES
};

#define GOSSIP_BADGE_TEXT_BYTES 95 /* with the NUL */

/* A new one for the member `to`. 0; -ENOENT (no member that is known here), -ENOMEM, -EIO. */
int gossip_badge_write(struct gossip *core, uint64_t to, enum gossip_badge badge,
                       const uint8_t digest[32], char ret_text[GOSSIP_BADGE_TEXT_BYTES]);

/* Takes one. 0; -EACCES (none of this cluster's, or for somebody or something else), -EALREADY
 * (used, or too old), -ENOMEM. A few microseconds. */
int gossip_badge_take(struct gossip *core, const char *text, const uint8_t digest[32],
                      enum gossip_badge *ret_badge);
