/* life.c - a cluster at a cluster's own pace: minutes or hours of nothing, then trouble of any
 * kind, then everything must be as it should within a minute. churn does the same without a pause.
 */
#include "sim.h"

#include "base/check.h"

#include <string.h>

#define LIFE_HEALED_MS 60000
/* Who had no UDP and is gone for good counts as there for two minutes. */
#define LIFE_FORGOTTEN_MS 150000
#define LIFE_VISIBLE_MS 3000
#define RARELY 8 /* of that many */

static size_t any(struct sim *s)
{
    return sim_random(s) % s->node_count;
}

static uint64_t between(struct sim *s, uint64_t from, uint64_t to)
{
    return from + sim_random(s) % (to - from + 1);
}

static size_t any_running(struct sim *s)
{
    size_t i = any(s);
    for (size_t k = 0; k < s->node_count && !s->nodes[i].core; k++) {
        i = (i + 1) % s->node_count;
    }
    return i;
}

static void change_some(struct sim *s, size_t times)
{
    for (size_t k = 0; k < times; k++) {
        size_t i = any_running(s);
        if (s->nodes[i].held.count > 100 && sim_chance(s, 500)) {
            sim_del(s, i, s->nodes[i].held.keys, between(s, 1, 60));
        } else {
            sim_add_random(s, i, between(s, 1, 10));
        }
        sim_run(s, between(s, 0, 3000));
    }
}

/* --- troubles: each leaves the network and the nodes as they may be, calm() puts them right --- */

static void crash(struct sim *s)
{
    size_t count = between(s, 1, 1 + s->node_count / 4);
    for (size_t k = 0; k < count; k++) {
        size_t i = any(s);
        if (s->nodes[i].core) {
            sim_kill(s, i);
        }
        sim_run(s, between(s, 0, 4000));
    }
    change_some(s, 3);
    sim_run(s, sim_chance(s, 1000 / RARELY) ? between(s, 0, 3600000) : between(s, 0, 60000));
    for (size_t i = 0; i < s->node_count; i++) {
        if (!s->nodes[i].core && sim_chance(s, 250)) {
            sim_forget_disk(s, i);
        }
    }
}

static void leave(struct sim *s)
{
    size_t i = any_running(s);
    sim_leave(s, i);
    sim_run(s, between(s, 600, 30000));
    change_some(s, 2);
}

static void stall(struct sim *s)
{
    for (size_t k = between(s, 1, 3); k > 0; k--) {
        sim_stall(s, any_running(s), between(s, 100, 10000));
        sim_run(s, between(s, 0, 12000));
    }
    sim_run(s, 10000);
}

static void live_apart(struct sim *s, uint64_t ms)
{
    s->calm_us = s->now_us;
    sim_run(s, ms / 2);
    change_some(s, 4);
    sim_run(s, ms / 2);
}

static void split(struct sim *s)
{
    unsigned groups = (unsigned)between(s, 2, 4);
    for (size_t i = 0; i < s->node_count; i++) {
        s->nodes[i].group = (unsigned)(sim_random(s) % groups);
    }
    live_apart(s, sim_chance(s, 1000 / RARELY) ? between(s, 0, 3600000) : between(s, 500, 120000));
}

static void zone(struct sim *s)
{
    size_t away = sim_random(s) % 3;
    for (size_t i = 0; i < s->node_count; i++) {
        s->nodes[i].group = i % 3 == away;
    }
    live_apart(s, between(s, 10000, 600000));
}

/* Of a quarter of the nodes at most, each with another: everybody is heard by somebody. */
static void one_way(struct sim *s)
{
    size_t first = any(s), cuts = between(s, 1, 1 + s->node_count / 8);
    for (size_t k = 0; k < cuts && s->node_count > 2; k++) {
        size_t from = first + 2 * k, to = first + 2 * k + 1;
        bool back = sim_chance(s, 500);
        sim_cut(s, (back ? to : from) % s->node_count, (back ? from : to) % s->node_count);
    }
    change_some(s, 4);
    sim_run(s, between(s, 1000, 180000));
}

static void firewall(struct sim *s)
{
    s->calm_us = s->now_us;
    for (size_t k = between(s, 1, 2); k > 0; k--) {
        s->nodes[any(s)].udp_blocked = true;
    }
    sim_run(s, between(s, 1000, 300000));
    change_some(s, 4);
    sim_run(s, between(s, 1000, 60000));
}

static void no_tcp(struct sim *s)
{
    s->net.tcp_blocked = true;
    change_some(s, 4);
    sim_run(s, between(s, 1000, 120000));
}

static void lossy(struct sim *s)
{
    s->calm_us = s->now_us;
    s->net.loss = (unsigned)between(s, 20, 300);
    s->net.late_max_ms = 200;
    change_some(s, 4);
    sim_run(s, between(s, 1000, 300000));
}

/* Links that lose nearly all for moments: of all datagrams 6 to 30 %. */
static void bursts(struct sim *s)
{
    s->calm_us = s->now_us;
    s->net.burst_loss = 900;
    s->net.bad_mean_ms = (unsigned)between(s, 50, 300);
    s->net.good_mean_ms = s->net.bad_mean_ms * (unsigned)between(s, 5, 30);
    change_some(s, 4);
    sim_run(s, between(s, 1000, 300000));
}

