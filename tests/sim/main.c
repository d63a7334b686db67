/* main.c - the command line: usage() below.
 *
 * Without arguments: every scenario at its own size. Exit status 1 when an invariant or a limit was
 * violated, 2 for wrong arguments. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct sim_scenario *const tables[] = {sim_story_scenarios, sim_trouble_scenarios,
                                                    sim_scale_scenarios, sim_daemon_scenarios,
                                                    sim_rollout_scenarios};

struct options {
    const char *name;
    size_t nodes, bench_keys;
    uint64_t first_seed, last_seed;
    double hours;
    bool json, list, bench, soak;
};

static int usage(const char *what)
{
    fprintf(stderr,
            "sim: %s\n"
            "usage: sim [--list] [--scenario NAME] [--nodes N] [--seed S | --seeds A-B]\n"
            "           [--hours H] [--json] [--soak]\n"
            "       sim --bench --nodes N --keys K [--json]\n"
            "--hours: keep each cluster alive for so many simulated hours\n"
            "--soak: churn over ever new seeds, until stopped or a violation\n",
            what);
    return 2;
}

static size_t run_one(const struct sim_scenario *scenario, const struct options *o, uint64_t seed,
                      uint64_t *ret_trace)
{
    struct sim *s = malloc(sizeof(*s));
    if (!s) {
        abort();
    }
    sim_init(s, seed, o->nodes ? o->nodes : scenario->nodes);
    s->hours = o->hours;
    scenario->run(s);
    sim_live_on(s);
    if (s->traffic_end_us == 0) {
        sim_traffic_begin(s); /* all of it: what was sent is counted from 0 */
        memset(s->traffic_from, 0, s->node_count * sizeof(*s->traffic_from));
        s->traffic_us = (uint64_t)SIM_START_MS * 1000 + 1000000;
        sim_traffic_end(s);
    }
    sim_measure_sizes(s);
    sim_report(s, scenario);
    if (o->json) {
        sim_report_json(s, scenario);
    }
    size_t violations = s->violations;
    *ret_trace = s->trace;
    sim_done(s);
    free(s);
    return violations;
}

/* Invariant 11: the same seed gives the same trace. */
static size_t run_twice(const struct sim_scenario *scenario, const struct options *o, uint64_t seed)
{
    uint64_t first, second;
    size_t violations = run_one(scenario, o, seed, &first);
    violations += run_one(scenario, o, seed, &second);
    if (first != second) {
        printf("FAIL %s: the same seed gave two traces\n", scenario->name);
        violations++;
    }
    return violations;
}

static int list(void)
{
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (const struct sim_scenario *x = tables[t]; x->name; x++) {
            printf("%-16s %4zu nodes  %s\n", x->name, x->nodes, x->story);
        }
    }
    return 0;
}

static int run_all(const struct options *o)
{
    size_t violations = 0, ran = 0;
    uint64_t trace;
    for (uint64_t seed = o->first_seed; seed <= o->last_seed; seed++) {
        for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
            for (const struct sim_scenario *x = tables[t]; x->name; x++) {
                if (o->name ? strcmp(o->name, x->name) != 0 : x->only_by_name) {
                    continue;
                }
                bool twice = !o->name && strcmp(x->name, "bad-network") == 0;
                violations += twice ? run_twice(x, o, seed) : run_one(x, o, seed, &trace);
                ran++;
            }
        }
    }
    if (ran == 0) {
        return usage("no such scenario; --list names them");
    }
    return violations > 0;
}

static int soak(struct options *o)
{
    o->name = o->name ? o->name : "churn";
    o->hours = o->hours > 0 ? o->hours : 1;
    for (;; o->first_seed = ++o->last_seed) {
        int status = run_all(o);
        if (status) {
            return status;
        }
    }
}

/* Whether the argument was understood; *ret_took: with its value. */
static bool parse(struct options *o, const char *arg, const char *value, bool *ret_took)
{
    char *end = NULL;
    *ret_took = false;
    o->json = o->json || strcmp(arg, "--json") == 0;
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
        o->name = value;
        return true;
    }
    if (strcmp(arg, "--nodes") == 0) {
        o->nodes = strtoul(value, &end, 10);
    } else if (strcmp(arg, "--keys") == 0) {
        o->bench_keys = strtoul(value, &end, 10);
    } else if (strcmp(arg, "--hours") == 0) {
        o->hours = strtod(value, &end);
    } else if (strcmp(arg, "--seed") == 0) {
        o->first_seed = o->last_seed = strtoull(value, &end, 10);
    } else if (strcmp(arg, "--seeds") == 0) {
        o->first_seed = o->last_seed = strtoull(value, &end, 10);
        if (*end == '-') {
            o->last_seed = strtoull(end + 1, &end, 10);
        }
    }
    return end && end != value && *end == '\0';
}

int main(int argc, char **argv)
{
    struct options o = {.first_seed = 7, .last_seed = 7, .bench_keys = 600};
    for (int i = 1; i < argc; i++) {
        bool took;
        if (!parse(&o, argv[i], argv[i + 1], &took)) {
            return usage("an argument lacks its value, or is unknown");
        }
        i += took;
    }
    if (o.nodes > SIM_NODES_MAX || o.nodes == 1) {
        return usage("--nodes: 2 to 10000");
    }
    if (o.last_seed < o.first_seed || o.hours < 0) {
        return usage("--seeds: from the first to the last; --hours: not below 0");
    }
    if (o.list) {
        return list();
    }
    if (o.bench) {
        return sim_bench(o.nodes ? o.nodes : 1000, o.bench_keys, o.first_seed, o.json);
    }
    return o.soak ? soak(&o) : run_all(&o);
}
