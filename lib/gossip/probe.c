#include "gossip/state.h"

#include <stdlib.h>

#define PERIOD_MS 333
#define RETRY_MS 100
#define INDIRECT_AFTER_MS 300
#define INDIRECT_PEERS 3
#define NACK_MS 150 /* with the way there and back before the asker's deadline on good links */
#define RELAY_MS 500
#define SCORE_MAX 8
#define PIGGYBACK_BYTES 600
#define LATE_MS 200
/* First-try failures, 16 bits of fraction, above which links count as lossy. */
#define LOSS_SOME (65536 * 3 / 100)
#define LOSS_MUCH (65536 * 15 / 100)

unsigned gossip_loss(const struct gossip *g)
{
    return g->first_try_loss < LOSS_SOME ? 0 : g->first_try_loss < LOSS_MUCH ? 1 : 2;
}

/* The loss-adaptive deadline: with a fixed 500 ms at 30 % loss, 28 % of live pairs were suspect. */
static uint64_t deadline_ms(const struct gossip *g)
{
    uint64_t base = 500 * (1 + gossip_loss(g));
    return base + base * g->score / 4;
}

static void send_ping(struct gossip *g, uint32_t nonce, const struct gossip_member *target,
                      const struct gossip_addr *to)
{
    struct gossip_packet p;
    struct gossip_ping ping = {.target = target->id,
                               .nonce = nonce,
                               .cluster_hash = g->cluster_hash,
                               .state = (uint8_t)target->state,
                               .incarnation = target->incarnation};
    gossip_packet_begin(&p, GOSSIP_CLASS_PROBE);
    gossip_ping_write(&p.w, &ping);
    gossip_packet_fill(g, &p, PIGGYBACK_BYTES, 1);
    gossip_packet_send(g, &p, to, 1);
}

/* Those without UDP are not asked. But who has no answers from anybody, over UDP or otherwise, may
 * be wrong about its own, and so may they: two who are cut off from all others, say. */
static bool is_asked(const struct gossip *g, const struct gossip_member *m)
{
    return gossip_can_hear(g, m) ||
           (g->udp == GOSSIP_UDP_DOUBTED && m->tcp_only && gossip_shares_family(g, m));
}

void gossip_probe_now(struct gossip *g, struct gossip_member *m)
{
    struct gossip_probe *free_probe = NULL;
    for (size_t i = 0; i < LIMIT_GOSSIP_PROBES; i++) {
        if (g->probes[i].target == m->id) {
            return;
        }
        if (g->probes[i].target == 0) {
            free_probe = &g->probes[i];
        }
    }
    if (!free_probe || !gossip_member_is_live(m) || g->leaving || !is_asked(g, m)) {
        return;
    }
    struct gossip_addr to = gossip_member_addr(g, m);
    g->probes_open++;
    *free_probe = (struct gossip_probe){.target = m->id,
                                        .nonce = gossip_random_nonce(g),
                                        .started_ms = g->now_ms,
                                        .next_try_ms = g->now_ms + RETRY_MS,
                                        .deadline_ms = g->now_ms + deadline_ms(g),
                                        .tries = 1};
    g->stats.probes++;
    send_ping(g, free_probe->nonce, m, &to);
}

/* A fresh shuffle of everybody for each round, so that each is asked once a round and nobody can
 * tell when. */
static bool shuffle(struct gossip *g)
{
    if (g->probe_order_capacity < g->members.slots) {
        uint16_t *order = realloc(g->probe_order, g->members.capacity * sizeof(*order));
        if (!order) {
            g->stats.drop_memory++;
            return false;
        }
        g->probe_order = order;
        g->probe_order_capacity = g->members.capacity;
    }
    g->probe_cursor = g->probe_count = 0;
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        if (m != g->me && gossip_member_is_live(m) && is_asked(g, m)) {
            size_t at = (size_t)(gossip_random(g) % (g->probe_count + 1));
            g->probe_order[g->probe_count++] = g->probe_order[at];
            g->probe_order[at] = m->slot;
        }
    }
    return g->probe_count > 0;
}

static struct gossip_member *next_target(struct gossip *g)
{
    for (int round = 0; round < 2; round++) {
        while (g->probe_cursor < g->probe_count) {
            struct gossip_member *m = g->members.by_slot[g->probe_order[g->probe_cursor++]];
            if (m && m != g->me && gossip_member_is_live(m)) {
                return m;
            }
        }
        if (!shuffle(g)) {
            break;
        }
    }
    return NULL;
}

