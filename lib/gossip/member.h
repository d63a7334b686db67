/* member.h - the table of everybody ever heard of, the dead of the last day included.
 *
 * A member has a slot, a small number under which the index names it as a holder; slot 0 is this
 * node. Slots of forgotten members are used again. Walking goes by slot, so that it does not depend
 * on addresses in memory. */
#pragma once

#include "gossip/core.h"
#include "gossip/seal.h"
#include "gossip/suspicion.h"
#include "gossip/wire.h"

#include "base/list.h"

/* What somebody says the owner's set is by now; 0 in version: nothing newer than what is held. */
struct gossip_wanted {
    uint32_t version, count;
    uint64_t hash;
    uint64_t teller; /* who said so, and therefore has it */
    uint64_t next_ms;
    uint32_t fetch_id; /* under way; 0: none */
    uint8_t tries;
    bool fetch_only; /* the teller no longer has the single changes */
};

struct gossip_member {
    uint64_t id;
    uint64_t boot;
    uint32_t salt;
    uint16_t incarnation;
    uint16_t slot;
    enum gossip_state state;
    bool selectable; /* alive, not excluded by suspicion, its set current */
    uint8_t load;
    bool tcp_only; /* hears nothing over UDP */

    struct gossip_addr addrs[2]; /* IPv4 first; ports as gossip's */
    uint16_t gossip_port, registry_port;
    char zone[GOSSIP_ZONE_BYTES];
    bool near; /* in our zone, which both of us know */

    /* The set held here, in the index under `slot`. set_boot below boot: it is from an earlier life
     * and kept only because the next one may well be the same. */
    uint64_t set_boot, set_hash;
    uint32_t version, count;
    struct gossip_wanted wanted;
    struct list behind; /* in gossip.behind while something is wanted */

    struct gossip_suspicion suspicion; /* while GOSSIP_SUSPECT */
    struct list suspected;             /* in gossip.suspects */
    uint64_t state_ms;                 /* since when in this state */
    uint64_t contribution;             /* its part of the cluster hash */

    struct gossip_window window;
    uint64_t heard_ms;   /* last packet of its own; 0: never */
    uint64_t accused_ms; /* last accusation sent to it */
    uint64_t backoff_until_ms;
    uint32_t backoff_ms;
    bool set_kept; /* of a departed member: not cleared yet */

    struct list rumour; /* its place among the membership rumours; unlinked: none */
    uint8_t rumour_sent;
};

struct gossip_members {
    struct gossip_member **by_slot; /* NULL: free */
    size_t slots, capacity;         /* slots ever used, room */
    uint16_t *table;                /* open addressing by id: slot + 1 */
    size_t table_capacity;
    size_t count;
    uint64_t seed;
};

void gossip_members_init(struct gossip_members *m, uint64_t seed);
void gossip_members_done(struct gossip_members *m);

/* NULL when unknown. */
struct gossip_member *gossip_members_get(const struct gossip_members *m, uint64_t id);

/* A new zeroed member with id and slot set, in no list. NULL: no memory, or LIMIT_GOSSIP_MEMBERS.
 */
struct gossip_member *gossip_members_add(struct gossip_members *m, uint64_t id);

/* Frees it; it must be in no list, and the index must not name its slot. */
void gossip_members_remove(struct gossip_members *m, struct gossip_member *member);

/* Gives a member another id; nobody may have it yet. */
void gossip_members_rename(struct gossip_members *m, struct gossip_member *member, uint64_t id);

#define GOSSIP_MEMBERS_EACH(member, m)                                                             \
    for (size_t slot_ = 0; slot_ < (m)->slots; slot_++)                                            \
        for (struct gossip_member *member = (m)->by_slot[slot_]; member; member = NULL)

static inline bool gossip_member_is_live(const struct gossip_member *member)
{
    return member->state == GOSSIP_ALIVE || member->state == GOSSIP_SUSPECT;
}
