/* bench.c - one core that knows thousands: what it weighs, what a snapshot of it costs, and how
 * long a look-up takes. Members are introduced by the core's own functions, as a snapshot would. */
#include "sim.h"

#include "gossip/key.h"
#include "gossip/state.h"

#include "base/check.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct gossip *make_core(uint64_t id)
{
    struct gossip *g;
    struct gossip_config config = {
        .label = "bench", .id = id, .boot_ms = SIM_WALL_MS, .now_ms = 1000, .wall_ms = SIM_WALL_MS};
    config.self = (struct gossip_self){
        .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 200, (uint8_t)(id >> 8), (uint8_t)id}}},
        .gossip_port = SIM_GOSSIP_PORT,
        .registry_port = SIM_REGISTRY_PORT,
        .zone = "zone-1"};
    CHECK(gossip_new(&config, &g) == 0);
    return g;
}

static void introduce(struct gossip *g, uint64_t id, size_t number)
{
    struct gossip_alive a = {.id = id,
                             .boot = SIM_WALL_MS,
                             .salt = (uint32_t)id,
                             .gossip_port = SIM_GOSSIP_PORT,
                             .registry_port = SIM_REGISTRY_PORT,
                             .zone = "zone-1"};
    a.addrs[0] = (struct gossip_addr){
        .family = GOSSIP_IPV4, .ip = {10, 1, (uint8_t)(number / 200), (uint8_t)(number % 200 + 1)}};
    gossip_hear_alive(g, &a, id);
}

/* Members with what nodes have that run popular and less popular images. */
static void populate(struct gossip *g, struct sim *s, size_t nodes, size_t keys)
{
    for (size_t i = 1; i < nodes; i++) {
        struct sim_keys held = {0};
        uint64_t id = gossip_mix(i) >> 16;
        introduce(g, id, i);
        struct gossip_member *m = gossip_members_get(&g->members, id);
        CHECK(m);
        sim_keys_image_mix(s, &held, keys);
        gossip_take_set(g, m, 1, held.hash, held.keys, held.count);
        free(held.keys);
    }
}

static double lookup_ns(struct gossip *g, struct sim *s, bool hits)
{
    enum { KEYS = 4096, ROUNDS = 50 };
    uint64_t *keys = malloc(KEYS * sizeof(*keys));
    struct gossip_holder holders[3];
    size_t cursor = 0, n = 0, found = 0;
    uint64_t key;
    CHECK(keys);
    while (n < KEYS && gossip_index_next(g->index, &cursor, &key)) {
        keys[n++] = hits ? key : sim_random(s) >> 1;
    }
    for (size_t i = n - 1; i > 0; i--) {
        size_t other = sim_random(s) % (i + 1);
        uint64_t swapped = keys[i];
        keys[i] = keys[other];
        keys[other] = swapped;
    }
    uint64_t start_ns = cpu_ns();
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < n; i++) {
            found += gossip_lookup(g, keys[i], holders, 3);
        }
    }
    double ns = (double)(cpu_ns() - start_ns) / (double)(ROUNDS * n);
    CHECK((found > 0) == hits);
    free(keys);
    return ns;
}

struct carried {
    size_t bytes, slices, build_slices;
    double build_ms, build_slice_max_ms, apply_ms, slice_max_ms;
};

/* As it is served: in slices. */
static void build(struct gossip *from, struct buf *body, struct carried *c)
{
    struct gossip_build *b;
    int error = gossip_build_new(GOSSIP_FOR_SNAPSHOT, &b);
    CHECK(error == 0);
    from->build = b;
    do {
        size_t budget = GOSSIP_BUILD_SLICE;
        uint64_t start_ns = cpu_ns();
        error = gossip_build_slice(from, b, &budget);
        double slice_ms = (double)(cpu_ns() - start_ns) / 1e6;
        c->build_slice_max_ms = slice_ms > c->build_slice_max_ms ? slice_ms : c->build_slice_max_ms;
        c->build_ms += slice_ms;
        c->build_slices++;
    } while (error == -EINPROGRESS);
    CHECK(error == 0);
    from->build = NULL;
    *body = b->plain;
    buf_init(&b->plain, 0);
    gossip_build_free(b);
}

