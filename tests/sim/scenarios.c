/* scenarios.c - what happens to clusters; each scenario is its own story. */
#include "sim.h"

#include "gossip/key.h"

static void run_steady(struct sim *s)
{
    sim_start_with_content(s, 20);
    sim_run(s, 5000);
    sim_check_views_equal(s, "5 s after a cold start of all");
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

static void run_bad_network(struct sim *s)
{
    s->net.loss = 50;
    s->net.duplicate = 50;
    s->net.late = 100;
    s->net.late_max_ms = 50;
    sim_start_with_content(s, 20);
    sim_run(s, 8000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* Nothing the first node ever said may bring it back, at any moment. */
static void stay_gone(struct sim *s, uint64_t ms)
{
    for (uint64_t end = sim_ms(s) + ms; sim_ms(s) < end;) {
        sim_run(s, 250);
        for (size_t i = 1; i < s->node_count; i++) {
            if (s->nodes[i].core && sim_finds(s, i, s->nodes[0].own_key, s->nodes[0].id)) {
                sim_violation(s, "node %zu chooses the dead node again", i);
            }
        }
    }
}

/* Copies are kept for up to two minutes: they come to nodes that have started since, whose windows
 * are empty, and tell of lives and sets that are over. */
static void run_replay(struct sim *s)
{
    s->net.replay = 100;
    s->net.replay_max_ms = 120000;
    s->net.duplicate = 200;
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_kill(s, 0);
    sim_measure_exclusion(s, 0, SIM_EXCLUDED_MS);
    stay_gone(s, 30000);
    for (size_t i = 1; i < 3; i++) { /* one with its disk, one without */
        sim_kill(s, i);
        stay_gone(s, sim_random(s) % 5000);
        if (i == 2) {
            sim_forget_disk(s, i);
        }
        sim_start(s, i, 3);
        stay_gone(s, 30000);
    }
    sim_del(s, 3, s->nodes[3].held.keys, 5);
    sim_start(s, 0, 3);
    sim_measure_join(s, 0, SIM_JOINED_MS);
    sim_del(s, 0, s->nodes[0].held.keys, 5);
    sim_measure_heal(s, SIM_HEALED_MS, "the dead node is back");
    sim_run(s, 120000);
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

static void run_crash(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    for (size_t i = 0; i + 2 < s->node_count && i < 5; i++) {
        sim_run(s, sim_random(s) % 1000);
        sim_kill(s, i);
        sim_measure_exclusion(s, i, SIM_EXCLUDED_MS);
        sim_run(s, 2000);
    }
    sim_settle(s);
}

static void run_crash_lossy(struct sim *s)
{
    s->net.loss = 50;
    sim_start_with_content(s, 10);
    sim_run(s, 8000);
    for (size_t i = 0; i + 2 < s->node_count && i < 5; i++) {
        sim_kill(s, i);
        sim_measure_exclusion(s, i, SIM_EXCLUDED_MS + 1000);
        sim_run(s, 5000);
    }
    sim_settle(s);
}

/* Two, three, four nodes: no witnesses to spare. */
static void run_few(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 3000);
    sim_kill(s, 0);
    sim_measure_exclusion(s, 0, SIM_EXCLUDED_MS);
    sim_run(s, 20000);
    sim_start(s, 0, 3);
    sim_measure_join(s, 0, 2500);
    sim_settle(s);
}

static void run_restart(struct sim *s)
{
    sim_start_with_content(s, 50);
    sim_run(s, 5000);
    for (size_t i = 0; i < s->node_count && i < 6; i++) {
        sim_kill(s, i);
        sim_run(s, sim_random(s) % 6000);
        if (i % 2) {
            sim_forget_disk(s, i);
        }
        sim_start(s, i, 3);
        sim_measure_join(s, i, 3 * SIM_JOINED_MS);
        sim_run(s, 500);
    }
    sim_settle(s);
}

static uint64_t fetches_of_others(const struct sim *s, size_t node)
{
    uint64_t fetches = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_stats stats;
        if (i != node) {
            gossip_stats(s->nodes[i].core, &stats);
            fetches += stats.fetches;
        }
    }
    return fetches;
}

/* The same contents after a restart: nobody else fetches anything. */
static void run_restart_same(struct sim *s)
{
    sim_start_with_content(s, 300);
    sim_run(s, 10000);
    sim_check_views_equal(s, "before");
    uint64_t before = fetches_of_others(s, 0);
    sim_kill(s, 0);
    sim_run(s, 8000);
    sim_start(s, 0, 3);
    sim_run(s, 5000);
    sim_check_views_equal(s, "after");
    if (fetches_of_others(s, 0) != before) {
        sim_violation(s, "a set was fetched although it had not changed");
    }
}

static void run_late_joiner(struct sim *s)
{
    size_t late = s->node_count - 1;
    for (size_t i = 0; i < s->node_count; i++) {
        sim_add_random(s, i, 200);
    }
    for (size_t i = 0; i < late; i++) {
        sim_start(s, i, 5);
    }
    sim_run(s, 10000);
    sim_start(s, late, 5);
    sim_measure_join(s, late, SIM_JOINED_MS);
    /* Ready, it knows everything: nothing has changed for long. */
    for (size_t i = 0; i < late; i++) {
        if (!sim_finds(s, late, s->nodes[i].held.keys[0], s->nodes[i].id)) {
            sim_violation(s, "ready, but does not know what node %zu has", i);
        }
    }
    sim_run(s, 1500);
    sim_check_views_equal(s, "1.5 s after a late join");
}

static void run_lone(struct sim *s)
{
    sim_add_random(s, 0, 10);
    sim_start(s, 0, 0);
    sim_measure_join(s, 0, 20);
    sim_run(s, 60000);
    sim_check_views_equal(s, "alone");
    sim_start(s, 1, 0); /* knows nobody, until bootstrap names the first */
    sim_run(s, 3000);
    struct gossip_event event = {.kind = GOSSIP_SEEDS, .seeds = {&s->nodes[0].addr, 1}};
    sim_event(s, 1, &event);
    sim_run(s, 6000);
    sim_check_views_equal(s, "no longer alone");
}

static void run_no_answer(struct sim *s)
{
    struct gossip_addr nobody = {.family = GOSSIP_IPV4, .ip = {10, 9, 9, 9}, .port = 5001};
    struct gossip_event event = {.kind = GOSSIP_SEEDS, .seeds = {&nobody, 1}};
    sim_start(s, 0, SIM_SEEDS_NONE);
    sim_event(s, 0, &event);
    sim_measure_join(s, 0, 1000);
    if (s->nodes[0].ready_us - s->nodes[0].started_us < 850000) {
        sim_violation(s, "ready 0.85 s after a question nobody answered, or earlier");
    }
    sim_start(s, 1, SIM_SEEDS_NONE); /* not even bootstrap answers */
    sim_measure_join(s, 1, 2100);
    if (s->nodes[1].ready_us - s->nodes[1].started_us < 1900000) {
        sim_violation(s, "ready 1.9 s after a start without bootstrap, or earlier");
    }
    event.seeds.addrs = &s->nodes[1].addr; /* until it names somebody who does */
    sim_event(s, 0, &event);
    sim_measure_heal(s, 10000, "somebody answers");
}

static void run_leave(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    sim_leave(s, 0);
    sim_measure_exclusion(s, 0, 1000);
    sim_run(s, 20000);
    sim_settle(s);
    sim_start(s, 0, 3); /* and is welcome back */
    sim_measure_join(s, 0, SIM_JOINED_MS);
    sim_settle(s);
}

static void run_large_sets(struct sim *s)
{
    sim_start_with_content(s, 600);
    sim_run(s, 10000);
    sim_check_views_equal(s, "10 s after a cold start with large sets");
    sim_add_random(s, 0, 500); /* too many for rumours: announced, fetched */
    sim_run(s, 3000);
    sim_check_views_equal(s, "3 s after 500 new keys");
    sim_del(s, 1, s->nodes[1].held.keys, 500); /* a garbage collection */
    sim_run(s, 3000);
    sim_check_views_equal(s, "3 s after 500 keys went");
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* All nodes pull the same image at once: the same keys from everybody. */
static void run_rollout(struct sim *s)
{
    sim_start_with_content(s, 50);
    sim_run(s, 8000);
    for (int layer = 0; layer < 12; layer++) {
        uint64_t key = sim_random(s) >> 1;
        for (size_t i = 0; i < s->node_count; i++) {
            sim_add(s, i, &key, 1);
        }
        sim_run(s, 300);
    }
    sim_run(s, 3000);
    sim_check_views_equal(s, "3 s after a rollout");
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
}

/* A node that does not run for two seconds is no dead node, and must not take others for dead. */
static void run_stall(struct sim *s)
{
    sim_start_with_content(s, 10);
    sim_run(s, 5000);
    for (size_t i = 0; i < 3 && i < s->node_count; i++) {
        sim_stall(s, i, 2000);
        sim_run(s, 6000);
    }
    sim_settle(s);
    for (size_t i = 3; i < s->node_count; i++) {
        struct gossip_stats stats;
        gossip_stats(s->nodes[i].core, &stats);
        if (stats.deaths > 0) {
            sim_violation(s, "node %zu declared %llu dead", i, (unsigned long long)stats.deaths);
        }
    }
}

/* A cloned disk: two nodes with one id. The later takes a new one; both end up known. */
static void run_duplicate_id(struct sim *s)
{
    size_t clone = s->node_count - 1;
    for (size_t i = 0; i < s->node_count; i++) {
        sim_add_random(s, i, 10);
    }
    for (size_t i = 0; i < clone; i++) {
        sim_start(s, i, 5);
    }
    sim_run(s, 5000);
    s->nodes[clone].id = s->nodes[0].id;
    s->nodes[clone].boot = s->nodes[0].boot;
    sim_start(s, clone, 5);
    sim_run(s, 15000);
    if (s->nodes[clone].id == s->nodes[0].id) {
        sim_violation(s, "two nodes still share an id");
    }
    sim_settle(s);
}

/* UDP works, TCP does not: small news still arrives. */
static void run_no_tcp(struct sim *s)
{
    sim_start_with_content(s, 5);
    sim_run(s, 8000);
    s->net.tcp_blocked = true;
    sim_announce_some(s, 20, SIM_VISIBLE_MS);
    sim_kill(s, 0);
    sim_run(s, 1000);
    sim_start(s, 0, 3); /* fails open: without a snapshot it is ready later, not never */
    sim_measure_join(s, 0, 12000);
    s->net.tcp_blocked = false;
    sim_settle(s);
}

/* Every node restarts, one after the other; each announces something new on the way. */
static void run_rolling_restart(struct sim *s)
{
    sim_start_with_content(s, 30);
    sim_run(s, 5000);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_leave(s, i);
        sim_run(s, 1500);
        sim_add_random(s, i, 3);
        sim_start(s, i, 5);
        sim_run(s, 1500);
    }
    sim_settle(s);
}

/* Anything, at any time, for as long as asked. */
static void run_churn(struct sim *s)
{
    s->net.loss = 10;
    s->net.late = 20;
    s->net.late_max_ms = 100;
    sim_start_with_content(s, 20);
    for (uint64_t end = sim_ms(s) + (s->hours > 0 ? (uint64_t)(s->hours * 3600000) : 120000);
         sim_ms(s) < end;) {
        size_t i = sim_random(s) % s->node_count;
        uint64_t what = sim_random(s) % 100;
        if (!s->nodes[i].core) {
            sim_start(s, i, 5);
        } else if (what < 10) {
            sim_kill(s, i);
        } else if (what < 15) {
            sim_leave(s, i);
        } else if (what < 20) {
            sim_stall(s, i, sim_random(s) % 1500);
        } else if (what < 25) {
            sim_add_random(s, i, sim_random(s) % 300);
        } else if (what < 40 && s->nodes[i].held.count > 20) {
            sim_del(s, i, s->nodes[i].held.keys, 1 + sim_random(s) % 10);
        } else {
            sim_add_random(s, i, 1 + sim_random(s) % 5);
        }
        sim_run(s, sim_random(s) % 400);
    }
    sim_run(s, 1000);
    sim_start_rest(s);
    sim_measure_heal(s, SIM_HEALED_MS, "after churn");
    sim_announce_some(s, 20, SIM_VISIBLE_MS * 2);
}

const struct sim_scenario sim_story_scenarios[] = {
    {"steady", "cold start of all, then single announcements", 30, run_steady, false},
    {"bad-network", "5 % loss, 5 % duplicates, 10 % late and out of order", 30, run_bad_network,
     false},
    {"replay", "one packet in ten is kept and replayed to anybody", 12, run_replay, false},
    {"crash", "nodes are killed, one after the other", 20, run_crash, false},
    {"crash-lossy", "the same at 5 % loss", 20, run_crash_lossy, false},
    {"two", "two nodes, one killed and back", 2, run_few, false},
    {"three", "three nodes, one killed and back", 3, run_few, false},
    {"four", "four nodes, one killed and back", 4, run_few, false},
    {"restart", "nodes come back, with and without their disk", 20, run_restart, false},
    {"restart-same", "a restart with the same contents transfers nothing", 8, run_restart_same,
     false},
    {"late-joiner", "one node joins a settled cluster", 30, run_late_joiner, false},
    {"lone", "a node alone, found later", 2, run_lone, false},
    {"no-answer", "bootstrap names somebody who never answers", 2, run_no_answer, false},
    {"leave", "a node says goodbye, and comes back", 15, run_leave, false},
    {"large-sets", "hundreds of keys at once, and a garbage collection", 12, run_large_sets, false},
    {"rollout", "everybody announces the same keys", 40, run_rollout, false},
    {"stall", "nodes that do not run for 2 s", 12, run_stall, false},
    {"duplicate-id", "a cloned data directory", 10, run_duplicate_id, false},
    {"no-tcp", "bulk cannot be fetched", 10, run_no_tcp, false},
    {"rolling-restart", "every node restarts in turn", 16, run_rolling_restart, false},
    {"churn", "anything at any time", 16, run_churn, false},
    {0},
};
