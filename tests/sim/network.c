#include "sim.h"

#include "gossip/state.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t sim_latency_us(struct sim *s)
{
    return s->net.latency_min_us +
           sim_random(s) % (s->net.latency_max_us - s->net.latency_min_us + 1);
}

void sim_cut(struct sim *s, size_t from, size_t to)
{
    if (s->cut_count < SIM_CUTS_MAX) {
        s->cuts[s->cut_count++] = (struct sim_cut){.from = from, .to = to};
    }
    s->calm_us = s->now_us;
}

static bool is_cut(const struct sim *s, const struct sim_node *from, const struct sim_node *to)
{
    for (size_t i = 0; i < s->cut_count; i++) {
        if (s->cuts[i].from == from->number && s->cuts[i].to == to->number) {
            return true;
        }
    }
    return from->group != to->group;
}

/* Near enough to exponential: the sum of bits of chance, halved each time. */
static uint64_t around_us(struct sim *s, unsigned mean_ms)
{
    uint64_t u = sim_random(s) % 1000000 + 1, ln_thousandths = 0;
    for (; u < 1000000; u *= 2) {
        ln_thousandths += 693;
    }
    return ln_thousandths * mean_ms;
}

static bool lost_in_burst(struct sim *s, struct sim_node *n)
{
    struct sim_link *link = &n->link;
    if (s->net.burst_loss == 0) {
        return false;
    }
    for (; link->turns_us <= s->now_us; link->bad = !link->bad) {
        uint64_t mean_ms = link->bad ? s->net.good_mean_ms : s->net.bad_mean_ms;
        link->turns_us =
            (link->turns_us ? link->turns_us : s->now_us) + 1 + around_us(s, (unsigned)mean_ms);
    }
    return link->bad && sim_chance(s, s->net.burst_loss);
}

/* When the datagram has left the node's uplink; UINT64_MAX: its queue is full. */
static uint64_t leaves_us(struct sim *s, struct sim_node *n, size_t len)
{
    if (s->net.bytes_per_s == 0) {
        return s->now_us;
    }
    uint64_t start_us = n->link.free_us > s->now_us ? n->link.free_us : s->now_us;
    if (start_us - s->now_us > (uint64_t)s->net.uplink_queue_ms * 1000) {
        return UINT64_MAX;
    }
    n->link.free_us = start_us + (len + SIM_UDP_BYTES) * 1000000 / s->net.bytes_per_s;
    return n->link.free_us;
}

void sim_give_ipv6(struct sim *s, size_t node, bool alone)
{
    struct sim_node *n = &s->nodes[node];
    n->addr6 = (struct gossip_addr){.family = GOSSIP_IPV6,
                                    .ip = {0xfd, [14] = (uint8_t)(node >> 8), (uint8_t)node},
                                    .port = SIM_GOSSIP_PORT};
    if (alone) {
        n->addr = n->addr6;
        n->addr6.family = GOSSIP_NO_ADDR;
    }
}

static bool shares_family(const struct sim_node *a, const struct sim_node *b)
{
    return a->addr.family == b->addr.family || a->addr6.family == b->addr.family ||
           a->addr.family == b->addr6.family;
}

/* As DNS has them: of either family, both of those that have both. So many can be spoken to. */
void sim_seed(struct sim *s, size_t node, size_t seeds)
{
    struct gossip_addr addrs[64];
    const struct sim_node *n = &s->nodes[node];
    size_t count = 0, heard = 0;
    addrs[count++] = n->addr;
    for (size_t guess = 0; guess < seeds * 20 && heard < seeds && count < 63; guess++) {
        const struct sim_node *other = &s->nodes[sim_random(s) % s->node_count];
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known = known || gossip_addr_equal(&addrs[i], &other->addr);
        }
        if (!known) {
            heard += shares_family(n, other);
            addrs[count++] = other->addr;
        }
        if (!known && other->addr6.family) {
            addrs[count++] = other->addr6;
        }
    }
    struct gossip_event event = {.kind = GOSSIP_SEEDS, .seeds = {addrs, count}};
    sim_event(s, node, &event);
}

/* Which of a node's addresses speaks to that one; NULL: none of its family. */
static const struct gossip_addr *speaks(const struct sim_node *n, const struct gossip_addr *to)
{
    return n->addr.family == to->family    ? &n->addr
           : n->addr6.family == to->family ? &n->addr6
                                           : NULL;
}

static void arrive(struct sim *s, const struct sim_node *from, size_t to, uint64_t at_us,
                   const struct gossip_send *send, bool stolen)
{
    struct sim_item *item = sim_item_new(SIM_PACKET, to, send->bytes, send->len);
    item->from = *speaks(from, &send->to);
    item->from.port = SIM_GOSSIP_PORT;
    item->stolen = stolen;
    if (stolen) {
        item->from.ip[item->from.family == GOSSIP_IPV4 ? 3 : 1] ^= 0x80;
    }
    sim_push(s, at_us, item);
}

