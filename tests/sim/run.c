/* run.c - one scenario from its seed to its report. */
#include "sim.h"

#include "base/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

/* How to run again what is running: for a run that ends by a CHECK, a signal or a sanitizer. */
static char running[256];

static void tell_running(void)
{
    (void)!write(STDERR_FILENO, running, strlen(running));
}

static void on_signal(int number)
{
    tell_running();
    signal(number, SIG_DFL);
    raise(number);
}

static void note_running(const struct sim_scenario *scenario, const struct sim *s)
{
    snprintf(running, sizeof(running),
             "ended in: sim --scenario %s --nodes %zu --seed %llu --hours %g\n", scenario->name,
             s->node_count, (unsigned long long)s->seed, s->hours);
    signal(SIGABRT, on_signal); /* CHECK */
    signal(SIGTERM, on_signal); /* it hangs, or took too long for somebody */
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(tell_running);
#else
    signal(SIGSEGV, on_signal);
#endif
}

const struct sim_scenario *const sim_tables[] = {
    sim_story_scenarios,  sim_trouble_scenarios, sim_life_scenarios,   sim_scale_scenarios,
    sim_daemon_scenarios, sim_rollout_scenarios, sim_broken_scenarios, NULL};

const struct sim_scenario *sim_scenario_find(const char *name)
{
    for (size_t t = 0; sim_tables[t]; t++) {
        for (const struct sim_scenario *x = sim_tables[t]; x->name; x++) {
            if (strcmp(name, x->name) == 0) {
                return x;
            }
        }
    }
    return NULL;
}

void sim_run_scenario(const struct sim_scenario *scenario, const struct sim_options *o,
                      uint64_t seed, struct sim_result *ret_result)
{
    struct sim *s = malloc(sizeof(*s));
    CHECK(s);
    sim_init(s, seed, o->nodes ? o->nodes : scenario->nodes);
    s->hours = o->hours;
    note_running(scenario, s);
    scenario->run(s);
    sim_live_on(s);
    if (s->traffic_end_us == 0) {
        sim_traffic_begin(s); /* all of it: what was sent is counted from 0 */
        memset(s->traffic_from, 0, s->node_count * sizeof(*s->traffic_from));
        s->traffic_us = (uint64_t)SIM_START_MS * 1000;
        sim_traffic_end(s);
    }
    sim_measure_lives(s);
    sim_report(s, scenario);
    if (o->json) {
        sim_report_json(s, scenario);
    }
    *ret_result = (struct sim_result){
        .violations = s->violations, .trace = s->trace, .node_hours = sim_node_seconds(s) / 3600};
    sim_done(s);
    free(s);
}
