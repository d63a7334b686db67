/* trouble.c - worse networks, many nodes at once, places and times that change. */
#include "paths.h"

#include <string.h>

/* --- worse networks --- */

static void run_loss1(struct sim *s)
{
    s->net.loss = 10;
    sim_start_with_content(s, 20);
    sim_run(s, 8000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_run(s, 60000);
    sim_settle(s);
}

static void run_loss5(struct sim *s)
{
    s->net.loss = 50;
    sim_start_with_content(s, 20);
    sim_run(s, 8000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_run(s, 60000);
    sim_settle(s);
}

static void run_loss30(struct sim *s)
{
    s->net.loss = 300;
    sim_start_with_content(s, 20);
    sim_run(s, 10000);
    sim_announce_some(s, 20, 3 * SIM_VISIBLE_MS);
    sim_run(s, 60000); /* nobody is taken for dead meanwhile */
    sim_settle(s);
}

/* In runs of 200 ms of nearly nothing, of either end. */
static void run_bursts(struct sim *s, unsigned good_mean_ms)
{
    s->net.burst_loss = 900;
    s->net.good_mean_ms = good_mean_ms;
    s->net.bad_mean_ms = 200;
    sim_start_with_content(s, 20);
    sim_run(s, 8000);
    sim_announce_some(s, 20, 3 * SIM_VISIBLE_MS);
    sim_run(s, 60000);
    s->net.burst_loss = 0;
    sim_settle(s);
}

static void run_burst_loss1(struct sim *s)
{
    run_bursts(s, 36000); /* on average 1 % of all datagrams */
}

static void run_burst_loss(struct sim *s)
{
    run_bursts(s, 7000); /* and 5 % */
}

static void run_burst_loss30(struct sim *s)
{
    run_bursts(s, 960); /* and 30 % */
}

/* Each node's uplink carries 32 kB/s and queues for 200 ms at most. */
static void run_narrow(struct sim *s)
{
    s->net.bytes_per_s = 32000;
    sim_start_with_content(s, 20);
    sim_run(s, 10000);
    sim_announce_some(s, 20, 2 * SIM_VISIBLE_MS);
    sim_settle(s);
}

/* The smallest MTU that IPv6 allows: everything fits. */
static void run_mtu(struct sim *s)
{
    s->net.mtu = 1280;
    sim_start_with_content(s, 150);
    sim_run(s, 8000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* A long way: 40 to 120 ms each way, as between regions. */
static void run_far(struct sim *s)
{
    s->net.latency_min_us = 40000;
    s->net.latency_max_us = 120000;
    sim_start_with_content(s, 20);
    sim_run(s, 10000);
    sim_announce_some(s, 20, 2 * SIM_VISIBLE_MS);
    sim_run(s, 60000);
    sim_settle(s);
}

/* Links that carry one way only: others ask on our behalf, and nobody is taken for dead. */
static void run_asymmetric(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    for (size_t i = 0; i + 1 < s->node_count / 2 && i < 5; i++) {
        sim_cut(s, 2 * i, 2 * i + 1);
    }
    sim_run(s, 60000);
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_stats stats;
        gossip_stats(s->nodes[i].core, &stats);
        if (stats.deaths > 0) {
            sim_violation(s, "node %zu declared %llu dead", i, (unsigned long long)stats.deaths);
        }
    }
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    s->cut_count = 0;
    sim_settle(s);
}

static void run_partition(struct sim *s, uint64_t ms)
{
    sim_start_with_content(s, 20);
    sim_run(s, 5000);
    sim_split(s, 2);
    sim_run(s, ms / 2);
    sim_add_random(s, 0, 5);
    sim_add_random(s, 1, 5);
    sim_run(s, ms / 2);
    sim_split(s, 1);
    sim_measure_heal(s, 60000, "healed");
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

static void run_partition_10s(struct sim *s)
{
    run_partition(s, 10000);
}

static void run_partition_10min(struct sim *s)
{
    run_partition(s, 600000);
}

/* Longer than a tombstone lives: only bootstrap still knows the others. */
static void run_partition_25h(struct sim *s)
{
    sim_start_with_content(s, 5);
    sim_run(s, 5000);
    sim_split(s, 2);
    sim_run(s, 25 * 3600 * UINT64_C(1000));
    sim_split(s, 1);
    sim_measure_heal(s, 60000, "healed");
}

/* --- many at once --- */

/* A third of the nodes, a zone, is cut off, not stopped. */
static void run_zone_away(struct sim *s, uint64_t ms)
{
    sim_start_with_content(s, 20);
    sim_run(s, 5000);
    for (size_t i = 0; i < s->node_count; i++) {
        s->nodes[i].group = i % 3 == 0;
    }
    s->calm_us = s->now_us;
    sim_run(s, ms);
    sim_split(s, 1);
    sim_measure_heal(s, 60000, "the zone is back");
    sim_announce_some(s, 5, SIM_VISIBLE_MS);
    sim_settle(s);
}

static void run_zone_partition_10s(struct sim *s)
{
    run_zone_away(s, 10000);
}

static void run_zone_partition_10min(struct sim *s)
{
    run_zone_away(s, 600000);
}

static void run_zone_partition_25h(struct sim *s)
{
    run_zone_away(s, 25 * 3600 * UINT64_C(1000));
}

/* A third of the nodes loses power, and comes back a minute later. */
static void run_zone_loss(struct sim *s)
{
    sim_start_with_content(s, 20);
    sim_run(s, 5000);
    for (size_t i = 0; i < s->node_count; i += 3) {
        sim_kill(s, i);
    }
    s->calm_us = s->now_us;
    sim_measure_exclusion(s, 0, 2 * SIM_EXCLUDED_MS);
    sim_run(s, 60000);
    sim_start_rest(s);
    sim_measure_heal(s, 60000, "power is back");
    sim_settle(s);
}

/* All nodes lose power at the same moment, and start again within two seconds. */
static void run_mass_restart(struct sim *s)
{
    sim_start_with_content(s, 50);
    sim_run(s, 8000);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_kill(s, i);
    }
    s->calm_us = s->now_us;
    for (size_t i = 0; i < s->node_count; i++) {
        sim_start(s, i, 5);
        sim_run(s, 2000 / s->node_count);
    }
    sim_measure_heal(s, SIM_HEALED_MS, "after a restart of all");
    sim_announce_some(s, 10, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* Half as many again join at the same moment. */
static void run_many_join(struct sim *s)
{
    size_t old = s->node_count * 2 / 3;
    for (size_t i = 0; i < s->node_count; i++) {
        sim_add_random(s, i, 50);
    }
    for (size_t i = 0; i < old; i++) {
        sim_start(s, i, 5);
    }
    sim_run(s, 8000);
    for (size_t i = old; i < s->node_count; i++) {
        sim_start(s, i, 5);
    }
    for (size_t i = old; i < s->node_count; i++) {
        sim_measure_join(s, i, 3 * SIM_JOINED_MS);
    }
    sim_measure_heal(s, SIM_HEALED_MS, "many joined");
    sim_settle(s);
}

/* A garbage collection of 500 keys at the same moment on half of the nodes. */
static void run_gc(struct sim *s)
{
    sim_start_with_content(s, 600);
    sim_run(s, 10000);
    for (size_t i = 0; i < s->node_count; i += 2) {
        sim_del(s, i, s->nodes[i].held.keys, 500);
    }
    sim_measure_heal(s, 10000, "after a garbage collection");
    sim_settle(s);
}

/* --- places and times --- */

/* The address of a node that died is given to a new node; then to one of another cluster. */
static void run_address_reuse(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    sim_kill(s, 0);
    sim_forget_disk(s, 0);
    sim_run(s, 500);
    sim_start(s, 0, 3);
    sim_measure_heal(s, SIM_HEALED_MS, "a new node at an old address");
    sim_kill(s, 0);
    sim_forget_disk(s, 0);
    s->nodes[0].label = "another";
    sim_run(s, 500);
    sim_start(s, 0, 3);
    sim_run(s, 30000);
    sim_measure_heal(s, SIM_HEALED_MS, "another cluster at an old address");
    sim_announce_some(s, 5, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* The clock was a day ahead, the disk remembers nothing of it but the id; now it is right again. */
static void run_clock_back(struct sim *s)
{
    s->nodes[0].skew_ms = 86400000;
    s->nodes[2].skew_ms = -86400000;
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    sim_kill(s, 0);
    s->nodes[0].skew_ms = 0;
    s->nodes[0].boot = 0;
    sim_run(s, 500);
    sim_start(s, 0, 3);
    sim_run(s, 10000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* Wall clocks jump by up to a day either way, again and again; nodes restart meanwhile. */
static void run_clock_steps(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    for (int i = 0; i < 60; i++) {
        size_t n = sim_random(s) % s->node_count;
        s->nodes[n].skew_ms = (int64_t)(sim_random(s) % 172800000) - 86400000;
        if (i % 10 == 9 && s->nodes[n].core) {
            sim_kill(s, n);
            sim_run(s, 1000);
            sim_start(s, n, 3);
        }
        sim_run(s, 1000);
    }
    sim_measure_heal(s, SIM_HEALED_MS, "clocks stepped");
    sim_announce_some(s, 10, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* One key replaces another, file by file over a minute for each of the three steps. */
static void run_key_rotation(struct sim *s)
{
    static const uint8_t old_key[32] = {1}, new_key[32] = {2};
    uint8_t rings[4][2][GOSSIP_KEY_BYTES] = {{{0}}};
    static const size_t counts[4] = {1, 2, 2, 1};
    memcpy(rings[0][0], old_key, 32);
    memcpy(rings[1][0], old_key, 32);
    memcpy(rings[1][1], new_key, 32);
    memcpy(rings[2][0], new_key, 32);
    memcpy(rings[2][1], old_key, 32);
    memcpy(rings[3][0], new_key, 32);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_set_keys(s, i, (const uint8_t(*)[GOSSIP_KEY_BYTES])rings[0], counts[0]);
    }
    sim_start_with_content(s, 10);
    sim_run(s, 8000);
    for (size_t step = 1; step < 4; step++) {
        size_t first = sim_random(s) % s->node_count;
        for (size_t k = 0; k < s->node_count; k++) {
            size_t i = (first + k) % s->node_count;
            sim_set_keys(s, i, (const uint8_t(*)[GOSSIP_KEY_BYTES])rings[step], counts[step]);
            sim_run(s, 60000 / s->node_count);
        }
        sim_announce_some(s, 5, SIM_VISIBLE_MS);
    }
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_stats stats;
        gossip_stats(s->nodes[i].core, &stats);
        if (stats.suspicions > 0 || stats.drop_key > 0 || stats.drop_seal > 0) {
            sim_violation(s, "node %zu lost packets or peers while keys were rotated", i);
        }
    }
    sim_settle(s);
}

const struct sim_scenario sim_trouble_scenarios[] = {
    {"loss1", "1 % loss", 30, run_loss1, false},
    {"loss5", "5 % loss", 30, run_loss5, false},
    {"loss30", "30 % loss", 30, run_loss30, false},
    {"burst-loss1", "links that lose nearly all for 200 ms, every 36 s", 30, run_burst_loss1,
     false},
    {"burst-loss", "links that lose nearly all for 200 ms, every 7 s", 30, run_burst_loss, false},
    {"burst-loss30", "the same every second", 30, run_burst_loss30, false},
    {"narrow", "uplinks of 32 kB/s", 30, run_narrow, false},
    {"mtu-1280", "the smallest MTU", 15, run_mtu, false},
    {"far", "40 to 120 ms each way", 20, run_far, false},
    {"asymmetric", "links that carry one way only", 16, run_asymmetric, false},
    {"partition-10s", "two halves for 10 s", 20, run_partition_10s, false},
    {"partition-10min", "two halves for 10 min", 10, run_partition_10min, false},
    {"partition-25h", "two halves for longer than tombstones live", 4, run_partition_25h, false},
    {"udp-blocked", "some nodes hear nothing but TCP", 20, paths_run_udp_blocked, false},
    {"udp-blocked-all", "nobody hears anything but TCP", 12, paths_run_udp_blocked_all, false},
    {"zone-partition-10s", "a third is cut off for 10 s", 18, run_zone_partition_10s, false},
    {"zone-partition-10min", "for 10 min", 18, run_zone_partition_10min, false},
    {"zone-partition-25h", "for longer than the dead are remembered", 6, run_zone_partition_25h,
     false},
    {"zone-loss", "a third loses power, and comes back", 18, run_zone_loss, false},
    {"mass-restart", "all lose power and start within 2 s", 24, run_mass_restart, false},
    {"many-join", "half as many again join at once", 30, run_many_join, false},
    {"gc", "500 keys go at once on half of the nodes", 16, run_gc, false},
    {"address-reuse", "new nodes and other clusters at old addresses", 10, run_address_reuse,
     false},
    {"ipv6", "addresses of IPv6 alone", 15, paths_run_ipv6, false},
    {"dual-stack", "IPv4 alone, IPv6 alone, both", 15, paths_run_dual_stack, false},
    {"clock-back", "clocks a day off, one put right", 8, run_clock_back, false},
    {"clock-steps", "wall clocks jump by up to a day", 8, run_clock_steps, false},
    {"key-rotation", "one key replaces another, node by node", 12, run_key_rotation, false},
    {0},
};
