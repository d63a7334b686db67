#include "sim.h"

#include "gossip/key.h"

#include "base/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum item_kind { ITEM_PACKET, ITEM_TIMER, ITEM_SERVE, ITEM_FETCHED, ITEM_END };

struct sim_item {
    uint64_t at_us, sequence;
    enum item_kind kind;
    size_t node;               /* whom it happens to */
    const struct gossip *life; /* and in which life; NULL: any */
    uint8_t *bytes;
    size_t len;
    struct gossip_addr from;   /* PACKET */
    struct gossip_fetch fetch; /* SERVE, FETCHED */
    size_t asker;
    int status;
};

uint64_t sim_random(struct sim *s)
{
    s->random += UINT64_C(0x9e3779b97f4a7c15);
    return gossip_mix(s->random);
}

static bool chance(struct sim *s, unsigned thousandths)
{
    return thousandths && sim_random(s) % 1000 < thousandths;
}

uint64_t sim_ms(const struct sim *s)
{
    return s->now_us / 1000 - SIM_START_MS;
}

/* --- the queue: a binary heap by time, then by order of arrival --- */

static bool earlier(const struct sim_item *a, const struct sim_item *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void push(struct sim *s, struct sim_item item)
{
    if (s->heap_count == s->heap_capacity) {
        s->heap_capacity = s->heap_capacity ? s->heap_capacity * 2 : 1024;
        s->heap = realloc(s->heap, s->heap_capacity * sizeof(*s->heap));
        CHECK(s->heap);
    }
    item.sequence = s->sequence++;
    size_t i = s->heap_count++;
    for (; i > 0 && earlier(&item, &s->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        s->heap[i] = s->heap[(i - 1) / 2];
    }
    s->heap[i] = item;
}

static struct sim_item pop(struct sim *s)
{
    struct sim_item first = s->heap[0], last = s->heap[--s->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->heap_count; i = child) {
        if (child + 1 < s->heap_count && earlier(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!earlier(&s->heap[child], &last)) {
            break;
        }
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return first;
}

static uint8_t *copy(const void *bytes, size_t n)
{
    uint8_t *p = malloc(n + 1);
    CHECK(p);
    memcpy(p, bytes, n);
    return p;
}

/* --- sets of keys --- */

static size_t key_place(const struct sim_keys *k, uint64_t key)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (k->keys[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool sim_keys_has(const struct sim_keys *k, uint64_t key)
{
    size_t at = key_place(k, key);
    return at < k->count && k->keys[at] == key;
}

static void key_insert(struct sim_keys *k, uint64_t key)
{
    size_t at = key_place(k, key);
    if (at < k->count && k->keys[at] == key) {
        return;
    }
    if (k->count == k->capacity) {
        k->capacity = k->capacity ? k->capacity * 2 : 16;
        k->keys = realloc(k->keys, k->capacity * sizeof(*k->keys));
        CHECK(k->keys);
    }
    memmove(&k->keys[at + 1], &k->keys[at], (k->count - at) * sizeof(*k->keys));
    k->keys[at] = key;
    k->count++;
}

static void key_erase(struct sim_keys *k, uint64_t key)
{
    size_t at = key_place(k, key);
    if (at < k->count && k->keys[at] == key) {
        k->count--;
        memmove(&k->keys[at], &k->keys[at + 1], (k->count - at) * sizeof(*k->keys));
    }
}

/* --- the network --- */

static struct sim_node *node_at(struct sim *s, const struct gossip_addr *addr)
{
    for (size_t i = 0; i < s->node_count; i++) {
        if (gossip_addr_same_host(&s->nodes[i].addr, addr)) {
            return &s->nodes[i];
        }
    }
    return NULL;
}

static uint64_t latency_us(struct sim *s)
{
    return s->net.latency_min_us +
           sim_random(s) % (s->net.latency_max_us - s->net.latency_min_us + 1);
}

static void send_packet(struct sim *s, struct sim_node *from, const struct gossip_send *send)
{
    struct sim_node *to = node_at(s, &send->to);
    s->packets++;
    if (send->len > LIMIT_GOSSIP_PACKET_BYTES) {
        sim_violation(s, "node %u sent %u bytes", from->number, send->len);
    }
    if (!to || send->to.port != SIM_GOSSIP_PORT || to->group != from->group) {
        return;
    }
    unsigned copies = chance(s, s->net.loss) ? 0 : 1;
    copies += chance(s, s->net.duplicate);
    unsigned replays = chance(s, s->net.replay);
    for (unsigned i = 0; i < copies + replays; i++) {
        uint64_t at_us = s->now_us + latency_us(s);
        struct gossip_addr addr = from->addr;
        addr.port = SIM_GOSSIP_PORT;
        size_t receiver = (size_t)(to - s->nodes);
        if (chance(s, s->net.late)) {
            at_us += sim_random(s) % (s->net.late_max_ms * 1000 + 1);
        }
        if (i >= copies) {
            /* Somebody on the way kept a copy, and sends it to anybody, much later, as its own. */
            at_us += 500000 + sim_random(s) % 20000000;
            addr.ip[3] ^= 0x80;
            receiver = sim_random(s) % s->node_count;
        }
        push(s, (struct sim_item){.at_us = at_us,
                                  .kind = ITEM_PACKET,
                                  .node = receiver,
                                  .bytes = copy(send->bytes, send->len),
                                  .len = send->len,
                                  .from = addr});
    }
}

static void start_fetch(struct sim *s, struct sim_node *asker, const struct gossip_fetch *fetch)
{
    struct sim_node *to = node_at(s, &fetch->from);
    struct sim_item item = {.at_us = s->now_us + 2 * latency_us(s),
                            .kind = ITEM_SERVE,
                            .fetch = *fetch,
                            .asker = (size_t)(asker - s->nodes),
                            .life = asker->core};
    bool reachable = to && to->group == asker->group && !s->net.tcp_blocked;
    if (reachable && fetch->from.port == SIM_REGISTRY_PORT) {
        item.node = (size_t)(to - s->nodes);
    } else {
        item.kind = ITEM_FETCHED; /* a connect that times out */
        item.node = item.asker;
        item.status = -ETIMEDOUT;
        item.at_us = s->now_us + 1000000;
    }
    push(s, item);
}

static void arm(struct sim *s, struct sim_node *n, uint64_t wake_ms)
{
    if (n->wake_us == wake_ms * 1000 && n->armed == n->core) {
        return;
    }
    n->wake_us = wake_ms * 1000;
    n->armed = n->core;
    push(s, (struct sim_item){.at_us = n->wake_us,
                              .kind = ITEM_TIMER,
                              .node = (size_t)(n - s->nodes),
                              .life = n->core});
}

void sim_event(struct sim *s, size_t node, struct gossip_event *event)
{
    struct sim_node *n = &s->nodes[node];
    if (!n->core) {
        return;
    }
    event->now_ms = s->now_us / 1000;
    event->wall_ms = (uint64_t)((int64_t)(SIM_WALL_MS + sim_ms(s)) + n->skew_ms);
    gossip_step(n->core, event, &s->effects);
    s->steps++;
    if (s->effects.wake_at_ms <= event->now_ms || s->effects.wake_at_ms > event->now_ms + 1000) {
        sim_violation(s, "node %u: wakes at %llu ms, now %llu ms", n->number,
                      (unsigned long long)s->effects.wake_at_ms, (unsigned long long)event->now_ms);
    }
    for (size_t i = 0; i < s->effects.send_count; i++) {
        send_packet(s, n, &s->effects.sends[i]);
    }
    for (size_t i = 0; i < s->effects.fetch_count; i++) {
        start_fetch(s, n, &s->effects.fetches[i]);
    }
    if (s->effects.persist) {
        n->id = gossip_identity(n->core).id;
        n->boot = gossip_identity(n->core).boot_ms;
    }
    if (!n->ready_us && gossip_is_ready(n->core)) {
        n->ready_us = s->now_us;
    }
    arm(s, n, s->effects.wake_at_ms);
    sim_check_step(s, n);
}

static void serve(struct sim *s, struct sim_item *item)
{
    struct sim_node *n = &s->nodes[item->node];
    struct buf body;
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    int status = -ECONNREFUSED;
    if (n->core) {
        status = gossip_serve(n->core, item->fetch.path, item->fetch.auth, &body);
    }
    size_t len = status == 0 ? body.len : 0;
    push(s, (struct sim_item){.at_us = s->now_us + latency_us(s) + len / 100, /* 100 MB/s */
                              .kind = ITEM_FETCHED,
                              .node = item->asker,
                              .life = item->life,
                              .fetch = item->fetch,
                              .status = status,
                              .len = len,
                              .bytes = status == 0 ? (uint8_t *)buf_take(&body) : NULL});
    buf_done(&body);
}

static void trace_packet(struct sim *s, const struct sim_item *item)
{
    uint64_t h = s->trace ^ s->now_us ^ (uint64_t)item->node << 40;
    for (size_t i = 0; i + 8 <= item->len; i += 8) {
        uint64_t word;
        memcpy(&word, item->bytes + i, 8);
        h = gossip_mix(h ^ word);
    }
    s->trace = h;
}

static void happen(struct sim *s, struct sim_item *item)
{
    struct sim_node *n = &s->nodes[item->node];
    bool this_life = n->core && (!item->life || item->life == n->core);
    if (this_life && n->stalled_until_us > s->now_us && item->kind != ITEM_SERVE) {
        struct sim_item later = *item; /* its socket buffer keeps it */
        later.at_us = n->stalled_until_us;
        item->bytes = NULL;
        push(s, later);
        return;
    }
    struct gossip_event event = {.kind = GOSSIP_TICK};
    switch (item->kind) {
    case ITEM_PACKET:
        if (this_life) {
            trace_packet(s, item);
            event.kind = GOSSIP_PACKET;
            event.packet.from = item->from;
            event.packet.bytes = item->bytes;
            event.packet.len = item->len;
            sim_event(s, item->node, &event);
        }
        break;
    case ITEM_TIMER:
        if (this_life && s->now_us >= n->wake_us) {
            sim_event(s, item->node, &event);
        }
        break;
    case ITEM_SERVE:
        serve(s, item);
        break;
    case ITEM_FETCHED:
        if (this_life) {
            event.kind = GOSSIP_FETCHED;
            event.fetched.id = item->fetch.id;
            event.fetched.status = item->status;
            event.fetched.bytes = item->bytes;
            event.fetched.len = item->len;
            sim_event(s, item->node, &event);
        }
        break;
    case ITEM_END:
        if (this_life) {
            sim_kill(s, item->node);
        }
        break;
    }
}

void sim_run(struct sim *s, uint64_t ms)
{
    uint64_t end_us = s->now_us + ms * 1000;
    while (s->heap_count > 0 && s->heap[0].at_us <= end_us) {
        struct sim_item item = pop(s);
        s->now_us = item.at_us > s->now_us ? item.at_us : s->now_us;
        happen(s, &item);
        free(item.bytes);
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
    s->net = (struct sim_network){.latency_min_us = 300, .latency_max_us = 1500};
    gossip_effects_init(&s->effects);
    for (size_t i = 0; i < nodes; i++) {
        s->nodes[i].number = (unsigned)i;
        s->nodes[i].addr = (struct gossip_addr){
            .family = GOSSIP_IPV4, .ip = {10, 0, (uint8_t)(i / 100), (uint8_t)(i % 100 + 1)}};
        s->nodes[i].addr.port = SIM_GOSSIP_PORT;
        snprintf(s->nodes[i].zone, sizeof(s->nodes[i].zone), "zone-%u", (unsigned)(i % 3));
    }
}

void sim_done(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        gossip_free(s->nodes[i].core);
        free(s->nodes[i].held.keys);
        free(s->nodes[i].ever.keys);
    }
    for (size_t i = 0; i < s->heap_count; i++) {
        free(s->heap[i].bytes);
    }
    free(s->heap);
    free(s->visibility.ms);
    free(s->exclusion.ms);
    free(s->join.ms);
    gossip_effects_done(&s->effects);
    sim_check_done(s);
}

static void give_seeds(struct sim *s, size_t node, size_t seeds)
{
    struct gossip_addr addrs[SIM_NODES_MAX];
    size_t count = 0;
    addrs[count++] = s->nodes[node].addr; /* bootstrap names us too, as DNS does */
    for (size_t guess = 0; guess < seeds * 20 && count <= seeds && s->node_count > 1; guess++) {
        size_t other = sim_random(s) % s->node_count;
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known = known || gossip_addr_equal(&addrs[i], &s->nodes[other].addr);
        }
        if (!known) {
            addrs[count++] = s->nodes[other].addr;
        }
    }
    struct gossip_event event = {.kind = GOSSIP_SEEDS, .seeds = {addrs, count}};
    sim_event(s, node, &event);
}

void sim_start(struct sim *s, size_t node, size_t seeds)
{
    struct sim_node *n = &s->nodes[node];
    CHECK(!n->core);
    uint64_t wall_ms = (uint64_t)((int64_t)(SIM_WALL_MS + sim_ms(s)) + n->skew_ms);
    if (n->id == 0) {
        uint64_t random = sim_random(s);
        n->id = gossip_id_make("sim", (uint8_t *)&random, sizeof(random));
        n->boot = 0;
    }
    n->boot = n->boot + 1 > wall_ms ? n->boot + 1 : wall_ms;
    struct gossip_config config = {.label = "sim",
                                   .id = n->id,
                                   .boot_ms = n->boot,
                                   .self = {.addrs = {n->addr},
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
    n->started_us = s->now_us;
    n->ready_us = 0;
    n->seen_count = 0;
    n->stalled_until_us = 0;
    if (seeds != SIM_SEEDS_NONE) {
        give_seeds(s, node, seeds);
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
    gossip_free(s->nodes[node].core);
    s->nodes[node].core = NULL;
}

void sim_leave(struct sim *s, size_t node)
{
    struct gossip_event event = {.kind = GOSSIP_LEAVE};
    sim_event(s, node, &event);
    push(s, (struct sim_item){.at_us = s->now_us + 500000,
                              .kind = ITEM_END,
                              .node = node,
                              .life = s->nodes[node].core});
}

void sim_stall(struct sim *s, size_t node, uint64_t ms)
{
    s->nodes[node].stalled_until_us = s->now_us + ms * 1000;
}

void sim_forget_disk(struct sim *s, size_t node)
{
    s->nodes[node].id = 0;
}

void sim_add(struct sim *s, size_t node, const uint64_t *keys, size_t count)
{
    struct sim_node *n = &s->nodes[node];
    for (size_t i = 0; i < count; i++) {
        key_insert(&n->held, keys[i]);
        key_insert(&n->ever, keys[i]);
    }
    struct gossip_event event = {.kind = GOSSIP_LOCAL_ADD, .keys = {keys, count}};
    sim_event(s, node, &event);
}

void sim_del(struct sim *s, size_t node, const uint64_t *keys, size_t count)
{
    uint64_t *copied = (uint64_t *)copy(keys, count * sizeof(*keys));
    for (size_t i = 0; i < count; i++) {
        key_erase(&s->nodes[node].held, copied[i]);
    }
    struct gossip_event event = {.kind = GOSSIP_LOCAL_DEL, .keys = {copied, count}};
    sim_event(s, node, &event);
    free(copied);
}

void sim_add_random(struct sim *s, size_t node, size_t count)
{
    uint64_t *keys = malloc((count + 1) * sizeof(*keys));
    CHECK(keys);
    for (size_t i = 0; i < count; i++) {
        /* Half of what a node has, others have too. */
        uint64_t random = sim_random(s);
        keys[i] = gossip_mix(random % 2 ? random : random % 1000) >> 1;
    }
    sim_add(s, node, keys, count);
    free(keys);
}