void gossip_hear_ping(struct gossip *g, const struct gossip_ping *ping,
                      struct gossip_member *sender, const struct gossip_addr *from, size_t len)
{
    struct gossip_packet p;
    bool for_us = ping->target == 0 || ping->target == g->me->id;
    struct gossip_ack ack = {.nonce = ping->nonce,
                             .cluster_hash = g->cluster_hash,
                             .load = g->me->load,
                             .flags = for_us ? 0 : GOSSIP_ACK_WRONG_TARGET};
    if (for_us && ping->target && !g->leaving &&
        (ping->state == GOSSIP_SUSPECT || ping->state == GOSSIP_DEAD) &&
        ping->incarnation >= g->me->incarnation) {
        g->stats.refutations++;
        gossip_raise_incarnation(g, ping->incarnation);
        gossip_note(g, GOSSIP_NOTE_REFUTED, g->me);
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_PROBE);
    gossip_ack_write(&p.w, &ack);
    if (for_us && (ping->target == 0 || ping->state != GOSSIP_ALIVE || g->leaving)) {
        gossip_packet_about(g, &p, g->me);
    }
    struct gossip_addr known = sender ? gossip_member_addr(g, sender) : *from;
    size_t room = PIGGYBACK_BYTES;
    if (!sender || !gossip_addr_equal(&known, from)) {
        /* Nobody has proved to be at this address: three times what came, envelope included. */
        size_t most =
            len * 3 > GOSSIP_SEAL_OVERHEAD_BYTES ? len * 3 - GOSSIP_SEAL_OVERHEAD_BYTES : 0;
        room = most < room ? most : room;
    }
    if (gossip_may_answer(g)) {
        gossip_packet_fill(g, &p, room, 1);
    }
    gossip_packet_send(g, &p, from, 1);
}

static void probe_end(struct gossip *g, struct gossip_probe *probe)
{
    probe->target = 0;
    g->probes_open--;
}

static void answered(struct gossip *g, struct gossip_probe *probe)
{
    gossip_udp_answered(g);
    uint32_t failed = probe->tries > 1 ? 65536 : 0;
    g->first_try_loss += (failed >> 5) - (g->first_try_loss >> 5);
    if (g->score > 0) {
        g->score--;
    }
    probe_end(g, probe);
}

static void relay_answer(struct gossip *g, struct gossip_relayed *r, const struct gossip_ack *ack)
{
    struct gossip_packet p;
    gossip_packet_begin(&p, GOSSIP_CLASS_PROBE);
    if (ack) {
        struct gossip_ack passed = *ack;
        passed.nonce = r->asker_nonce;
        passed.flags |= GOSSIP_ACK_RELAYED;
        gossip_ack_write(&p.w, &passed);
    } else {
        size_t mark = gossip_write_begin(&p.w, GOSSIP_MSG_NACK);
        gossip_write32(&p.w, r->asker_nonce);
        gossip_write_end(&p.w, mark);
    }
    gossip_packet_send(g, &p, &r->asker, 1);
}

static void relay_end(struct gossip *g, struct gossip_relayed *r)
{
    r->nonce = 0;
    g->relayed_open--;
}

static void relay_step(struct gossip *g, struct gossip_relayed *r)
{
    if (g->now_ms >= r->nack_ms) { /* an answer may follow */
        relay_answer(g, r, NULL);
        r->nack_ms = GOSSIP_NEVER_MS;
    }
    if (g->now_ms >= r->expires_ms) {
        relay_end(g, r);
    }
}

void gossip_hear_ack(struct gossip *g, const struct gossip_ack *ack, uint64_t sender,
                     const struct gossip_addr *from)
{
    if (ack->nonce == 0 || (ack->flags & GOSSIP_ACK_WRONG_TARGET)) {
        return; /* somebody else lives there now; the probe runs out */
    }
    if (gossip_answers_stranger_ping(g, ack->nonce)) {
        gossip_seed_answered(g, sender);
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_PROBES; i++) {
        /* From the target, or passed on by one of those we asked to ask. */
        if (g->probes[i].target && g->probes[i].nonce == ack->nonce &&
            (g->probes[i].target == sender || g->probes[i].indirect)) {
            struct gossip_member *m = gossip_members_get(&g->members, g->probes[i].target);
            if (m && g->probes[i].target == sender) {
                gossip_member_answered_from(m, from);
            }
            answered(g, &g->probes[i]);
        }
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_RELAYED_PROBES && g->relayed_open > 0; i++) {
        if (g->relayed[i].nonce == ack->nonce) {
            relay_answer(g, &g->relayed[i], ack);
            relay_end(g, &g->relayed[i]);
        }
    }
}

void gossip_hear_nack(struct gossip *g, uint32_t nonce)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_PROBES; i++) {
        if (g->probes[i].target && g->probes[i].nonce == nonce) {
            g->probes[i].nacks++;
        }
    }
}

void gossip_hear_ping_req(struct gossip *g, const struct gossip_ping_req *req,
                          const struct gossip_addr *from)
{
    const struct gossip_member *m = gossip_members_get(&g->members, req->target);
    /* Only towards members as we know them: nobody can have us ping a stranger's address. */
    if (!m || m == g->me) {
        return;
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_RELAYED_PROBES; i++) {
        struct gossip_relayed *r = &g->relayed[i];
        if (r->nonce == 0) {
            struct gossip_addr to = gossip_member_addr(g, m);
            *r = (struct gossip_relayed){.asker = *from,
                                         .nonce = gossip_random_nonce(g),
                                         .asker_nonce = req->nonce,
                                         .nack_ms = g->now_ms + NACK_MS,
                                         .expires_ms = g->now_ms + RELAY_MS};
            g->relayed_open++;
            send_ping(g, r->nonce, m, &to);
            return;
        }
    }
    g->stats.drop_cap++;
}

