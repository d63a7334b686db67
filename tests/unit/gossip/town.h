/* town.h - a handful of cores that hear one another at once, in virtual time.
 *
 * The simulation has latency, loss and everything else; here a test wants to say "b hears a" and
 * look. House i lives at 10.0.0.(i + 1). */
#pragma once

#include "support.h"

#include "gossip/core.h"
#include "gossip/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef HOUSES /* a test may want more */
#define HOUSES 6
#endif
#define LETTERS 4096

struct letter {
    struct gossip_addr from, to;
    uint16_t len;
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
};

struct town {
    struct gossip *core[HOUSES];
    uint64_t wake_ms[HOUSES], now_ms;
    bool cut[HOUSES];               /* hears nobody, is heard by nobody */
    bool no_udp[HOUSES];            /* but over TCP it does */
    bool lost[HOUSES][HOUSES];      /* datagrams from one to the other; not back */
    struct letter letters[LETTERS]; /* to be delivered */
    size_t letter_count;
    struct letter last; /* the last one delivered */
    struct gossip_effects effects;
    unsigned notes[16]; /* by kind, of all */
    struct gossip_answer answers[64];
    size_t answer_count;
};

static inline struct gossip_addr house_addr(size_t i)
{
    return (struct gossip_addr){
        .family = GOSSIP_IPV4, .ip = {10, 0, 0, (uint8_t)(i + 1)}, .port = 5001};
}

static inline uint64_t house_id(size_t i)
{
    return 0x100 + i;
}

static inline void town_step(struct town *t, size_t i, struct gossip_event *event)
{
    event->now_ms = t->now_ms;
    event->wall_ms = 1000000 + t->now_ms;
    gossip_step(t->core[i], event, &t->effects);
    t->wake_ms[i] = t->effects.wake_at_ms;
    for (size_t k = 0; k < t->effects.note_count; k++) {
        t->notes[t->effects.notes[k].kind]++;
    }
    for (size_t k = 0; k < t->effects.answer_count; k++) {
        t->answers[t->answer_count++ % 64] = t->effects.answers[k];
    }
    for (size_t k = 0; k < t->effects.send_count && t->letter_count < LETTERS; k++) {
        struct letter *l = &t->letters[t->letter_count++];
        l->from = house_addr(i);
        l->to = t->effects.sends[k].to;
        l->len = t->effects.sends[k].len;
        memcpy(l->bytes, t->effects.sends[k].bytes, l->len);
    }
    struct gossip_fetch fetches[LIMIT_GOSSIP_FETCHES];
    size_t fetch_count = t->effects.fetch_count;
    if (fetch_count) {
        memcpy(fetches, t->effects.fetches, fetch_count * sizeof(fetches[0]));
    }
    for (size_t k = 0; k < fetch_count; k++) {
        struct buf body;
        size_t from = (size_t)fetches[k].from.ip[3] - 1;
        buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
        int status = from < HOUSES && t->core[from] && !t->cut[from] && !t->cut[i]
                         ? gossip_serve(t->core[from], fetches[k].path, fetches[k].auth, &body)
                         : -1;
        if (status == 0) {
            struct gossip_event tick = {.kind = GOSSIP_TICK};
            town_step(t, from, &tick);
        }
        struct gossip_event fetched = {
            .kind = GOSSIP_FETCHED,
            .fetched = {fetches[k].id, status, status ? NULL : (uint8_t *)body.data, body.len}};
        town_step(t, i, &fetched);
        buf_done(&body);
    }
}

static inline void town_hear(struct town *t, size_t i, const struct letter *l)
{
    struct gossip_event event = {.kind = GOSSIP_PACKET, .packet = {l->from, l->bytes, l->len}};
    town_step(t, i, &event);
}

static inline void town_deliver(struct town *t)
{
    for (size_t k = 0; k < t->letter_count; k++) {
        struct letter l = t->letters[k];
        size_t to = (size_t)l.to.ip[3] - 1, from = (size_t)l.from.ip[3] - 1;
        t->last = l;
        if (l.to.ip[0] == 10 && to < HOUSES && t->core[to] && !t->cut[to] && !t->cut[from] &&
            !t->no_udp[to] && !t->no_udp[from] && !t->lost[from][to]) {
            town_hear(t, to, &l);
        }
    }
    t->letter_count = 0;
}

