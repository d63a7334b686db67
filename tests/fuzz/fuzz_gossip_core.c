/* Events in any order against four cores that hear one another, and what must hold whatever comes:
 * versions never go back and mean the same set everywhere, nobody believes a key of somebody who
 * never had it, packets and queues keep within their caps; wall clocks jump, and key rings change.
 * Two bytes an event: what happens and to whom, and a number for it. */
#include "base/check.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CORES 4
#define MAIL 64
#define SETS 512  /* versions of anybody that are kept to compare; later ones are not */
#define KEYS 64   /* node i announces keys of 1000 * i + 0..KEYS only */
#define SLICE 300 /* of bodies over HTTP, built at a step: a few keys */

struct mail {
    struct gossip_addr from, to;
    uint16_t len;
    uint8_t bytes[LIMIT_GOSSIP_PACKET_BYTES];
};

static struct world {
    struct gossip *core[CORES];
    struct gossip_effects effects;
    struct mail mail[MAIL]; /* the last ones sent, delivered or not, over and over */
    size_t sent, next;
    struct gossip_fetch fetch[CORES][LIMIT_GOSSIP_FETCHES];
    size_t fetches[CORES];
    struct gossip_serving *serving[CORES]; /* the answer to `asked`; NULL: none under way */
    struct gossip_fetch asked[CORES];
    struct {
        uint64_t boot;
        uint32_t version;
    } seen[CORES][CORES];
    struct {
        uint64_t owner, boot, hash;
        uint32_t version;
    } sets[SETS];
    size_t set_count;
    uint64_t now_ms, skew_ms[CORES], checks;
} w;

static struct gossip_addr addr_of(size_t i)
{
    return (struct gossip_addr){
        .family = GOSSIP_IPV4, .ip = {10, 0, 0, (uint8_t)(i + 1)}, .port = 5001};
}

static void check_set(const struct gossip_member_view *v)
{
    for (size_t k = 0; k < w.set_count; k++) {
        if (w.sets[k].owner == v->id && w.sets[k].boot == v->boot_ms &&
            w.sets[k].version == v->version) {
            CHECK(w.sets[k].hash == v->set_hash);
            return;
        }
    }
    if (w.set_count < SETS) {
        w.sets[w.set_count].owner = v->id;
        w.sets[w.set_count].boot = v->boot_ms;
        w.sets[w.set_count].version = v->version;
        w.sets[w.set_count++].hash = v->set_hash;
    }
}

static void check(size_t i)
{
    struct gossip_member_view v;
    struct gossip_stats stats;
    size_t cursor = 0;
    while (gossip_members(w.core[i], &cursor, &v)) {
        size_t owner = (size_t)(v.id - 1);
        if (owner < CORES && v.version) {
            CHECK(v.boot_ms > w.seen[i][owner].boot ||
                  (v.boot_ms == w.seen[i][owner].boot && v.version >= w.seen[i][owner].version));
            w.seen[i][owner].boot = v.boot_ms;
            w.seen[i][owner].version = v.version;
            check_set(&v);
        }
        CHECK(!v.selectable || v.state == GOSSIP_ALIVE || v.state == GOSSIP_SUSPECT);
        CHECK(v.keys <= KEYS);
    }
    /* Some of the keys that anybody may have, others each time. */
    for (uint64_t k = w.checks++ % 16; k < KEYS * CORES; k += 16) {
        uint64_t key = 1000 * (k / KEYS) + k % KEYS;
        struct gossip_holder holders[CORES];
        size_t count = gossip_lookup(w.core[i], key, holders, CORES);
        for (size_t k = 0; k < count; k++) {
            CHECK(holders[k].id > CORES || holders[k].id - 1 == key / 1000);
        }
    }
    gossip_stats(w.core[i], &stats);
    CHECK(stats.rumours <= LIMIT_GOSSIP_RUMOURS + stats.alive + stats.suspect + stats.dead + 1U);
}

static void step(size_t i, struct gossip_event *event)
{
    event->now_ms = w.now_ms;
    event->wall_ms = 1000000 + w.now_ms + w.skew_ms[i];
    w.core[i]->build_ms = w.now_ms;
    w.core[i]->build_budget = SLICE;
    gossip_step(w.core[i], event, &w.effects);
    CHECK(w.effects.wake_at_ms > event->now_ms && w.effects.wake_at_ms <= event->now_ms + 1000);
    for (size_t k = 0; k < w.effects.send_count; k++) {
        struct mail *m = &w.mail[w.sent++ % MAIL];
        m->from = addr_of(i);
        m->to = w.effects.sends[k].to;
        m->len = w.effects.sends[k].len;
        CHECK(m->len <= LIMIT_GOSSIP_PACKET_BYTES);
        memcpy(m->bytes, w.effects.sends[k].bytes, m->len);
    }
    for (size_t k = 0; k < w.effects.fetch_count && w.fetches[i] < LIMIT_GOSSIP_FETCHES; k++) {
        w.fetch[i][w.fetches[i]++] = w.effects.fetches[k];
    }
}

