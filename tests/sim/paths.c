#include "paths.h"

#define DEGRADED_MS 10000 /* to find and to be found without UDP */

static void announce_from(struct sim *s, size_t node)
{
    sim_measure_visibility(s, node, DEGRADED_MS);
    sim_run(s, sim_random(s) % 3000);
}

static void check_blocked(struct sim *s, size_t node, bool wanted)
{
    struct gossip_stats stats;
    gossip_stats(s->nodes[node].core, &stats);
    if (stats.udp_blocked != wanted) {
        sim_violation(s, "node %zu says that UDP is %s", node, wanted ? "open" : "blocked");
    }
}

/* Host firewalls of a few nodes let nothing but TCP through: one from its start, one from later on;
 * both are opened in the end. */
void paths_run_udp_blocked(struct sim *s)
{
    s->nodes[0].udp_blocked = true;
    sim_start_with_content(s, 20);
    sim_run(s, DEGRADED_MS);
    sim_check_views_equal(s, "10 s after the start, one without UDP");
    check_blocked(s, 0, true);
    s->nodes[1].udp_blocked = true;
    s->calm_us = s->now_us;
    sim_run(s, 2 * DEGRADED_MS);
    sim_check_views_equal(s, "20 s after another lost UDP");
    check_blocked(s, 1, true);
    check_blocked(s, 2, false);
    for (size_t i = 0; i < 6; i++) {
        announce_from(s, i % 3);
    }
    sim_run(s, 600000); /* and for long */
    sim_check_views_equal(s, "10 min without UDP");
    sim_kill(s, 2); /* the blind are told who died */
    sim_measure_exclusion(s, 2, 20000);
    sim_leave(s, 1);
    sim_measure_exclusion(s, 1, 20000);
    sim_run(s, 1000);
    sim_start(s, 1, 3);
    sim_start(s, 2, 3);
    sim_run(s, 2 * DEGRADED_MS);
    sim_check_views_equal(s, "two came back, one of them without UDP");
    s->nodes[0].udp_blocked = s->nodes[1].udp_blocked = false;
    sim_run(s, DEGRADED_MS);
    check_blocked(s, 0, false);
    check_blocked(s, 1, false);
    sim_announce_some(s, 10, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* A network policy that opens TCP alone: nobody hears anybody over UDP. */
void paths_run_udp_blocked_all(struct sim *s)
{
    s->net.udp_blocked = true;
    sim_start_with_content(s, 20);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_measure_join(s, i, 3000);
    }
    sim_measure_heal(s, 2 * DEGRADED_MS, "nobody has UDP");
    for (size_t i = 0; i < 6; i++) {
        announce_from(s, i);
    }
    sim_kill(s, 0); /* only time tells */
    sim_measure_exclusion(s, 0, 180000);
    sim_run(s, 300000);
    sim_start(s, 0, 3);
    sim_run(s, 2 * DEGRADED_MS);
    sim_check_views_equal(s, "back, without UDP");
    s->net.udp_blocked = false;
    s->calm_us = s->now_us;
    sim_run(s, DEGRADED_MS);
    for (size_t i = 0; i < s->node_count; i++) {
        check_blocked(s, i, false);
    }
    sim_announce_some(s, 10, SIM_VISIBLE_MS);
    sim_settle(s);
}

/* A third each of IPv4 alone, IPv6 alone and both: the first two cannot hear one another, but are
 * members all the same, known by way of the third. */
void paths_run_dual_stack(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        if (i % 3) {
            sim_give_ipv6(s, i, i % 3 == 2);
        }
    }
    sim_start_with_content(s, 20);
    sim_run(s, 15000);
    for (size_t i = 0; i < s->node_count; i++) {
        uint64_t key = s->nodes[i].own_key, id = s->nodes[i].id;
        for (size_t k = 1; k < s->node_count; k += 3) { /* those with both */
            if (k != i && !sim_finds(s, k, key, id)) {
                sim_violation(s, "node %zu has both, and does not find node %zu", k, i);
            }
        }
    }
    sim_run(s, 60000); /* nobody is taken for dead for not being heard */
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_stats stats;
        gossip_stats(s->nodes[i].core, &stats);
        if (stats.suspicions > 0) {
            sim_violation(s, "node %zu suspected somebody", i);
        }
    }
    sim_kill(s, 1);
    sim_measure_exclusion(s, 1, SIM_EXCLUDED_MS + 1000);
    sim_start(s, 1, 5);
    sim_measure_join(s, 1, 3 * SIM_JOINED_MS);
}

void paths_run_ipv6(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        sim_give_ipv6(s, i, true);
    }
    s->net.mtu = 1280;
    sim_start_with_content(s, 20);
    sim_run(s, 8000);
    sim_announce_some(s, 10, SIM_VISIBLE_MS);
    sim_kill(s, 0);
    sim_measure_exclusion(s, 0, SIM_EXCLUDED_MS);
    sim_start(s, 0, 5);
    sim_settle(s);
}
