#include "gossip/swarm_state.h"

#include <stdlib.h>

struct gossip_swarm *gossip_swarm_of(struct gossip *g)
{
    if (g->swarm) {
        return g->swarm;
    }
    struct gossip_swarm *s = calloc(1, sizeof(*s));
    if (!s) {
        g->stats.drop_memory++;
        return NULL;
    }
    map_init(&s->leases);
    map_init(&s->parts);
    map_init(&s->asks);
    map_init(&s->flights);
    list_init(&s->lease_list);
    list_init(&s->ask_list);
    list_init(&s->flight_list);
    s->asks_ms = s->flights_ms = s->sweep_ms = GOSSIP_NEVER_MS;
    g->swarm = s;
    return s;
}

void gossip_swarm_free(struct gossip *g)
{
    struct gossip_swarm *s = g->swarm;
    if (!s) {
        return;
    }
    gossip_leases_done(s);
    LIST_EACH_SAFE (link, &s->ask_list) {
        free(CONTAINER_OF(link, struct gossip_ask, link));
    }
    LIST_EACH_SAFE (link, &s->flight_list) {
        free(CONTAINER_OF(link, struct gossip_own_flight, link));
    }
    map_done(&s->asks);
    map_done(&s->flights);
    free(s);
    g->swarm = NULL;
}

void gossip_swarm_send(struct gossip *g, struct gossip_packet *p, uint64_t to,
                       const struct gossip_addr *addr)
{
    struct gossip_swarm *s = g->swarm;
    const struct gossip_member *m = gossip_members_get(&g->members, to);
    if (!m) {
        return;
    }
    if (g->now_ms - s->second_ms >= 1000) {
        s->second_ms = g->now_ms;
        s->second_packets = 0;
    }
    if (s->second_packets >= LIMIT_SWARM_PACKETS_PER_S) {
        g->stats.drop_rate++;
        return;
    }
    s->second_packets++;
    struct gossip_addr where = addr ? *addr : gossip_member_addr(g, m);
    gossip_packet_send(g, p, &where, 1);
}

void gossip_swarm_event(struct gossip *g, const struct gossip_event *event)
{
    if (event->kind == GOSSIP_WANT) {
        gossip_ask_start(g, &event->want);
    } else if (event->kind == GOSSIP_FLIGHT && gossip_swarm_of(g)) {
        gossip_flight_said(g, &event->flight);
    } else if (event->kind == GOSSIP_WANT_END && g->swarm) {
        gossip_ask_end(g, event->ask);
    }
}

static int hear_want(struct gossip *g, const struct gossip_member *sender,
                     const struct gossip_addr *from, struct gossip_reader *r)
{
    struct gossip_want want;
    struct gossip_answer answer;
    int error = gossip_want_read(r, &want);
    if (error == 0 && sender && gossip_arbiter_want(g, sender->id, &want, &answer)) {
        struct gossip_packet p;
        gossip_packet_begin(&p, GOSSIP_CLASS_SWARM);
        gossip_answer_write(&p.w, &answer);
        gossip_swarm_send(g, &p, sender->id, from);
    }
    return error;
}

int gossip_swarm_hear(struct gossip *g, const struct gossip_member *sender,
                      const struct gossip_addr *from, uint8_t type, struct gossip_reader *r)
{
    struct gossip_answer answer;
    struct gossip_renew renew;
    int error;
    if (type == GOSSIP_MSG_WANT) {
        return hear_want(g, sender, from, r);
    }
    if (type == GOSSIP_MSG_GRANT || type == GOSSIP_MSG_OFFER) {
        error = gossip_answer_read(r, type, &answer);
        if (error == 0 && sender && g->swarm) {
            gossip_ask_answered(g, &answer, sender->id);
        }
        return error;
    }
    error = gossip_renew_read(r, type, &renew);
    if (error == 0 && sender) {
        gossip_arbiter_renew(g, sender->id, &renew);
    }
    return error;
}

void gossip_swarm_member_changed(struct gossip *g, const struct gossip_member *m)
{
    if (g->swarm) {
        gossip_flights_member_changed(g, m);
    }
}

void gossip_swarm_tick(struct gossip *g)
{
    if (g->swarm) {
        gossip_flights_tick(g);
        gossip_asks_tick(g);
        gossip_leases_tick(g);
    }
}

uint64_t gossip_swarm_wake_ms(const struct gossip *g)
{
    const struct gossip_swarm *s = g->swarm;
    if (!s) {
        return GOSSIP_NEVER_MS;
    }
    uint64_t wake_ms = s->asks_ms < s->flights_ms ? s->asks_ms : s->flights_ms;
    return s->sweep_ms < wake_ms ? s->sweep_ms : wake_ms;
}

bool gossip_leases(const struct gossip *g, size_t *cursor, struct gossip_lease_view *ret_view)
{
    size_t at = 0;
    struct list *link = g->swarm ? g->swarm->lease_list.next : NULL;
    for (; link && link != &g->swarm->lease_list && at < *cursor; at++) {
        link = link->next;
    }
    if (!link || link == &g->swarm->lease_list) {
        return false;
    }
    ++*cursor;
    const struct gossip_lease *lease = CONTAINER_OF(link, struct gossip_lease, link);
    struct gossip_lease_view view = {
        .key = lease->key, .leader = lease->leader, .age_ms = g->now_ms - lease->since_ms};
    const size_t deepest = sizeof(view.depths) / sizeof(view.depths[0]) - 1;
    gossip_choice_begin(g);
    LIST_EACH (part_link, &lease->parts) {
        struct gossip_part *p = CONTAINER_OF(part_link, struct gossip_part, in_lease);
        bool grows = p->state == GOSSIP_PART_WAITING || p->state == GOSSIP_PART_GROWING;
        gossip_part_judge(g, p);
        view.followers += grows && !p->leads;
        if (grows && p->live) {
            view.depths[p->depth < deepest ? p->depth : deepest]++;
        }
        if (p->place.id == lease->leader) {
            view.leader_heard_ms_ago = g->now_ms - p->heard_ms;
            view.leader_bytes = p->bytes;
        }
    }
    *ret_view = view;
    return true;
}

void gossip_swarm_stats(const struct gossip *g, struct gossip_swarm_stats *ret_stats)
{
    *ret_stats = (struct gossip_swarm_stats){0};
    if (g->swarm) {
        *ret_stats = g->swarm->stats;
        ret_stats->leases = (uint32_t)g->swarm->leases.count;
        ret_stats->participants = (uint32_t)g->swarm->parts.count;
        ret_stats->asks_open = (uint32_t)g->swarm->asks.count;
        ret_stats->flights = (uint32_t)g->swarm->flights.count;
    }
}
