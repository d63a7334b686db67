/* main.c - the command line: usage() below.
 *
 * Without arguments: every scenario at its own size. Exit status 1 when an invariant or a limit was
 * violated, 2 for wrong arguments. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    struct sim_options run;
    size_t bench_keys;
    uint64_t first_seed, last_seed;
    bool seed_given, range_given, list, bench, soak;
};

static int usage(const char *what)
{
    fprintf(
        stderr,
        "sim: %s\n"
        "usage: sim [--list] [--scenario NAME] [--nodes N] [--seed S | --seeds A-B]\n"
        "           [--hours H] [--json]\n"
        "       sim --soak [--scenario NAME] [--seed S | --seeds A-B] [--json]\n"
        "       sim --bench --nodes N --keys K [--json]\n"
        "--hours: keep each cluster alive for so many simulated hours\n"
        "--soak: one cluster after the other, a seed each, for hours of its time, until stopped;\n"
        "        from seed 1, or where --seed or --seeds says\n",
        what);
    return 2;
}

/* Invariant 11: the same seed gives the same trace. */
static size_t run_twice(const struct sim_scenario *scenario, const struct sim_options *o,
                        uint64_t seed)
{
    struct sim_result first, second;
    sim_run_scenario(scenario, o, seed, &first);
    sim_run_scenario(scenario, o, seed, &second);
    if (first.trace != second.trace) {
        printf(
            "FAIL %s: the same seed gave two traces; again: build/sim --scenario %s --seed %llu\n",
            scenario->name, scenario->name, (unsigned long long)seed);
        return 1;
    }
    return first.violations + second.violations;
}

static int list(void)
{
    for (size_t t = 0; sim_tables[t]; t++) {
        for (const struct sim_scenario *x = sim_tables[t]; x->name; x++) {
            printf("%-16s %4zu nodes  %s\n", x->name, x->nodes, x->story);
        }
    }
    return 0;
}

static size_t run_all_of(const struct sim_options *o, uint64_t seed)
{
    size_t violations = 0;
    for (size_t t = 0; sim_tables[t]; t++) {
        for (const struct sim_scenario *x = sim_tables[t]; x->name; x++) {
            struct sim_result result = {0};
            if (strcmp(x->name, "bad-network") == 0 || strcmp(x->name, "life") == 0) {
                violations += run_twice(x, o, seed);
            } else if (!x->only_by_name) {
                sim_run_scenario(x, o, seed, &result);
            }
            violations += result.violations;
        }
    }
    return violations;
}

static int run(const struct arguments *a)
{
    const struct sim_scenario *scenario = a->run.name ? sim_scenario_find(a->run.name) : NULL;
    size_t violations = 0;
    if (a->run.name && !scenario) {
        return usage("no such scenario; --list names them");
    }
    for (uint64_t seed = a->first_seed; seed <= a->last_seed; seed++) {
        struct sim_result result = {0};
        if (scenario) {
            sim_run_scenario(scenario, &a->run, seed, &result);
            if (result.violations > 0 && seed == a->last_seed && violations == 0) {
                sim_tell_smaller(scenario, &a->run, seed);
            }
        } else {
            result.violations = run_all_of(&a->run, seed);
        }
        violations += result.violations;
    }
    return violations > 0;
}

static int soak(const struct arguments *a)
{
    uint64_t first = a->seed_given ? a->first_seed : 1;
    return sim_soak(&a->run, first > 0 ? first : 1, a->range_given ? a->last_seed : UINT64_MAX);
}

/* Whether the argument was understood; *ret_took: with its value. */
static bool parse(struct arguments *o, const char *arg, const char *value, bool *ret_took)
{
    char *end = NULL;
    *ret_took = false;
    o->run.json = o->run.json || strcmp(arg, "--json") == 0;
    o->list = o->list || strcmp(arg, "--list") == 0;
    o->bench = o->bench || strcmp(arg, "--bench") == 0;
    o->soak = o->soak || strcmp(arg, "--soak") == 0;
    if (strcmp(arg, "--json") == 0 || strcmp(arg, "--list") == 0 || strcmp(arg, "--bench") == 0 ||
        strcmp(arg, "--soak") == 0) {
        return true;
    }
    if (!value) {
        return false;
    }
    *ret_took = true;
    if (strcmp(arg, "--scenario") == 0) {
        o->run.name = value;
        return true;
    }
    if (strcmp(arg, "--nodes") == 0) {
        o->run.nodes = strtoul(value, &end, 10);
    } else if (strcmp(arg, "--keys") == 0) {
        o->bench_keys = strtoul(value, &end, 10);
    } else if (strcmp(arg, "--hours") == 0) {
        o->run.hours = strtod(value, &end);
    } else if (strcmp(arg, "--seed") == 0) {
        o->first_seed = o->last_seed = strtoull(value, &end, 10);
        o->seed_given = true;
    } else if (strcmp(arg, "--seeds") == 0) {
        o->seed_given = o->range_given = true;
        o->first_seed = o->last_seed = strtoull(value, &end, 10);
        if (*end == '-') {
            o->last_seed = strtoull(end + 1, &end, 10);
        }
    }
    return end && end != value && *end == '\0';
}

int main(int argc, char **argv)
{
    struct arguments o = {.first_seed = 7, .last_seed = 7, .bench_keys = 600};
    for (int i = 1; i < argc; i++) {
        bool took;
        if (!parse(&o, argv[i], argv[i + 1], &took)) {
            return usage("an argument lacks its value, or is unknown");
        }
        i += took;
    }
    if (o.run.nodes > SIM_NODES_MAX || o.run.nodes == 1) {
        return usage("--nodes: 2 to 10000");
    }
    if (o.last_seed < o.first_seed || o.run.hours < 0) {
        return usage("--seeds: from the first to the last; --hours: not below 0");
    }
    if (o.list) {
        return list();
    }
    if (o.bench) {
        return sim_bench(o.run.nodes ? o.run.nodes : 1000, o.bench_keys, o.first_seed, o.run.json);
    }
    return o.soak ? soak(&o) : run(&o);
}
