/* build.h - a set, a snapshot or an exchange's answer (body.c has the formats), built in slices of
 * a bounded time.
 *
 * Between two slices the cluster goes on, and what is built must not mix two states: a receiver
 * takes a member's set only when its keys have the hash that its ALIVE says. So what stands in the
 * body is, member by member, one version of its set:
 *
 *     ABOUT    (an exchange's answer) who departed and who lives
 *     MEMBERS  their ALIVEs, with the versions held. Whoever's set changes after its ALIVE was
 *              written and before all are stands there without a set, as if none were held
 *     KEYS     the keys as they are when this begins. One that is about to change is written first
 *              (gossip_build_before), and skipped when its turn comes. A column that is cleared as
 *              a whole leaves its member without a set
 *
 * A body is right to be late: its receiver holds an old version of what changed meanwhile, and asks
 * for the changes since, as whoever missed a rumour does; without a set it asks for that. Nothing
 * is repaired by hand. For the same reason several who ask may be given one body. */
#pragma once

#include "gossip/index.h"
#include "gossip/seal.h"

#include "base/buf.h"
#include "base/list.h"

struct gossip;
struct gossip_member;

/* The work of one slice, in pairs of a key and a holder, which take some 3 ns each. */
#define GOSSIP_BUILD_SLICE 150000

enum gossip_build_stage { GOSSIP_BUILD_ABOUT, GOSSIP_BUILD_MEMBERS, GOSSIP_BUILD_KEYS };

struct gossip_build {
    struct list link; /* serve.c's: waiting for its turn, or built and in use */
    size_t users;     /* serve.c's, like the next */
    uint64_t begun_ms;
    enum gossip_purpose purpose;
    uint64_t owner;   /* of a set */
    uint64_t asker;   /* of an exchange */
    uint8_t *wanted;  /* of an exchange: by slot, whether its member is to be in it */
    struct buf plain; /* the body, so far; its cap is the builder's */

    bool begun;
    enum gossip_build_stage stage;
    size_t slots, at;    /* members' slots when it began, and how far it came */
    uint16_t owner_slot; /* of a set */
    uint16_t *number;    /* by slot, from 1, rising; 0: no keys of it. NULL: a set */
    uint32_t *alive_end; /* by slot, where its ALIVE ends */
    uint16_t *holders;
    uint8_t *bytes;
    uint16_t members;
    uint32_t keys;
    size_t count_at; /* where to write how many there are: messages, members, keys */
    struct gossip_index_scan scan;
    uint64_t *early; /* a table of keys that have come before their turn; 0: free */
    size_t early_count;
    bool early_zero; /* the key 0 */
    int error;
};

/* 0 with a build of nothing yet; -ENOMEM. */
int gossip_build_new(enum gossip_purpose purpose, struct gossip_build **ret_build);
void gossip_build_free(struct gossip_build *b);

/* Goes on for as long as there is budget, which it takes from; g->build must be this one while it
 * is under way. -EINPROGRESS; 0: `plain` is complete; -ENOENT (no such set, or not any more),
 * -ENOMEM, -ENOBUFS, -EAGAIN: it came to nothing. */
int gossip_build_slice(struct gossip *g, struct gossip_build *b, size_t *budget);

/* Before a key of this slot is added or removed, and before all of them are: what is being built
 * keeps what was. */
void gossip_build_before(struct gossip *g, uint64_t key, uint16_t slot);
void gossip_build_clears(struct gossip *g, uint16_t slot);