/* Old packets, to nodes that have started since as well; they go on coming after it. */
static void replays(struct sim *s)
{
    s->net.replay = (unsigned)between(s, 20, 200);
    s->net.replay_max_ms = (unsigned)between(s, 1000, 600000);
    change_some(s, 4);
    sim_run(s, between(s, 1000, 60000));
    for (size_t k = between(s, 1, 3); k > 0; k--) {
        size_t i = any_running(s);
        sim_kill(s, i);
        change_some(s, 1);
        if (sim_chance(s, 250)) {
            sim_forget_disk(s, i);
        }
        sim_start(s, i, 5);
        change_some(s, 2);
    }
    sim_run(s, between(s, 1000, 180000));
}

static void clocks(struct sim *s)
{
    for (size_t k = between(s, 1, s->node_count); k > 0; k--) {
        s->nodes[any(s)].skew_ms = (int64_t)between(s, 0, 172800000) - 86400000;
        sim_run(s, between(s, 0, 2000));
    }
}

static void large_sets(struct sim *s)
{
    for (size_t k = between(s, 1, 3); k > 0; k--) {
        size_t i = any_running(s);
        sim_add_random(s, i, between(s, 50, 400));
        sim_run(s, between(s, 0, 5000));
        if (s->nodes[i].held.count > 300) {
            sim_del(s, i, s->nodes[i].held.keys, s->nodes[i].held.count - 100);
        }
        sim_run(s, between(s, 0, 5000));
    }
}

static void power(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].core) {
            sim_kill(s, i);
        }
    }
    s->calm_us = s->now_us;
    for (size_t i = 0; i < s->node_count; i++) {
        sim_run(s, between(s, 0, 2000 / s->node_count));
        sim_start(s, i, 5);
    }
}

/* A new key second, then first, then alone; one file after the other each time. */
static void keys(struct sim *s)
{
    uint8_t rings[3][2][GOSSIP_KEY_BYTES], new_key[GOSSIP_KEY_BYTES];
    static const size_t counts[3] = {2, 2, 1};
    uint64_t random = sim_random(s);
    memset(new_key, 3, sizeof(new_key));
    memcpy(new_key, &random, sizeof(random));
    memcpy(rings[0][0], s->nodes[0].ring[0], GOSSIP_KEY_BYTES);
    memcpy(rings[0][1], new_key, GOSSIP_KEY_BYTES);
    memcpy(rings[1][0], new_key, GOSSIP_KEY_BYTES);
    memcpy(rings[1][1], s->nodes[0].ring[0], GOSSIP_KEY_BYTES);
    memcpy(rings[2][0], new_key, GOSSIP_KEY_BYTES);
    for (size_t step = 0; step < 3; step++) {
        for (size_t k = 0, first = any(s); k < s->node_count; k++) {
            sim_set_keys(s, (first + k) % s->node_count,
                         (const uint8_t(*)[GOSSIP_KEY_BYTES])rings[step], counts[step]);
            sim_run(s, between(s, 0, 3000));
        }
        change_some(s, 1);
    }
}

static const struct trouble {
    const char *name;
    void (*run)(struct sim *s);
} troubles[] = {
    {"one-way links", one_way}, /* alone: with others gone as well, some would be heard by nobody */
    {"crashes", crash},         {"a departure", leave},        {"a stall", stall},
    {"a partition", split},     {"a firewall", firewall},      {"closed TCP", no_tcp},
    {"lossy links", lossy},     {"clock steps", clocks},       {"large sets", large_sets},
    {"a power failure", power}, {"a key rotation", keys},      {"a zone away", zone},
    {"bursts of loss", bursts}, {"replayed packets", replays},
};
#define TROUBLES (sizeof(troubles) / sizeof(troubles[0]))

/* The network as it was; whoever is away comes back. */
static void calm(struct sim *s, unsigned loss)
{
    s->cut_count = 0;
    s->net.tcp_blocked = false;
    s->net.loss = loss;
    s->net.late_max_ms = 50;
    s->net.burst_loss = s->net.replay = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        s->nodes[i].udp_blocked = false;
    }
    sim_split(s, 1);
    sim_run(s, 600); /* whoever leaves has left */
    sim_start_rest(s);
}

static void run_life(struct sim *s)
{
    static const unsigned losses[] = {0, 0, 0, 10, 50};
    static const uint8_t key[1][GOSSIP_KEY_BYTES] = {{1}};
    uint64_t end_ms = (uint64_t)((s->hours > 0 ? s->hours : 2) * 3600000);
    unsigned loss = losses[sim_random(s) % (sizeof(losses) / sizeof(losses[0]))];
    for (size_t i = 0; i < s->node_count; i++) {
        sim_set_keys(s, i, key, 1);
    }
    s->net.late = s->net.duplicate = loss;
    calm(s, loss);
    sim_measure_heal(s, LIFE_HEALED_MS, "a cold start");
    while (sim_ms(s) < end_ms) {
        for (size_t k = between(s, 1, 10); k > 0; k--) {
            sim_run(s, between(s, 1000, 120000));
            sim_measure_visibility(s, any(s), LIFE_VISIBLE_MS);
        }
        size_t what = sim_random(s) % TROUBLES;
        uint64_t limit_ms = troubles[what].run == firewall ? LIFE_FORGOTTEN_MS : LIFE_HEALED_MS;
        troubles[what].run(s);
        if (what > 0 && sim_chance(s, 1000 / RARELY)) { /* another before the first is over */
            limit_ms = LIFE_FORGOTTEN_MS;
            troubles[1 + sim_random(s) % (TROUBLES - 1)].run(s);
        }
        calm(s, loss);
        sim_measure_heal(s, limit_ms, troubles[what].name);
        sim_run(s, 20000); /* who was suspected unjustly has refuted */
    }
    sim_settle(s);
}

const struct sim_scenario sim_life_scenarios[] = {
    {"life", "hours of quiet, then trouble of any kind, again and again", 12, run_life, false},
    {0},
};