static void carry(struct gossip *from, struct gossip *to, struct carried *ret_carried)
{
    struct buf body;
    struct gossip_open_fetch fetch = {.kind = GOSSIP_FETCH_SNAPSHOT};
    *ret_carried = (struct carried){0};
    build(from, &body, ret_carried);
    uint64_t built_ns = cpu_ns();
    ret_carried->bytes = body.len;
    CHECK(gossip_take_begin(to, &fetch, 1, &body) == 0);
    for (uint64_t last_ns = built_ns; to->take; ret_carried->slices++) {
        to->effects->note_count = 0;
        gossip_take_tick(to);
        uint64_t now_ns = cpu_ns();
        double slice_ms = (double)(now_ns - last_ns) / 1e6;
        ret_carried->slice_max_ms =
            slice_ms > ret_carried->slice_max_ms ? slice_ms : ret_carried->slice_max_ms;
        ret_carried->apply_ms += slice_ms;
        last_ns = now_ns;
    }
    CHECK(to->stats.snapshots_applied == 1);
    buf_done(&body);
}

/* The goals of docs/gossip.md, which are for 1,000 nodes with 600 digests and 5,000 with 2,000. */
static bool is_too_large(size_t pairs, uint64_t core_bytes)
{
    uint64_t most = pairs <= 650000 ? 3000000 : 20000000;
    if (pairs > 10500000 || core_bytes <= most) {
        return false;
    }
    printf("goal: index and members take %llu bytes, not at most %llu\n",
           (unsigned long long)core_bytes, (unsigned long long)most);
    return true;
}

int sim_bench(size_t nodes, size_t keys, uint64_t seed, bool json)
{
    struct sim s = {.random = gossip_mix(seed)};
    struct gossip_effects effects;
    gossip_effects_init(&effects);
    effects.notes = NULL;
    struct gossip *a = make_core(1);
    struct gossip_event tick = {.kind = GOSSIP_TICK, .now_ms = 1000};
    gossip_step(a, &tick, &effects);
    a->effects = &effects;
    populate(a, &s, nodes, keys);
    struct gossip_stats stats;
    gossip_stats(a, &stats);
    double hit_ns = lookup_ns(a, &s, true), miss_ns = lookup_ns(a, &s, false);
    /* What a second core, that learnt it all from a snapshot, took from the allocator. */
    malloc_trim(0);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct carried carried;
    struct gossip *b = make_core(2);
    b->effects = &effects;
    effects.note_count = 0;
    carry(a, b, &carried);
    malloc_trim(0);
    size_t heap_bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    size_t pairs = 0;
    GOSSIP_MEMBERS_EACH(m, &b->members)
    {
        pairs += m->count;
    }
    printf("%zu members, %zu pairs, %u keys: index %.2f MB, core %.2f MB, heap %.2f MB; look-up "
           "%.0f ns found, %.0f ns not; snapshot %.2f MB, built in %.1f ms, in %zu slices of at "
           "most %.2f ms, applied in %.1f ms, in %zu slices of at most %.2f ms\n",
           nodes, pairs, stats.index_keys, (double)stats.index_bytes / 1e6,
           (double)stats.core_bytes / 1e6, (double)heap_bytes / 1e6, hit_ns, miss_ns,
           (double)carried.bytes / 1e6, carried.build_ms, carried.build_slices,
           carried.build_slice_max_ms, carried.apply_ms, carried.slices, carried.slice_max_ms);
    if (json) {
        printf(
            "{\"members\":%zu,\"pairs\":%zu,\"keys\":%u,\"index_bytes\":%llu,\"core_bytes\":%llu,"
            "\"heap_bytes\":%zu,\"hit_ns\":%.1f,\"miss_ns\":%.1f,\"snapshot_bytes\":%zu,"
            "\"build_ms\":%.2f,\"build_slices\":%zu,\"build_slice_max_ms\":%.3f,\"apply_ms\":%.2f,"
            "\"slices\":%zu,\"slice_max_ms\":%.3f}\n",
            nodes, pairs, stats.index_keys, (unsigned long long)stats.index_bytes,
            (unsigned long long)stats.core_bytes, heap_bytes, hit_ns, miss_ns, carried.bytes,
            carried.build_ms, carried.build_slices, carried.build_slice_max_ms, carried.apply_ms,
            carried.slices, carried.slice_max_ms);
    }
    gossip_free(a);
    gossip_free(b);
    gossip_effects_done(&effects);
    return is_too_large(pairs, stats.core_bytes);
}
