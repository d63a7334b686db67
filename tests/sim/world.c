#include "sim.h"

#include "gossip/key.h"

#include "base/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CPU_EVERY 127 /* steps; asking for the time costs more than a step */

uint64_t sim_random(struct sim *s)
{
    s->random += UINT64_C(0x9e3779b97f4a7c15);
    return gossip_mix(s->random);
}

bool sim_chance(struct sim *s, unsigned thousandths)
{
    return thousandths && sim_random(s) % 1000 < thousandths;
}

uint64_t sim_ms(const struct sim *s)
{
    return s->now_us / 1000 - SIM_START_MS;
}

/* --- who is who --- */

static void addr_of(size_t number, struct gossip_addr *ret_addr)
{
    *ret_addr =
        (struct gossip_addr){.family = GOSSIP_IPV4,
                             .ip = {10, 0, (uint8_t)(number / 100), (uint8_t)(number % 100 + 1)},
                             .port = SIM_GOSSIP_PORT};
}

struct sim_node *sim_node_at(struct sim *s, const struct gossip_addr *addr)
{
    size_t number = (size_t)addr->ip[2] * 100 + addr->ip[3] - 1;
    if (addr->family == GOSSIP_IPV6) {
        number = (size_t)addr->ip[14] << 8 | addr->ip[15];
        return addr->ip[0] == 0xfd && number < s->node_count ? &s->nodes[number] : NULL;
    }
    bool ours = addr->family == GOSSIP_IPV4 && addr->ip[0] == 10 && addr->ip[1] == 0;
    return ours && addr->ip[3] > 0 && addr->ip[3] <= 100 && number < s->node_count
               ? &s->nodes[number]
               : NULL;
}

static void note_id(struct sim *s, const struct sim_node *n)
{
    size_t mask = s->by_id_capacity - 1, at = gossip_mix(n->id) & mask;
    while (s->by_id[at] && s->nodes[s->by_id[at] - 1].id != n->id) {
        at = (at + 1) & mask;
    }
    s->by_id[at] = s->by_id[at] ? s->by_id[at] : n->number + 1;
}

struct sim_node *sim_node_of(struct sim *s, uint64_t id)
{
    size_t mask = s->by_id_capacity - 1;
    for (size_t at = gossip_mix(id) & mask; s->by_id[at]; at = (at + 1) & mask) {
        struct sim_node *n = &s->nodes[s->by_id[at] - 1];
        if (n->id == id && n->core) {
            return n;
        }
    }
    return NULL;
}

/* Ids change so rarely (lost disks, clones) that making the table anew is plain and cheap. */
static void note_ids(struct sim *s)
{
    memset(s->by_id, 0, s->by_id_capacity * sizeof(*s->by_id));
    for (size_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].id && s->nodes[i].core) {
            note_id(s, &s->nodes[i]);
        }
    }
}

/* --- events --- */

