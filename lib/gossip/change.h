/* change.h - the recent changes of everybody's sets: what to pass on, and what to answer pulls
 * from.
 *
 * One change is one version of one owner's set. The log keeps the newest within its caps and drops
 * the oldest; a change still to be passed on is also in one of `unsent`, by how often it was sent,
 * and those have caps of their own, for a rollout where everybody changes at once. */
#pragma once

#include "gossip/wire.h"

#include "base/list.h"
#include "base/map.h"

/* How often each node tells a rumour where little is lost, and at most. 6 were too few: p99 1.16 s
 * at 30 % loss. */
#define GOSSIP_TRANSMISSIONS 8
#define GOSSIP_TRANSMISSIONS_MAX (2 * GOSSIP_TRANSMISSIONS)

struct gossip_change {
    struct {
        uint64_t owner;
        uint32_t boot_low, version;
    } name;         /* the map's key */
    uint32_t check; /* low half of the hash of the set after it */
    bool has_check; /* known: the last of a message, or applied here */
    uint8_t sent;   /* or heard from others, which spreads it as well */
    uint16_t count;
    struct map_node node;
    struct list age;        /* in gossip_changes.ages, oldest first */
    struct list rumour;     /* in gossip_changes.unsent[sent]; unlinked: told often enough */
    struct gossip_op ops[]; /* count of them */
};

struct gossip_changes {
    struct map by_name;
    struct list ages;
    struct list unsent[GOSSIP_TRANSMISSIONS_MAX];
    size_t bytes, rumours;
    unsigned transmissions; /* of each, from now on; GOSSIP_TRANSMISSIONS unless set */
};

void gossip_changes_init(struct gossip_changes *c);
void gossip_changes_done(struct gossip_changes *c);

/* Copies the change in, to be kept and not yet to be passed on. 0; -EEXIST; -ENOMEM. The oldest
 * make room. */
int gossip_changes_add(struct gossip_changes *c, uint64_t owner, uint64_t boot, uint32_t version,
                       const struct gossip_op *ops, size_t count);

/* NULL when not kept. */
struct gossip_change *gossip_changes_get(const struct gossip_changes *c, uint64_t owner,
                                         uint64_t boot, uint32_t version);

/* Applied here, with this hash after it: to be passed on from now, `own` ahead of others' of the
 * same age. Nothing when it was before. */
void gossip_changes_pass_on(struct gossip_changes *c, struct gossip_change *change, uint32_t check,
                            bool own);

/* Somebody told us again: as good as if we had told somebody. */
void gossip_changes_heard(struct gossip_changes *c, struct gossip_change *change);

/* Not to be passed on any more: its owner departed or was born again. */
void gossip_changes_forget(struct gossip_changes *c, uint64_t owner);

/* Writes the least often sent changes that fit, each once, and those of the same owner next to them
 * in the same message. Returns how many. `copies` is how often the packet will be sent. */
size_t gossip_changes_write(struct gossip_changes *c, struct gossip_writer *w,
                            struct gossip_dictionary *dictionary, unsigned copies);

/* Writes kept changes of one owner, as many from version `from` up to `to` as are kept and fit into
 * one message. Returns the last version written, or 0. */
uint32_t gossip_changes_write_range(const struct gossip_changes *c, struct gossip_writer *w,
                                    struct gossip_dictionary *dictionary, uint64_t owner,
                                    uint64_t boot, uint32_t from, uint32_t to);