static void ask_others(struct gossip *g, struct gossip_probe *probe, const struct gossip_member *m)
{
    struct gossip_packet p;
    struct gossip_member *peers[INDIRECT_PEERS];
    struct gossip_addr to[INDIRECT_PEERS];
    struct gossip_ping_req req = {
        .target = m->id, .addr = gossip_member_addr(g, m), .nonce = probe->nonce};
    size_t count = gossip_random_members(g, m, peers, INDIRECT_PEERS);
    probe->indirect = true;
    if (count == 0 || req.addr.family == GOSSIP_NO_ADDR) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        to[i] = gossip_member_addr(g, peers[i]);
    }
    gossip_packet_begin(&p, GOSSIP_CLASS_PROBE);
    gossip_ping_req_write(&p.w, &req);
    gossip_packet_send(g, &p, to, count);
}

static void probe_step(struct gossip *g, struct gossip_probe *probe)
{
    struct gossip_member *m = gossip_members_get(&g->members, probe->target);
    if (!m || !gossip_member_is_live(m)) {
        probe_end(g, probe);
        return;
    }
    if (g->now_ms >= probe->deadline_ms && g->udp != GOSSIP_UDP_OPEN) {
        probe_end(g, probe); /* nobody answers us: it is not them */
        return;
    }
    if (g->now_ms >= probe->deadline_ms) {
        g->stats.probes_failed++;
        if (probe->nacks == 0 && g->live > 2 && g->score < SCORE_MAX) {
            g->score++; /* those we asked to ask are silent too: perhaps it is us */
        }
        probe_end(g, probe);
        gossip_suspect(g, m, g->me->id);
        return;
    }
    if (!probe->indirect && g->now_ms >= probe->started_ms + INDIRECT_AFTER_MS) {
        ask_others(g, probe, m);
    }
    if (g->now_ms >= probe->next_try_ms) {
        struct gossip_addr to =
            probe->tries % 2 ? gossip_member_other_addr(g, m) : gossip_member_addr(g, m);
        probe->tries++;
        probe->next_try_ms = g->now_ms + RETRY_MS;
        send_ping(g, probe->nonce, m, &to);
    }
}

void gossip_probe_late(struct gossip *g)
{
    if (g->wake_ms == 0 || g->now_ms < g->wake_ms + LATE_MS) {
        return;
    }
    /* We did not run when we should have: answers may lie unread, and so may what suspects say for
     * themselves. Nothing can be concluded. */
    g->udp_ms = g->now_ms;
    uint64_t late_ms = g->now_ms - g->wake_ms;
    LIST_EACH (link, &g->suspects) {
        CONTAINER_OF(link, struct gossip_doubt, suspected)->suspicion.started_ms += late_ms;
    }
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        m->state_ms += m->tcp_only && gossip_member_is_live(m) ? late_ms : 0; /* of its last sign */
    }
    if (g->score < SCORE_MAX) {
        g->score++;
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_PROBES; i++) {
        g->probes[i].target = 0;
    }
    g->probes_open = 0;
}

void gossip_probe_tick(struct gossip *g)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_PROBES && g->probes_open > 0; i++) {
        if (g->probes[i].target) {
            probe_step(g, &g->probes[i]);
        }
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_RELAYED_PROBES && g->relayed_open > 0; i++) {
        if (g->relayed[i].nonce) {
            relay_step(g, &g->relayed[i]);
        }
    }
    if (g->now_ms >= g->next_probe_ms) {
        g->next_probe_ms = g->now_ms + PERIOD_MS - 15 + gossip_random(g) % 31;
        struct gossip_member *m = g->leaving ? NULL : next_target(g);
        if (m) {
            gossip_probe_now(g, m);
        }
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t gossip_probe_wake_ms(const struct gossip *g)
{
    uint64_t wake_ms = g->next_probe_ms;
    for (size_t i = 0, left = g->probes_open; i < LIMIT_GOSSIP_PROBES && left > 0; i++) {
        const struct gossip_probe *probe = &g->probes[i];
        if (probe->target) {
            left--;
            wake_ms = sooner(wake_ms, sooner(probe->next_try_ms, probe->deadline_ms));
            if (!probe->indirect) {
                wake_ms = sooner(wake_ms, probe->started_ms + INDIRECT_AFTER_MS);
            }
        }
    }
    for (size_t i = 0, left = g->relayed_open; i < LIMIT_GOSSIP_RELAYED_PROBES && left > 0; i++) {
        if (g->relayed[i].nonce) {
            left--;
            wake_ms = sooner(wake_ms, sooner(g->relayed[i].nack_ms, g->relayed[i].expires_ms));
        }
    }
    return wake_ms;
}
