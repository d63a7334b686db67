/* main.c - sim [--list] [--scenario NAME] [--nodes N] [--seed S]
 *
 * Without arguments: every scenario at its own size. Exit status 1 when an invariant or a limit was
 * violated, 2 for wrong arguments. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int usage(const char *what)
{
    fprintf(stderr, "sim: %s\nusage: sim [--list] [--scenario NAME] [--nodes N] [--seed S]\n",
            what);
    return 2;
}

static size_t run_one(const struct sim_scenario *scenario, size_t nodes, uint64_t seed,
                      uint64_t *ret_trace)
{
    struct sim *s = malloc(sizeof(*s));
    if (!s) {
        abort();
    }
    sim_init(s, seed, nodes);
    scenario->run(s);
    printf("%s %-16s nodes %-3zu seed %-4llu visible %u/%u ms, excluded %u/%u ms, joined %u/%u ms "
           "(p50/p99), out %.1e, %zu packets, trace %016llx\n",
           s->violations ? "FAIL" : "PASS", scenario->name, nodes, (unsigned long long)seed,
           sim_percentile(&s->visibility, 50), sim_percentile(&s->visibility, 99),
           sim_percentile(&s->exclusion, 50), sim_percentile(&s->exclusion, 99),
           sim_percentile(&s->join, 50), sim_percentile(&s->join, 99),
           (double)s->pairs_out / (double)(s->pairs_seen ? s->pairs_seen : 1), s->packets,
           (unsigned long long)s->trace);
    size_t violations = s->violations;
    if (violations) {
        printf("  %zu violations; again: build/sim --scenario %s --nodes %zu --seed %llu\n",
               violations, scenario->name, nodes, (unsigned long long)seed);
    }
    fflush(stdout);
    *ret_trace = s->trace;
    sim_done(s);
    free(s);
    return violations;
}

/* Invariant 11: the same seed gives the same trace. */
static size_t run_twice(const struct sim_scenario *scenario, size_t nodes, uint64_t seed)
{
    uint64_t first, second;
    size_t violations = run_one(scenario, nodes, seed, &first);
    violations += run_one(scenario, nodes, seed, &second);
    if (first != second) {
        printf("FAIL %s: the same seed gave two traces\n", scenario->name);
        violations++;
    }
    return violations;
}

static int list(void)
{
    for (const struct sim_scenario *x = sim_scenarios; x->name; x++) {
        printf("%-16s %3zu nodes  %s\n", x->name, x->nodes, x->story);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = NULL;
    size_t nodes = 0, violations = 0, ran = 0;
    uint64_t seed = 7, trace;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            return list();
        }
        if (i + 1 == argc) {
            return usage("an argument lacks its value, or is unknown");
        }
        if (strcmp(argv[i], "--scenario") == 0) {
            name = argv[++i];
        } else if (strcmp(argv[i], "--nodes") == 0) {
            nodes = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            return usage("unknown argument");
        }
    }
    if (nodes > SIM_NODES_MAX || nodes == 1) {
        return usage("--nodes: 2 to 200");
    }
    for (const struct sim_scenario *x = sim_scenarios; x->name; x++) {
        if (name && strcmp(name, x->name) != 0) {
            continue;
        }
        size_t size = nodes ? nodes : x->nodes;
        bool twice = !name && strcmp(x->name, "bad-network") == 0;
        violations += twice ? run_twice(x, size, seed) : run_one(x, size, seed, &trace);
        ran++;
    }
    if (ran == 0) {
        return usage("no such scenario; --list names them");
    }
    return violations > 0;
}
