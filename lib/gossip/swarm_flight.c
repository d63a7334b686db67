#include "gossip/swarm_state.h"

#include <stdlib.h>

#define REPEAT_MS                                                                                  \
    100 /* what a leader says and what is said once is said twice: packets get lost                \
         */

static uint64_t weight(uint64_t key, uint64_t id)
{
    return gossip_mix(key ^ gossip_mix(id));
}

static void weigh(uint64_t key, uint64_t id, uint64_t ids[2])
{
    if (ids[0] == 0 || weight(key, id) > weight(key, ids[0])) {
        ids[1] = ids[0];
        ids[0] = id;
    } else if (ids[1] == 0 || weight(key, id) > weight(key, ids[1])) {
        ids[1] = id;
    }
}

void gossip_swarm_arbiters(const struct gossip *g, uint64_t key, uint64_t ret_ids[2])
{
    ret_ids[0] = ret_ids[1] = 0;
    if (g->contents_listed && !g->leaving && !g->me->tcp_only) {
        weigh(key, g->me->id, ret_ids);
    }
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        if (m->selectable && !m->tcp_only) {
            weigh(key, m->id, ret_ids);
        }
    }
    if (ret_ids[0] == 0) {
        ret_ids[0] = g->me->id;
    }
}

static void tell(struct gossip *g, struct gossip_own_flight *f)
{
    struct gossip_renew renew = {.key = f->flight.key,
                                 .sequence = ++g->swarm->sequence,
                                 .state = (uint8_t)f->flight.state,
                                 .parent = f->flight.parent,
                                 .bytes = f->flight.bytes,
                                 .idle_ms = f->flight.idle_ms,
                                 .load = g->me->load};
    f->told_ms = g->now_ms;
    for (size_t i = 0; i < 2 && f->arbiters[i]; i++) {
        struct gossip_packet p;
        if (f->arbiters[i] == g->me->id) {
            gossip_arbiter_renew(g, g->me->id, &renew);
            continue;
        }
        gossip_packet_begin(&p, GOSSIP_CLASS_SWARM);
        gossip_renew_write(&p.w, &renew);
        gossip_swarm_send(g, &p, f->arbiters[i], NULL);
    }
}

static void again(struct gossip *g, struct gossip_own_flight *f, uint64_t at_ms)
{
    f->next_ms = at_ms;
    g->swarm->flights_ms = at_ms < g->swarm->flights_ms ? at_ms : g->swarm->flights_ms;
}

static void forget(struct gossip_swarm *s, struct gossip_own_flight *f)
{
    map_remove(&s->flights, &f->by_key);
    list_remove(&f->link);
    free(f);
}

static struct gossip_own_flight *make(struct gossip *g, const struct gossip_flight *flight)
{
    struct gossip_swarm *s = g->swarm;
    struct gossip_own_flight *f =
        s->flights.count < LIMIT_SWARM_FLIGHTS ? calloc(1, sizeof(*f)) : NULL;
    if (!f) {
        return NULL;
    }
    f->flight = *flight;
    f->next_ms = GOSSIP_NEVER_MS;
    if (map_insert(&s->flights, &f->by_key, &f->flight.key, sizeof(f->flight.key))) {
        free(f);
        return NULL;
    }
    list_push_back(&s->flight_list, &f->link);
    gossip_swarm_arbiters(g, flight->key, f->arbiters);
    return f;
}

void gossip_flight_said(struct gossip *g, const struct gossip_flight *flight)
{
    struct gossip_swarm *s = g->swarm;
    struct map_node *node = map_get(&s->flights, &flight->key, sizeof(flight->key));
    struct gossip_own_flight *f =
        node ? CONTAINER_OF(node, struct gossip_own_flight, by_key) : NULL;
    bool held = flight->state == GOSSIP_FLIGHT_HELD;
    bool is_new = !f;
    if (is_new && held) {
        return; /* nobody was told of it; the index will */
    }
    f = f ? f : make(g, flight);
    if (!f) {
        g->stats.drop_cap++;
        return;
    }
    bool changed = is_new || f->flight.state != flight->state || f->flight.parent != flight->parent;
    f->flight = *flight;
    /* A caller's second is not exactly ours. */
    if (!changed && g->now_ms - f->told_ms < LIMIT_SWARM_RENEW_MS * 3 / 4) {
        return;
    }
    tell(g, f);
    if (held) {
        forget(s, f);
    } else if (changed) {
        again(g, f, g->now_ms + REPEAT_MS);
    }
}

void gossip_flights_tick(struct gossip *g)
{
    struct gossip_swarm *s = g->swarm;
    if (g->now_ms < s->flights_ms) {
        return;
    }
    s->flights_ms = GOSSIP_NEVER_MS;
    LIST_EACH_SAFE (link, &s->flight_list) {
        struct gossip_own_flight *f = CONTAINER_OF(link, struct gossip_own_flight, link);
        if (g->now_ms < f->next_ms) {
            s->flights_ms = f->next_ms < s->flights_ms ? f->next_ms : s->flights_ms;
            continue;
        }
        f->next_ms = GOSSIP_NEVER_MS;
        tell(g, f);
        if (f->flight.state == GOSSIP_FLIGHT_GONE) {
            forget(s, f);
        }
    }
}

void gossip_flights_member_changed(struct gossip *g, const struct gossip_member *m)
{
    LIST_EACH (link, &g->swarm->flight_list) {
        struct gossip_own_flight *f = CONTAINER_OF(link, struct gossip_own_flight, link);
        uint64_t first = f->arbiters[0], key = f->flight.key;
        bool was = m->id == first || m->id == f->arbiters[1];
        bool is = m->selectable && !m->tcp_only &&
                  (f->arbiters[1] == 0 || weight(key, m->id) > weight(key, f->arbiters[1]));
        if (was || is) {
            gossip_swarm_arbiters(g, key, f->arbiters);
            if (f->arbiters[0] != first) {
                again(g, f, g->now_ms);
            }
        }
    }
}