static void deliver(size_t number, bool turned)
{
    struct mail *m = &w.mail[number % MAIL];
    size_t to = (size_t)m->to.ip[3] - 1;
    struct gossip_event event = {.kind = GOSSIP_PACKET, .packet = {m->from, m->bytes, m->len}};
    if (turned && m->len) {
        m->bytes[number % m->len] ^= 1; /* forged: the seal finds it */
    }
    if (m->len && to < CORES) {
        step(to, &event);
    }
}

static void fetched(size_t i, int status, const struct buf *body)
{
    struct gossip_event event = {
        .kind = GOSSIP_FETCHED,
        .fetched = {w.asked[i].id, status, status ? NULL : (uint8_t *)body->data, body->len}};
    gossip_serving_end(w.serving[i]);
    w.serving[i] = NULL;
    step(i, &event);
}

/* Asks, or looks whether the answer has been built: that happens at the steps of who was asked. */
static void fetch(size_t i, bool fails)
{
    struct buf body;
    size_t bytes = 0, at = 0;
    int status = 0;
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    if (!w.serving[i]) {
        if (w.fetches[i] == 0) {
            return;
        }
        w.asked[i] = w.fetch[i][--w.fetches[i]];
        size_t from = (size_t)w.asked[i].from.ip[3] - 1;
        status = from >= CORES ? -1
                               : gossip_serve_begin(w.core[from], w.asked[i].path, w.asked[i].auth,
                                                    &w.serving[i]);
    }
    status = status ? status : fails ? -1 : gossip_serving_ready(w.serving[i], &bytes);
    uint8_t *out = status ? NULL : (uint8_t *)buf_reserve(&body, bytes);
    while (out && at < bytes) {
        ssize_t got = gossip_serving_read(w.serving[i], out + at, bytes - at);
        CHECK(got > 0);
        at += (size_t)got;
    }
    if (status == 0) {
        buf_commit(&body, bytes);
    }
    if (status != -EINPROGRESS) {
        fetched(i, status, &body);
    }
    buf_done(&body);
}

/* Of three keys: one, or two with another in front. */
static void change_keys(size_t i, uint8_t n)
{
    static const uint8_t all[4][GOSSIP_KEY_BYTES] = {{1}, {2}, {3}, {1}};
    CHECK(gossip_set_keys(w.core[i], "fuzz", all + n % 3, 1U + n / 3 % 2) == 0);
}

static void happen(uint8_t what, uint8_t n)
{
    size_t i = what % CORES;
    uint64_t keys[4];
    struct gossip_addr seeds[2] = {addr_of(n % CORES), addr_of(n / 4 % CORES)};
    struct gossip_event event = {.kind = GOSSIP_TICK};
    for (size_t k = 0; k < 4; k++) {
        keys[k] = 1000 * i + (n + k * 5) % KEYS;
    }
    switch (what / CORES % 14) {
    case 0:
        event.kind = n & 1 ? GOSSIP_LOCAL_ADD : GOSSIP_LOCAL_DEL;
        event.keys.keys = keys;
        event.keys.count = n % 5;
        break;
    case 1:
        event.kind = GOSSIP_SEEDS;
        event.seeds.addrs = seeds;
        event.seeds.count = n % 3;
        break;
    case 2:
        event.kind = n & 1 ? GOSSIP_PEER_FAILED : GOSSIP_PEER_OK;
        event.peer = n / 2 % CORES + 1U;
        break;
    case 3:
        fetch(i, n % 8 == 7);
        return;
    case 4:
        deliver(n, true);
        return;
    case 5:
        w.now_ms += (uint64_t)n * n; /* up to a minute at once */
        break;
    case 6:
        event.kind = n == 255 ? GOSSIP_LEAVE : GOSSIP_TICK;
        break;
    case 7:
        w.now_ms += n;
        break;
    case 12:
        w.skew_ms[i] = (uint64_t)n * 1000 * 3600; /* forwards, and back again */
        break;
    case 13:
        change_keys(i, n);
        return;
    case 11:
        deliver(n, false); /* any of the last, again and again */
        return;
    default:
        for (size_t k = 0; k <= n % 8U && w.next < w.sent; k++) {
            deliver(w.next++, false); /* the next ones, as they were sent */
        }
        return;
    }
    step(i, &event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&w, 0, sizeof(w));
    w.now_ms = 1000;
    gossip_effects_init(&w.effects);
    for (size_t i = 0; i < CORES; i++) {
        struct gossip_config config = {
            .label = "fuzz",
            .id = i + 1,
            .boot_ms = 1000000,
            .self = {.addrs = {addr_of(i)}, .gossip_port = 5001, .registry_port = 5000},
            .now_ms = w.now_ms,
            .wall_ms = 1000000};
        config.seed[0] = (uint8_t)i;
        CHECK(gossip_new(&config, &w.core[i]) == 0);
        happen((uint8_t)(CORES + i), 2); /* of the first, twice */
    }
    for (size_t at = 0; at + 1 < size && at < 4000; at += 2) {
        happen(data[at], data[at + 1]);
        check(data[at] % CORES);
    }
    for (size_t i = 0; i < CORES; i++) {
        gossip_free(w.core[i]);
    }
    for (size_t i = 0; i < CORES; i++) { /* of cores that are gone */
        gossip_serving_end(w.serving[i]);
    }
    gossip_effects_done(&w.effects);
    return 0;
}
