/* scale.c - the figures of docs/gossip.md, at any size. */
#include "sim.h"

#include "gossip/state.h"

#include "base/check.h"

#include <stdlib.h>

#define VISIBLE_MS 600 /* the goal without loss; SIM_VISIBLE_MS with */
#define BUSY_PERIOD_MS 600000
#define BUSY_KEYS 12 /* of an image */

/* As after a long life together: everybody knows everybody and everything, and there is no news.
 * Growing by gossip alone costs each pair a record, which at thousands would be most of a run; so
 * each is handed the same snapshot, by the functions that take one. */
void sim_grow(struct sim *s)
{
    struct gossip *founder;
    struct gossip_config config = {
        .label = "sim", .id = 1, .boot_ms = 1, .now_ms = s->now_us / 1000, .wall_ms = 1};
    struct gossip_event tick = {.kind = GOSSIP_TICK, .now_ms = s->now_us / 1000};
    struct buf body;
    s->build_slice = GOSSIP_BUILD_SLICE; /* the figures are those of daemons */
    CHECK(gossip_new(&config, &founder) == 0);
    gossip_step(founder, &tick, &s->effects);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_start(s, i, SIM_SEEDS_NONE);
        const struct gossip *g = s->nodes[i].core;
        struct gossip_alive alive;
        gossip_alive_of(g, g->me, &alive);
        founder->effects = &s->effects;
        s->effects.note_count = 0;
        gossip_hear_alive(founder, &alive, alive.id);
        gossip_take_set(founder, gossip_members_get(&founder->members, alive.id), alive.version,
                        alive.hash, s->nodes[i].held.keys, s->nodes[i].held.count);
    }
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    CHECK(gossip_snapshot_build(founder, &body) == 0);
    gossip_free(founder);
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip *g = s->nodes[i].core;
        g->effects = &s->effects;
        s->effects.note_count = s->effects.send_count = s->effects.fetch_count = 0;
        CHECK(gossip_snapshot_apply(g, 0, (uint8_t *)body.data, body.len) == 0);
        GOSSIP_MEMBERS_EACH(m, &g->members)
        {
            list_remove(&m->rumour);
        }
        g->rumour_count = 0;
        gossip_changes_done(&g->changes);
        gossip_changes_init(&g->changes);
        g->snapshot_applied = true;
        sim_seed(s, i, 5);
    }
    buf_done(&body);
    sim_run(s, 1000);
    sim_check_views_equal(s, "grown");
}

static void steady_traffic(struct sim *s, uint64_t ms)
{
    sim_run(s, 5000);
    sim_traffic_begin(s);
    sim_run(s, ms);
    sim_traffic_end(s);
    sim_measure_lives(s);
}

/* Traffic of a cluster where nothing happens, then announcements, crashes and joins. */
static void run_scale(struct sim *s)
{
    sim_grow(s);
    s->calm_us = s->now_us;
    steady_traffic(s, 20000);
    sim_goal_traffic(s, true);
    sim_announce_some(s, 20, 5000);
    sim_goal_visible(s, VISIBLE_MS);
    for (size_t i = 0; i < 5 && i + 5 < s->node_count; i++) {
        sim_run(s, sim_random(s) % 700);
        sim_kill(s, i);
        sim_measure_exclusion(s, i, 30000);
    }
    sim_goal_excluded(s);
    sim_run(s, 2000);
    for (size_t i = 0; i < 5 && i + 5 < s->node_count; i++) {
        sim_start(s, i, 5);
        sim_measure_join(s, i, 10000);
    }
    sim_settle(s);
    sim_goal_join(s);
    sim_goal_out_ratio(s);
}

static uint64_t image_key(const struct sim *s, size_t node, size_t key)
{
    return gossip_mix(s->seed ^ gossip_mix((node + 1) * BUSY_KEYS + key)) >> 1;
}

/* In every ten minutes each node pulls an image and, at another time, loses an older one; no two
 * nodes at once, and no two the same, so that no packet states a key for two owners. */
