/* smaller.c - of a run that failed, the smallest like it that still fails: halves of the nodes,
 * then of the hours. Each is tried in a process of its own, for it may end by a CHECK, or not at
 * all. */
#include "sim.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES_MIN 2
#define HOURS_MIN 0.01
#define SECONDS_EACH 60 /* a try that takes longer is no easier to look at */

static bool still_fails(const struct sim_scenario *scenario, const struct sim_options *o,
                        uint64_t seed)
{
    struct sim_result result;
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(SECONDS_EACH);
        (void)close(STDOUT_FILENO);
        (void)close(STDERR_FILENO);
        sim_run_scenario(scenario, o, seed, &result);
        _exit(result.violations > 0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 1;
}

void sim_tell_smaller(const struct sim_scenario *scenario, const struct sim_options *options,
                      uint64_t seed)
{
    FILE *out = options->json ? stderr : stdout; /* there the report is the last line */
    struct sim_options o = *options, less = o;
    o.json = less.json = false;
    less.nodes = o.nodes = o.nodes ? o.nodes : scenario->nodes;
    while ((less.nodes = o.nodes / 2) >= NODES_MIN && still_fails(scenario, &less, seed)) {
        o.nodes = less.nodes;
    }
    less.nodes = o.nodes;
    while ((less.hours = o.hours / 2) >= HOURS_MIN && still_fails(scenario, &less, seed)) {
        o.hours = less.hours;
    }
    fprintf(out, "  the smallest that fails: build/sim --scenario %s --nodes %zu --seed %llu",
            scenario->name, o.nodes, (unsigned long long)seed);
    fprintf(out, o.hours > 0 ? " --hours %g\n" : "\n", o.hours);
}

/* A bound that no cluster of more than three keeps: what a failure looks like. */
static void run_broken(struct sim *s)
{
    sim_start_all(s);
    sim_run(s, 3000);
    if (s->node_count > 3) {
        sim_violation(s, "%zu nodes are more than three", s->node_count);
    }
}

const struct sim_scenario sim_broken_scenarios[] = {
    {"broken", "fails with more than three nodes: what a failure looks like", 20, run_broken, true},
    {0},
};
