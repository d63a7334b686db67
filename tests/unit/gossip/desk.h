/* desk.h - one arbiter at its desk: a core with members who never send anything themselves. A test
 * says what they ask and tell, and when; the wire and the askers' side have tests of their own. */
#pragma once

#include "support.h"

#include "gossip/swarm_state.h"

#include <stdio.h>
#include <string.h>

#define SELF 0x100

struct desk {
    struct gossip *g;
    struct gossip_effects effects;
    uint64_t key; /* one of which it is the first arbiter */
    uint32_t ask, sequence;
};

static inline void desk_member(struct desk *d, uint64_t id, const char *zone)
{
    struct gossip_alive alive = {
        .id = id,
        .boot = 1000,
        .salt = 1,
        .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 1, (uint8_t)(id >> 8), (uint8_t)id}}},
        .gossip_port = 5001,
        .registry_port = 5000};
    snprintf(alive.zone, sizeof(alive.zone), "%s", zone);
    gossip_hear_alive(d->g, &alive, id);
    gossip_take_set(d->g, gossip_members_get(&d->g->members, id), 1, 0, NULL, 0);
}

/* Members 1 to `members`, all in zone "a". */
static inline void desk_open(struct desk *d, uint64_t members)
{
    struct gossip_config config = {.label = "desk",
                                   .id = SELF,
                                   .boot_ms = 1000,
                                   .self = {.addrs = {{.family = GOSSIP_IPV4, .ip = {10, 0, 0, 1}}},
                                            .gossip_port = 5001,
                                            .registry_port = 5000,
                                            .zone = "a"},
                                   .now_ms = 100000,
                                   .wall_ms = 100000};
    memset(d, 0, sizeof(*d));
    gossip_effects_init(&d->effects);
    assert_int_equal(gossip_new(&config, &d->g), 0);
    struct gossip_event listed = {.kind = GOSSIP_LOCAL_ADD, .now_ms = 100000, .wall_ms = 100000};
    gossip_step(d->g, &listed, &d->effects);
    d->g->effects = &d->effects;
    for (uint64_t id = 1; id <= members; id++) {
        desk_member(d, id, "a");
    }
    for (uint64_t ids[2] = {0}; ids[0] != SELF;) {
        gossip_swarm_arbiters(d->g, ++d->key, ids);
    }
}

static inline void desk_close(struct desk *d)
{
    gossip_free(d->g);
    gossip_effects_done(&d->effects);
}

static inline void desk_wait(struct desk *d, uint64_t ms)
{
    d->g->now_ms += ms;
    if (d->g->swarm) {
        gossip_leases_tick(d->g);
    }
}

static inline void desk_gone(struct desk *d, uint64_t id)
{
    struct gossip_accusation dead = {.id = id, .boot = 1000, .from = SELF};
    gossip_hear_accusation(d->g, GOSSIP_MSG_DEAD, &dead);
}

static inline void desk_holds(struct desk *d, uint64_t id)
{
    uint64_t key = d->key;
    gossip_take_set(d->g, gossip_members_get(&d->g->members, id), 2, gossip_mix(d->key), &key, 1);
}

struct failed {
    uint64_t id;
    enum gossip_swarm_fault fault;
};

static inline struct gossip_answer desk_want_failed(struct desk *d, uint64_t id, uint64_t bytes,
                                                    const struct failed *failed, size_t count)
{
    struct gossip_want want = {.key = d->key, .ask = ++d->ask, .bytes = bytes};
    struct gossip_answer answer = {.kind = GOSSIP_SWARM_NONE};
    for (size_t i = 0; i < count; i++) {
        want.failed[i].id = failed[i].id;
        want.failed[i].fault = failed[i].fault;
    }
    want.failed_count = (uint8_t)count;
    if (gossip_arbiter_want(d->g, id, &want, &answer)) {
        assert_int_equal(answer.ask, want.ask);
        assert_true(answer.key == d->key && answer.kind != GOSSIP_SWARM_NONE);
    }
    return answer;
}

static inline struct gossip_answer desk_want(struct desk *d, uint64_t id)
{
    return desk_want_failed(d, id, 0, NULL, 0);
}

static inline struct gossip_answer desk_fault(struct desk *d, uint64_t id, uint64_t bytes,
                                              uint64_t parent, enum gossip_swarm_fault fault)
{
    struct failed failed = {parent, fault};
    return desk_want_failed(d, id, bytes, &failed, 1);
}

static inline void desk_renew_full(struct desk *d, uint64_t id, struct gossip_renew renew)
{
    renew.key = d->key;
    renew.sequence = ++d->sequence;
    gossip_arbiter_renew(d->g, id, &renew);
}

/* It has so many bytes, from `parent`. */
static inline void desk_grows(struct desk *d, uint64_t id, uint64_t parent, uint64_t bytes)
{
    desk_renew_full(
        d, id,
        (struct gossip_renew){.state = GOSSIP_FLIGHT_GROWING, .parent = parent, .bytes = bytes});
}

static inline void desk_says(struct desk *d, uint64_t id, enum gossip_flight_state state)
{
    desk_renew_full(d, id, (struct gossip_renew){.state = (uint8_t)state});
}

static inline bool desk_offers(const struct gossip_answer *answer, uint64_t id)
{
    for (size_t i = 0; i < answer->count; i++) {
        if (answer->offers[i].id == id) {
            return true;
        }
    }
    return false;
}

static inline void assert_offered_first(const struct gossip_answer answer, uint64_t id)
{
    assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
    assert_int_equal(answer.offers[0].id, id);
}