static void run_scale_busy(struct sim *s)
{
    uint64_t old[BUSY_KEYS], new[BUSY_KEYS], count = s->node_count;
    uint64_t window_ms = 20000000 / count > 60000 ? 20000000 / count : 60000;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < BUSY_KEYS; k++) {
            sim_keys_add(&s->nodes[i].held, image_key(s, i, k));
            sim_keys_add(&s->nodes[i].ever, image_key(s, i, k));
        }
    }
    sim_grow(s);
    s->calm_us = s->now_us;
    sim_run(s, 5000);
    /* The first tenth is not measured: rumours take their time to be everywhere. */
    uint64_t events = window_ms * 11 / 10 * 2 * count / BUSY_PERIOD_MS, start_ms = sim_ms(s);
    for (uint64_t e = 0; e < events; e++) {
        size_t adds = (e / 2) % count, loses = (adds + count / 2) % count;
        sim_run(s, start_ms + e * BUSY_PERIOD_MS / (2 * count) - sim_ms(s));
        if (e == events / 11) {
            sim_traffic_begin(s);
        }
        for (size_t k = 0; k < BUSY_KEYS; k++) {
            old[k] = image_key(s, loses, k);
            new[k] = sim_random(s) >> 1;
        }
        if (e % 2 == 0) {
            sim_add(s, adds, new, BUSY_KEYS);
        } else {
            sim_del(s, loses, old, BUSY_KEYS);
        }
    }
    sim_traffic_end(s);
    if (s->node_count <= 100) {
        sim_goal_traffic(s, true); /* at 1,000 it is above: docs/gossip.md, "Limits" */
    }
    sim_settle(s);
    sim_goal_out_ratio(s);
}

static void run_scale_lossy(struct sim *s, unsigned loss, uint32_t visible_ms)
{
    sim_grow(s);
    s->net.loss = loss;
    sim_run(s, 15000); /* every node learns how lossy its links are */
    s->calm_us = s->now_us - 20000000;
    steady_traffic(s, 30000);
    sim_goal_traffic(s, false);
    sim_announce_some(s, 20, 5000);
    sim_goal_visible(s, visible_ms);
    sim_settle(s);
    sim_goal_out_ratio(s);
}

static void run_scale_loss5(struct sim *s)
{
    run_scale_lossy(s, 50, VISIBLE_MS);
}

static void run_scale_loss30(struct sim *s)
{
    run_scale_lossy(s, 300, SIM_VISIBLE_MS);
}

static void run_scale_crash_loss5(struct sim *s)
{
    sim_grow(s);
    s->net.loss = 50;
    sim_run(s, 15000);
    for (size_t i = 0; i < 5 && i + 5 < s->node_count; i++) {
        sim_run(s, sim_random(s) % 700);
        sim_kill(s, i);
        sim_measure_exclusion(s, i, 30000);
    }
    sim_goal_excluded(s);
}

/* Some of what is announced in a rollout, and to whom it is to be visible. */
struct watched {
    uint64_t key, announced_ms;
    uint32_t owner, asker;
    bool seen;
};

struct watch {
    struct watched *all;
    size_t count, max, open; /* the first one not seen yet */
};

static void watch_look(struct sim *s, struct watch *w)
{
    for (size_t i = w->open; i < w->count; i++) {
        struct watched *x = &w->all[i];
        const struct gossip *asker = s->nodes[x->asker].core;
        struct gossip_member *m =
            x->seen ? NULL : gossip_members_get(&asker->members, s->nodes[x->owner].id);
        if (m && gossip_index_has(asker->index, x->key, m->slot)) {
            sim_sample(&s->visibility, sim_ms(s) - x->announced_ms);
            x->seen = true;
        }
        w->open += i == w->open && x->seen;
    }
}

static void watch_run(struct sim *s, struct watch *w, uint64_t ms)
{
    for (uint64_t end_ms = sim_ms(s) + ms; sim_ms(s) < end_ms;) {
        uint64_t left_ms = end_ms - sim_ms(s);
        sim_run(s, left_ms < 20 ? left_ms : 20);
        watch_look(s, w);
    }
}

