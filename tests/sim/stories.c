#include "sim.h"

void sim_start_with_content(struct sim *s, size_t keys)
{
    for (size_t i = 0; i < s->node_count; i++) {
        sim_add_random(s, i, keys);
    }
    sim_start_all(s);
}

void sim_start_rest(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        if (!s->nodes[i].core) {
            sim_start(s, i, 5);
        }
    }
}

/* Announcements at random moments by random nodes. */
void sim_announce_some(struct sim *s, size_t times, uint64_t limit_ms)
{
    for (size_t i = 0; i < times; i++) {
        sim_run(s, sim_random(s) % 700);
        sim_measure_visibility(s, sim_random(s) % s->node_count, limit_ms);
    }
}

void sim_settle(struct sim *s)
{
    sim_run(s, 5000);
    sim_measure_heal(s, SIM_HEALED_MS, "settled");
}

void sim_live_on(struct sim *s)
{
    uint64_t end_ms = (uint64_t)(s->hours * 3600000);
    bool lived = sim_ms(s) < end_ms;
    while (sim_ms(s) < end_ms) {
        uint64_t left_ms = end_ms - sim_ms(s), pause_ms = 10000 + sim_random(s) % 60000;
        sim_run(s, left_ms < pause_ms ? left_ms : pause_ms);
        size_t i = sim_random(s) % s->node_count;
        if (s->nodes[i].core) {
            sim_add_random(s, i, 1 + sim_random(s) % 10);
        }
    }
    if (lived) {
        sim_settle(s);
    }
}

void sim_split(struct sim *s, unsigned groups)
{
    for (size_t i = 0; i < s->node_count; i++) {
        s->nodes[i].group = (unsigned)(i % groups);
    }
    s->calm_us = s->now_us;
}