void sim_send(struct sim *s, struct sim_node *from, const struct gossip_send *send)
{
    struct sim_node *to = sim_node_at(s, &send->to);
    s->packets++;
    from->sent.packets++;
    from->sent.bytes += send->len;
    if (send->len > LIMIT_GOSSIP_PACKET_BYTES) {
        sim_violation(s, "node %u sent %u bytes", from->number, send->len);
    }
    uint64_t left_us = leaves_us(s, from, send->len);
    if (!to || !speaks(from, &send->to) || send->to.port != SIM_GOSSIP_PORT ||
        is_cut(s, from, to) || left_us == UINT64_MAX ||
        (s->net.mtu && send->len + SIM_UDP_BYTES > s->net.mtu) || s->net.udp_blocked ||
        from->udp_blocked || to->udp_blocked) {
        return;
    }
    bool lost = sim_chance(s, s->net.loss) || lost_in_burst(s, from) || lost_in_burst(s, to);
    unsigned copies = (lost ? 0 : 1) + (unsigned)sim_chance(s, s->net.duplicate);
    for (unsigned i = 0; i < copies; i++) {
        uint64_t at_us = left_us + sim_latency_us(s);
        if (sim_chance(s, s->net.late)) {
            at_us += sim_random(s) % (s->net.late_max_ms * 1000 + 1);
        }
        arrive(s, from, to->number, at_us, send, false);
    }
    if (sim_chance(s, s->net.replay)) {
        /* Somebody on the way kept a copy, and sends it to anybody, much later: as its own, or with
         * the sender's address on it. */
        uint64_t at_us =
            s->now_us + 500000 + sim_random(s) % ((uint64_t)s->net.replay_max_ms * 1000 + 1);
        arrive(s, from, sim_random(s) % s->node_count, at_us, send, sim_chance(s, 500));
    }
}

/* --- bulk, over HTTP --- */

void sim_fetch(struct sim *s, struct sim_node *asker, const struct gossip_fetch *fetch)
{
    struct sim_node *to = sim_node_at(s, &fetch->from);
    struct sim_item *item = sim_item_new(SIM_SERVE, asker->number, NULL, 0);
    uint64_t at_us = s->now_us + 2 * sim_latency_us(s);
    item->life = asker->core;
    item->fetch = malloc(sizeof(*fetch));
    if (!item->fetch) {
        abort();
    }
    *item->fetch = *fetch;
    item->asker = asker->number;
    bool reachable = to && speaks(asker, &fetch->from) && !is_cut(s, asker, to) &&
                     !is_cut(s, to, asker) && !s->net.tcp_blocked;
    if (reachable && fetch->from.port == SIM_REGISTRY_PORT) {
        item->node = to->number;
    } else {
        item->kind = SIM_FETCHED; /* a connect that times out */
        item->status = -ETIMEDOUT;
        at_us = s->now_us + 1000000;
    }
    sim_push(s, at_us, item);
}

void sim_build_slice(const struct sim *s, struct gossip *core, uint64_t now_ms)
{
    size_t slice = s->build_slice + gossip_index_keys(core->index) / SIM_BUILD_SLICE_KEYS;
    slice = slice < GOSSIP_BUILD_SLICE ? slice : GOSSIP_BUILD_SLICE;
    bool spent = core->build_ms == now_ms && core->build_budget < slice;
    core->build_budget = spent ? core->build_budget : slice;
    core->build_ms = now_ms;
}

static void read_body(struct sim_item *item, size_t bytes)
{
    item->bytes = malloc(bytes);
    CHECK(item->bytes);
    while (item->len < bytes) {
        ssize_t got =
            gossip_serving_read(item->serving, item->bytes + item->len, bytes - item->len);
        CHECK(got > 0);
        item->len += (size_t)got;
    }
}

static void answer(struct sim *s, struct sim_item *item, int status, size_t bytes)
{
    const struct sim_node *n = &s->nodes[item->node];
    item->kind = SIM_FETCHED;
    item->node = item->asker;
    item->status = status;
    if (status == 0) {
        read_body(item, bytes);
    }
    if (s->taken && status == 0) {
        sim_note_taken(s, &s->nodes[item->asker], n, item->fetch->path);
    }
    s->served_busy += status == -EAGAIN;
    sim_push(s, s->now_us + sim_latency_us(s) + item->len / 100, item); /* 100 MB/s */
}

void sim_serve(struct sim *s, struct sim_item *item)
{
    struct sim_node *n = &s->nodes[item->node];
    int error = -ECONNREFUSED;
    if (n->core) {
        sim_build_slice(s, n->core, n->core->now_ms);
        error = gossip_serve_begin(n->core, item->fetch->path, item->fetch->auth, &item->serving);
    }
    if (error) {
        answer(s, item, error, 0);
        return;
    }
    struct sim_item **last = &n->serves;
    while (*last) {
        last = &(*last)->next;
    }
    *last = item;
}

void sim_serve_built(struct sim *s, struct sim_node *n)
{
    for (struct sim_item **at = &n->serves; *at;) {
        struct sim_item *item = *at;
        size_t bytes = 0;
        int status = gossip_serving_ready(item->serving, &bytes);
        if (status == -EINPROGRESS) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        answer(s, item, status, bytes);
    }
}