/* Everybody pulls the same image: twelve layers, one after the other, at nearly the same time. */
static void run_scale_rollout(struct sim *s)
{
    struct watch w = {.max = 4000};
    w.all = calloc(w.max, sizeof(*w.all));
    CHECK(w.all);
    sim_grow(s);
    sim_run(s, 5000);
    sim_traffic_begin(s);
    for (int layer = 0; layer < 12; layer++) {
        uint64_t key = sim_random(s) >> 1, start_ms = sim_ms(s);
        for (size_t i = 0; i < s->node_count; i++) {
            watch_run(s, &w, start_ms + i * 200 / s->node_count - sim_ms(s));
            sim_add(s, i, &key, 1);
            if (w.count < w.max && i % (1 + s->node_count * 12 / w.max) == 0) {
                uint32_t asker =
                    (uint32_t)((i + 1 + sim_random(s) % (s->node_count - 1)) % s->node_count);
                w.all[w.count++] = (struct watched){
                    .key = key, .announced_ms = sim_ms(s), .owner = (uint32_t)i, .asker = asker};
            }
        }
        watch_run(s, &w, 300);
    }
    watch_run(s, &w, 2000);
    sim_traffic_end(s);
    for (uint64_t waited = 0; w.open < w.count && waited < 60000; waited += 100) {
        watch_run(s, &w, 100);
    }
    sim_measure_heal(s, 60000, "after a rollout");
    if (w.open < w.count) {
        sim_violation(s, "%zu announcements were never seen", w.count - w.open);
    }
    free(w.all);
}

/* A join where everybody has hundreds of digests. The others hold them without ever having
 * transferred them: that would be most of the run. */
static void run_scale_join(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        sim_keys_image_mix(s, &s->nodes[i].held, 600);
        for (size_t k = 0; k < s->nodes[i].held.count; k++) {
            sim_keys_add(&s->nodes[i].ever, s->nodes[i].held.keys[k]);
        }
    }
    size_t joiners = 3, rest = s->node_count - joiners;
    CHECK(s->node_count > joiners);
    s->node_count = rest;
    sim_grow(s);
    s->node_count = rest + joiners;
    s->join_bytes = 0;
    for (size_t i = rest; i < s->node_count; i++) {
        sim_start(s, i, 5);
        sim_measure_join(s, i, 10000);
        for (size_t k = 0; k < rest; k++) {
            if (!sim_finds(s, i, s->nodes[k].own_key, s->nodes[k].id)) {
                sim_violation(s, "ready, but does not know what node %zu has", k);
            }
        }
        sim_run(s, 3000);
    }
    sim_measure_lives(s);
    sim_settle(s);
    sim_goal_join(s);
}

static void run_scale_partition(struct sim *s)
{
    sim_grow(s);
    sim_run(s, 5000);
    sim_split(s, 2);
    sim_run(s, 60000);
    sim_split(s, 1);
    sim_measure_heal(s, 120000, "healed");
}

static void run_scale_cold(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        sim_add_random(s, i, 20);
    }
    sim_start_all(s);
    sim_measure_heal(s, 120000, "cold start of all");
}

const struct sim_scenario sim_scale_scenarios[] = {
    {"scale", "steady traffic, announcements, crashes, joins", 100, run_scale, false},
    {"scale-busy", "an image comes and one goes, at each node every ten minutes", 100,
     run_scale_busy, false},
    {"scale-loss5", "traffic and announcements at 5 % loss", 100, run_scale_loss5, false},
    {"scale-loss30", "traffic and announcements at 30 % loss", 100, run_scale_loss30, false},
    {"scale-crash5", "crashes at 5 % loss", 100, run_scale_crash_loss5, false},
    {"scale-rollout", "everybody announces the same 12 keys", 100, run_scale_rollout, false},
    {"scale-join", "joins where everybody has 600 digests", 60, run_scale_join, false},
    {"scale-rolling", "2 % restart at a time, nothing is transferred", 100, sim_run_rolling, false},
    {"scale-partition", "two halves for a minute", 100, run_scale_partition, false},
    {"scale-cold", "cold start of all, 20 keys each", 100, run_scale_cold, false},
    {0},
};
