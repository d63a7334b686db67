/* soak.c - simulated node-hours by the hundred thousand: `sim --soak`.
 *
 * A seed's number says what is run: one row of the plan below, with that seed. So two processes
 * with ranges of their own never run the same thing, whoever was stopped goes on at the next
 * number, and a claim of so many node-hours is repeated by the same range. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* Sizes and times such that each takes some seconds. Thirty hours: tombstones live for a day. */
static const struct {
    const char *scenario;
    size_t nodes;
    double hours;
} plan[] = {
    {"life", 12, 30},
    {"steady", 10, 60},
    {"loss5", 16, 30},
    {"life", 5, 60},
    {"restart", 16, 30},
    {"bad-network", 12, 24},
    {"partition-10min", 16, 30},
    {"life", 24, 12},
    {"rolling-restart", 16, 30},
    {"stall", 12, 30},
    {"clock-steps", 12, 30},
    {"key-rotation", 12, 30},
    {"life", 12, 30},
    {"udp-blocked", 16, 12},
    {"burst-loss", 12, 24},
    {"replay", 12, 12},
    {"life", 8, 40},
    {"steady", 60, 8},
    {"asymmetric", 16, 24},
    {"loss1", 20, 24},
    {"life", 40, 6},
    {"mass-restart", 24, 20},
    {"zone-partition-10min", 18, 24},
    {"zone-loss", 18, 24},
    {"crash-lossy", 16, 24},
    {"life", 3, 100},
    {"three", 3, 100},
    {"two", 2, 100},
    {"clock-back", 8, 40},
    {"address-reuse", 10, 40},
    {"life", 12, 30},
    {"dual-stack", 15, 24},
    {"leave", 15, 30},
    {"large-sets", 12, 30},
    {"gc", 16, 24},
    {"duplicate-id", 10, 40},
    {"no-tcp", 10, 40},
    {"loss30", 12, 6},
    {"life", 100, 2},
    {"far", 12, 24},
    {"ipv6", 15, 24},
    {"churn", 12, 1},
    {"partition-25h", 4, 30},
};
#define PLANNED (sizeof(plan) / sizeof(plan[0]))

int sim_soak(const struct sim_options *options, uint64_t first, uint64_t last)
{
    double node_hours = 0;
    size_t violations = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        size_t at = (seed - 1) % PLANNED;
        struct sim_options o = *options;
        struct sim_result result;
        const char *name = o.name ? o.name : plan[at].scenario;
        const struct sim_scenario *scenario = sim_scenario_find(name);
        if (!scenario) {
            fprintf(stderr, "sim: no scenario %s\n", name);
            return 2;
        }
        if (!options->name) {
            o.nodes = plan[at].nodes;
            o.hours = plan[at].hours;
        } else if (!(o.hours > 0)) {
            o.hours = 1;
        }
        sim_run_scenario(scenario, &o, seed, &result);
        node_hours += result.node_hours;
        violations += result.violations;
        printf(o.json ? "{\"first_seed\":%llu,\"last_seed\":%llu,\"node_hours\":%.1f,"
                        "\"violations\":%zu}\n"
                      : "soak: seeds %llu-%llu, %.1f node-hours, %zu violations\n",
               (unsigned long long)first, (unsigned long long)seed, node_hours, violations);
        fflush(stdout);
    }
    return violations > 0;
}
