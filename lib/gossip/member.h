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

/* What somebody says the owner's set is by now, and it is later than what is held. */
struct gossip_wanted {
    struct list behind; /* in gossip.behind */
    struct gossip_member *member;
    uint32_t version, count;
    uint64_t hash;
    uint64_t teller; /* who said so, and therefore has it */
    uint64_t next_ms;
    uint32_t fetch_id; /* under way; 0: none */
    uint8_t tries;
    bool fetch_only; /* the teller no longer has the single changes */
};

struct gossip_doubt {
    struct list suspected; /* in gossip.suspects */
    struct gossip_member *member;
    struct gossip_suspicion suspicion;
};

/* Thousands of them are most of what a node knows, so what few have at a time is outside. */
struct gossip_member {
    uint64_t id;
    uint64_t boot;
    uint32_t salt;
    uint16_t incarnation;
    uint16_t slot;
    uint8_t state;   /* enum gossip_state */
    bool selectable; /* alive, not excluded by suspicion, its set current */
    uint8_t load;
    bool tcp_only; /* hears nothing over UDP */
    bool near;     /* in our zone, which both of us know */
    bool set_kept; /* of a departed member: not cleared yet */
    uint8_t rumour_sent;
    uint8_t families; /* bit 0: has an IPv4 address, bit 1: IPv6, bit 2: IPv6 is what answers */
    uint8_t ipv4[4], ipv6[16];
    uint16_t gossip_port, registry_port;
    const char *zone; /* gossip_members_zone */

    /* The set held here, in the index under `slot`. set_boot below boot: it is from an earlier life
     * and kept only because the next one may well be the same. */
    uint64_t set_boot, set_hash;
    uint32_t version, count;
    struct gossip_wanted *wanted; /* NULL: nothing */

    struct gossip_doubt *doubt; /* while GOSSIP_SUSPECT */
    uint64_t state_ms;          /* since when in this state */
    uint64_t contribution;      /* its part of the cluster hash */

    struct gossip_window window;
    uint64_t heard_ms;   /* last packet of its own; 0: never */
    uint64_t accused_ms; /* last accusation sent to it */
    uint64_t backoff_until_ms;
    uint32_t backoff_ms;
    uint16_t taking; /* its number in the snapshot being taken, from 1; 0: not */

    struct list rumour; /* its place among the membership rumours; unlinked: none */
};

struct gossip_members {
    struct gossip_member **by_slot; /* NULL: free */
    size_t slots, capacity;         /* slots ever used, room */
    uint16_t *table;                /* open addressing by id: slot + 1 */
    size_t table_capacity;
    size_t count;
    uint64_t seed;
    char *zones[LIMIT_GOSSIP_ZONES];
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

/* The one copy of this name, for as long as the table lives; "" when there are too many. */
const char *gossip_members_zone(struct gossip_members *m, const char *zone);

/* Its addresses with the gossip port, IPv4 first unless IPv6 is what answers; the rest without a
 * family. */
void gossip_member_addrs(const struct gossip_member *member, struct gossip_addr ret_addrs[2]);

/* Its address that is like `from`, whence it answered, stands first from now on. */
void gossip_member_answered_from(struct gossip_member *member, const struct gossip_addr *from);
/* At most one a family, in any order; the ports are the member's. */
void gossip_member_set_addrs(struct gossip_member *member, const struct gossip_addr addrs[2]);

#define GOSSIP_MEMBERS_EACH(member, m)                                                             \
    for (size_t slot_ = 0; slot_ < (m)->slots; slot_++)                                            \
        for (struct gossip_member *member = (m)->by_slot[slot_]; member; member = NULL)

static inline bool gossip_member_is_live(const struct gossip_member *member)
{
    return member->state == GOSSIP_ALIVE || member->state == GOSSIP_SUSPECT;
}
