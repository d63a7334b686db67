/* daemons.c - what 16 real daemons are put through by `./dev herd --daemons`
 * (tests/herd/cluster.py), in the same order and for as long: what it measures stands beside what
 * these predict. */
#include "sim.h"

#define SETTLED_MS 8000 /* links have been lossy for so long when it begins */
#define FROZEN_MS 2000
#define CUT_MS 8000

static void begin(struct sim *s, unsigned loss)
{
    sim_start_with_content(s, 5);
    sim_run(s, 2000);
    s->net.loss = loss;
    sim_run(s, SETTLED_MS);
    s->calm_us = s->now_us;
}

static void announce(struct sim *s, unsigned loss)
{
    begin(s, loss);
    sim_announce_some(s, 20, 10000);
}

static void kill_some(struct sim *s, unsigned loss)
{
    begin(s, loss);
    for (size_t i = 0; i < 4 && i + 1 < s->node_count; i++) {
        sim_run(s, sim_random(s) % 700);
        sim_kill(s, i);
        sim_measure_exclusion(s, i, 15000);
        sim_start(s, i, 5);
        sim_measure_join(s, i, 10000);
        sim_run(s, 2000);
    }
}

/* heal_ms: until every view is complete again, from the moment the frozen one goes on. */
static void freeze_some(struct sim *s, unsigned loss)
{
    begin(s, loss);
    for (size_t i = 0; i < 4 && i < s->node_count; i++) {
        sim_run(s, sim_random(s) % 700);
        sim_stall(s, i, FROZEN_MS);
        sim_run(s, FROZEN_MS);
        sim_measure_heal(s, 30000, "goes on after standing still");
        sim_run(s, 2000);
    }
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_stats stats;
        gossip_stats(s->nodes[i].core, &stats);
        if (stats.deaths > 0) {
            sim_violation(s, "node %zu declared %llu dead", i, (unsigned long long)stats.deaths);
        }
    }
}

static void cut(struct sim *s, unsigned loss)
{
    begin(s, loss);
    for (int i = 0; i < 3; i++) {
        sim_split(s, 2);
        sim_run(s, CUT_MS / 2);
        sim_add_random(s, 0, 1);
        sim_add_random(s, 1, 1);
        sim_run(s, CUT_MS / 2);
        sim_split(s, 1);
        sim_measure_heal(s, 60000, "healed");
        sim_run(s, 2000);
    }
}

#define BOTH(name)                                                                                 \
    static void run_##name(struct sim *s)                                                          \
    {                                                                                              \
        name(s, 0);                                                                                \
    }                                                                                              \
    static void run_##name##_loss30(struct sim *s)                                                 \
    {                                                                                              \
        name(s, 300);                                                                              \
    }
BOTH(announce)
BOTH(kill_some)
BOTH(freeze_some)
BOTH(cut)

const struct sim_scenario sim_daemon_scenarios[] = {
    {"real-announce", "as the real daemons: single announcements", 16, run_announce, false},
    {"real-announce-loss30", "the same at 30 % loss", 16, run_announce_loss30, false},
    {"real-kill", "as the real daemons: some are killed and start again", 16, run_kill_some, false},
    {"real-kill-loss30", "the same at 30 % loss", 16, run_kill_some_loss30, false},
    {"real-freeze", "as the real daemons: some stand still for 2 s", 16, run_freeze_some, false},
    {"real-freeze-loss30", "the same at 30 % loss", 16, run_freeze_some_loss30, false},
    {"real-cut", "as the real daemons: two halves for 8 s", 16, run_cut, false},
    {"real-cut-loss30", "the same at 30 % loss", 16, run_cut_loss30, false},
    {0},
};