/* From one moment at which something happens to the next: a day of an idle town is soon over. */
static inline void town_run(struct town *t, uint64_t ms)
{
    uint64_t end_ms = t->now_ms + ms;
    while (t->now_ms < end_ms) {
        uint64_t next_ms = end_ms;
        for (size_t i = 0; i < HOUSES; i++) {
            if (t->core[i] && t->now_ms >= t->wake_ms[i]) {
                struct gossip_event tick = {.kind = GOSSIP_TICK};
                town_step(t, i, &tick);
            }
        }
        town_deliver(t);
        for (size_t i = 0; i < HOUSES; i++) {
            if (t->core[i] && t->wake_ms[i] < next_ms) {
                next_ms = t->wake_ms[i];
            }
        }
        t->now_ms = t->letter_count || next_ms <= t->now_ms ? t->now_ms + 1 : next_ms;
    }
}

static inline struct gossip_config house_config(const struct town *t, size_t i)
{
    struct gossip_config config = {
        .label = "town",
        .id = house_id(i),
        .boot_ms = 1000000 + t->now_ms,
        .self = {.addrs = {house_addr(i)}, .gossip_port = 5001, .registry_port = 5000},
        .now_ms = t->now_ms,
        .wall_ms = 1000000 + t->now_ms};
    memset(config.seed, (int)(i + 1), sizeof(config.seed));
    config.seed[31] = (uint8_t)t->now_ms;
    return config;
}

static inline void town_init(struct town *t)
{
    memset(t, 0, sizeof(*t));
    t->now_ms = 1000;
    gossip_effects_init(&t->effects);
}

static inline void town_done(struct town *t)
{
    for (size_t i = 0; i < HOUSES; i++) {
        gossip_free(t->core[i]);
    }
    gossip_effects_done(&t->effects);
}

/* Somebody moves in, and is told of house `seed` (of nobody when that is their own). */
static inline void town_start(struct town *t, size_t i, size_t seed)
{
    struct gossip_config config = house_config(t, i);
    assert_int_equal(gossip_new(&config, &t->core[i]), 0);
    struct gossip_addr addr = house_addr(seed);
    struct gossip_event event = {.kind = GOSSIP_SEEDS, .seeds = {&addr, 1}};
    town_step(t, i, &event);
}

static inline void town_add(struct town *t, size_t i, uint64_t first, size_t count)
{
    uint64_t keys[1000];
    for (size_t k = 0; k < count; k++) {
        keys[k] = first + k;
    }
    struct gossip_event event = {.kind = GOSSIP_LOCAL_ADD, .keys = {keys, count}};
    town_step(t, i, &event);
}

static inline bool town_finds(const struct town *t, size_t i, uint64_t key, size_t holder)
{
    struct gossip_holder holders[HOUSES];
    size_t count = gossip_lookup(t->core[i], key, holders, HOUSES);
    for (size_t k = 0; k < count; k++) {
        if (holders[k].id == house_id(holder)) {
            assert_int_equal(holders[k].addrs[0].port, 5000);
            return true;
        }
    }
    return false;
}

static inline bool town_member(const struct town *t, size_t i, uint64_t id,
                               struct gossip_member_view *ret_view)
{
    size_t cursor = 0;
    while (gossip_members(t->core[i], &cursor, ret_view)) {
        if (ret_view->id == id) {
            return true;
        }
    }
    return false;
}

static inline struct gossip_stats town_stats(const struct town *t, size_t i)
{
    struct gossip_stats stats;
    gossip_stats(t->core[i], &stats);
    return stats;
}

/* A member that lives in no house: `g` has heard of it, and that is all there is. */
static inline struct gossip_member *town_introduce(struct gossip *g, size_t number)
{
    struct gossip_alive a = {
        .id = 0x1000 + number, .boot = 5, .salt = 1, .gossip_port = 5001, .registry_port = 5000};
    a.addrs[0] = (struct gossip_addr){
        .family = GOSSIP_IPV4, .ip = {10, 1, (uint8_t)(number / 200), (uint8_t)(number % 200 + 1)}};
    gossip_hear_alive(g, &a, a.id);
    return gossip_members_get(&g->members, a.id);
}