static void arm(struct sim *s, struct sim_node *n, uint64_t wake_ms)
{
    if (n->wake_us == wake_ms * 1000 && n->armed == n->core) {
        return;
    }
    struct sim_item *item = sim_item_new(SIM_TIMER, n->number, NULL, 0);
    item->life = n->core;
    n->wake_us = wake_ms * 1000;
    n->armed = n->core;
    sim_push(s, n->wake_us, item);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void step(struct sim *s, struct sim_node *n, const struct gossip_event *event)
{
    bool timed = s->steps++ % CPU_EVERY == 0;
    if (n->serves) {
        sim_build_slice(s, n->core, event->now_ms);
    }
    uint64_t start_ns = timed ? cpu_ns() : 0;
    gossip_step(n->core, event, &s->effects);
    s->core_cpu_ns += timed ? (cpu_ns() - start_ns) * CPU_EVERY : 0;
}

void sim_event(struct sim *s, size_t node, struct gossip_event *event)
{
    struct sim_node *n = &s->nodes[node];
    if (!n->core) {
        return;
    }
    event->now_ms = s->now_us / 1000;
    event->wall_ms = (uint64_t)((int64_t)(SIM_WALL_MS + sim_ms(s)) + n->skew_ms);
    step(s, n, event);
    sim_check_queues(s, n);
    if (s->effects.wake_at_ms <= event->now_ms || s->effects.wake_at_ms > event->now_ms + 1000) {
        sim_violation(s, "node %u: wakes at %llu ms, now %llu ms", n->number,
                      (unsigned long long)s->effects.wake_at_ms, (unsigned long long)event->now_ms);
    }
    for (size_t i = 0; i < s->effects.send_count; i++) {
        sim_send(s, n, &s->effects.sends[i]);
    }
    for (size_t i = 0; i < s->effects.fetch_count; i++) {
        sim_fetch(s, n, &s->effects.fetches[i]);
    }
    for (size_t i = 0; s->rollout && i < s->effects.answer_count; i++) {
        sim_rollout_answer(s, node, &s->effects.answers[i]);
    }
    if (s->effects.persist) {
        s->ids += gossip_identity(n->core).id != n->id;
        n->id = gossip_identity(n->core).id;
        n->boot = gossip_identity(n->core).boot_ms;
        note_ids(s);
    }
    if (!n->ready_us && gossip_is_ready(n->core)) {
        n->ready_us = s->now_us;
        uint64_t bytes = n->fetched_bytes + n->heard_bytes;
        s->join_bytes = bytes > s->join_bytes ? bytes : s->join_bytes;
    }
    arm(s, n, s->effects.wake_at_ms);
    sim_serve_built(s, n);
    sim_check_step(s, n);
}

static void trace_packet(struct sim *s, const struct sim_item *item)
{
    uint64_t h = s->trace ^ s->now_us ^ (uint64_t)item->node << 40;
    for (size_t i = 0; i + 8 <= item->len; i += 8) {
        uint64_t word;
        memcpy(&word, item->bytes + i, 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    s->trace = h;
}

static void fetched(struct sim *s, struct sim_item *item)
{
    struct sim_node *n = &s->nodes[item->node];
    struct gossip_event event = {.kind = GOSSIP_FETCHED};
    event.fetched.id = item->fetch->id;
    event.fetched.status = item->status;
    event.fetched.bytes = item->bytes;
    event.fetched.len = item->len;
    n->fetched_bytes += item->len;
    s->fetched_bytes += item->len;
    if (item->status == 0 && strstr(item->fetch->path, "/set/")) {
        n->fetched_sets++;
        s->fetched_sets++;
    }
    sim_event(s, item->node, &event);
}

/* False: somebody has taken the item, its node's socket when it does not run right now. */
static bool happen(struct sim *s, struct sim_item *item)
{
    struct sim_node *n = &s->nodes[item->node];
    struct gossip_event event = {.kind = GOSSIP_TICK};
    if (item->kind == SIM_SERVE && n->core && n->stalled_until_us > s->now_us) {
        sim_push(s, n->stalled_until_us, item);
        return false;
    }
    if (item->kind == SIM_SERVE) {
        size_t node = item->node;
        sim_serve(s, item);
        sim_event(s, node, &event);
        return false;
    }
    if (!n->core || (item->life && item->life != n->core)) {
        return true;
    }
    if (n->stalled_until_us > s->now_us) {
        sim_push(s, n->stalled_until_us, item);
        return false;
    }
    if (item->kind == SIM_PACKET) {
        trace_packet(s, item);
        event.kind = GOSSIP_PACKET;
        event.packet.from = item->from;
        event.packet.bytes = item->bytes;
        event.packet.len = item->len;
        n->heard_bytes += item->len;
        sim_event(s, item->node, &event);
        sim_check_amplified(s, item);
    } else if (item->kind == SIM_TIMER && s->now_us >= n->wake_us) {
        sim_event(s, item->node, &event);
    } else if (item->kind == SIM_FETCHED) {
        fetched(s, item);
    } else if (item->kind == SIM_END) {
        sim_kill(s, item->node);
    }
    return true;
}

void sim_run(struct sim *s, uint64_t ms)
{
    uint64_t at_us, end_us = s->now_us + ms * 1000;
    struct sim_item *item;
    while (sim_pop(s, end_us, &at_us, &item)) {
        s->now_us = at_us > s->now_us ? at_us : s->now_us;
        if (happen(s, item)) {
            sim_item_free(item);
        }
    }
    s->now_us = end_us;
}

/* --- nodes --- */

void sim_init(struct sim *s, uint64_t seed, size_t nodes)
{
    CHECK(nodes <= SIM_NODES_MAX);
    memset(s, 0, sizeof(*s));
    s->seed = seed;
    s->random = gossip_mix(seed);
    s->now_us = (uint64_t)SIM_START_MS * 1000;
    s->node_count = nodes;
    s->build_slice = SIM_BUILD_SLICE_PER_NODE * nodes;
    s->nodes = calloc(nodes, sizeof(*s->nodes));
    s->traffic_from = calloc(nodes, sizeof(*s->traffic_from));
    for (s->by_id_capacity = 64; s->by_id_capacity < nodes * 4;) {
        s->by_id_capacity *= 2;
    }
    s->by_id = calloc(s->by_id_capacity, sizeof(*s->by_id));
    CHECK(s->nodes && s->traffic_from && s->by_id);
    s->net = (struct sim_network){
        .latency_min_us = 300, .latency_max_us = 1500, .mtu = 1500, .uplink_queue_ms = 200};
    gossip_effects_init(&s->effects);
    for (size_t i = 0; i < nodes; i++) {
        s->nodes[i].number = (unsigned)i;
        s->nodes[i].label = "sim";
        addr_of(i, &s->nodes[i].addr);
        snprintf(s->nodes[i].zone, sizeof(s->nodes[i].zone), "zone-%u", (unsigned)(i % 3));
    }
}

void sim_done(struct sim *s)
{
    uint64_t at_us;
    struct sim_item *item;
    for (size_t i = 0; i < s->node_count; i++) {
        gossip_free(s->nodes[i].core);
        sim_serve_built(s, &s->nodes[i]); /* they fail */
        free(s->nodes[i].held.keys);
        free(s->nodes[i].ever.keys);
        free(s->nodes[i].seen);
    }
    while (sim_pop(s, UINT64_MAX, &at_us, &item)) {
        sim_item_free(item);
    }
    free(s->nodes);
    free(s->traffic_from);
    free(s->by_id);
    free(s->heap);
    free(s->visibility.ms);
    free(s->exclusion.ms);
    free(s->visibility_last.ms);
    free(s->exclusion_last.ms);
    free(s->join.ms);
    free(s->heal.ms);
    gossip_effects_done(&s->effects);
    sim_check_done(s);
}

static void be_born(struct sim *s, struct sim_node *n)
{
    uint64_t wall_ms = (uint64_t)((int64_t)(SIM_WALL_MS + sim_ms(s)) + n->skew_ms);
    if (n->id == 0) {
        uint64_t random = sim_random(s);
        n->id = gossip_id_make(n->label, (uint8_t *)&random, sizeof(random));
        n->boot = 0;
        s->ids++;
    }
    n->boot = n->boot + 1 > wall_ms ? n->boot + 1 : wall_ms;
    struct gossip_config config = {.label = n->label,
                                   .keys = (const uint8_t(*)[GOSSIP_KEY_BYTES])n->ring,
                                   .key_count = n->ring_keys,
                                   .id = n->id,
                                   .boot_ms = n->boot,
                                   .self = {.addrs = {n->addr, n->addr6},
                                            .gossip_port = SIM_GOSSIP_PORT,
                                            .registry_port = SIM_REGISTRY_PORT},
                                   .now_ms = s->now_us / 1000,
                                   .wall_ms = wall_ms};
    memcpy(config.self.zone, n->zone, sizeof(n->zone));
    for (size_t i = 0; i < 4; i++) {
        uint64_t random = sim_random(s);
        memcpy(config.seed + 8 * i, &random, 8);
    }
    CHECK(gossip_new(&config, &n->core) == 0);
}

void sim_start(struct sim *s, size_t node, size_t seeds)
{
    struct sim_node *n = &s->nodes[node];
    CHECK(!n->core);
    be_born(s, n);
    n->started_us = n->stats_us = n->index_us = s->now_us;
    n->bucket = (struct sim_bucket){.us = s->now_us};
    n->ready_us = 0;
    n->places = 0;
    n->unsure_us = s->now_us;
    n->stalled_until_us = 0;
    n->leaving = false;
    n->fetched_bytes = n->fetched_sets = n->heard_bytes = 0;
    n->life = (struct gossip_stats){0};
    if (n->seen) {
        memset(n->seen, 0, n->seen_capacity * sizeof(*n->seen));
    }
    note_ids(s);
    if (n->own_key == 0) {
        n->own_key = gossip_mix(s->seed ^ gossip_mix(node + 1)) >> 1;
        sim_keys_add(&n->held, n->own_key);
        sim_keys_add(&n->ever, n->own_key);
    }
    if (seeds != SIM_SEEDS_NONE) {
        sim_seed(s, node, seeds);
    }
    struct gossip_event listed = {.kind = GOSSIP_LOCAL_ADD, .keys = {n->held.keys, n->held.count}};
    sim_event(s, node, &listed);
}

void sim_start_all(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        sim_start(s, i, 5);
    }
}

void sim_kill(struct sim *s, size_t node)
{
    struct sim_node *n = &s->nodes[node];
    n->sent = sim_sent_by(s, n);
    n->ended_us = s->now_us;
    gossip_free(n->core);
    n->core = NULL;
    sim_serve_built(s, n); /* they fail */
}

void sim_leave(struct sim *s, size_t node)
{
    struct gossip_event event = {.kind = GOSSIP_LEAVE};
    struct sim_item *end = sim_item_new(SIM_END, node, NULL, 0);
    sim_event(s, node, &event);
    s->nodes[node].leaving = true;
    end->life = s->nodes[node].core;
    sim_push(s, s->now_us + 500000, end);
}

void sim_stall(struct sim *s, size_t node, uint64_t ms)
{
    s->nodes[node].stalled_until_us = s->now_us + ms * 1000;
}

void sim_set_keys(struct sim *s, size_t node, const uint8_t (*keys)[GOSSIP_KEY_BYTES], size_t count)
{
    struct sim_node *n = &s->nodes[node];
    memcpy(n->ring, keys, count * GOSSIP_KEY_BYTES);
    n->ring_keys = count;
    CHECK(!n->core || gossip_set_keys(n->core, n->label, keys, count) == 0);
}

void sim_forget_disk(struct sim *s, size_t node)
{
    s->nodes[node].id = 0;
}
