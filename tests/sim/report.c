#include "sim.h"

#include <stdio.h>

double sim_node_seconds(const struct sim *s)
{
    uint64_t us = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        us += sim_sent_by(s, &s->nodes[i]).lived_us;
    }
    return us ? (double)us / 1e6 : 1;
}

static double out_ratio(const struct sim *s)
{
    return (double)s->pairs_out / (double)(s->pairs_seen ? s->pairs_seen : 1);
}

static double a_node_s(const struct sim *s, uint64_t of_all)
{
    return (double)of_all * 1e6 / (double)(s->traffic.lived_us ? s->traffic.lived_us : 1000000);
}

double sim_bytes_per_node_s(const struct sim *s, bool worst_node)
{
    return worst_node ? s->worst_bytes_s : a_node_s(s, s->traffic.bytes);
}

static void print_samples(const char *what, struct sim_samples *x)
{
    if (x->count) {
        printf(" %s %u/%u/%u ms", what, sim_permille(x, 500), sim_permille(x, 990),
               sim_permille(x, 1000));
    }
}

void sim_report(struct sim *s, const struct sim_scenario *scenario)
{
    printf("%s %-17s nodes %-4zu seed %-4llu", s->violations ? "FAIL" : "PASS", scenario->name,
           s->node_count, (unsigned long long)s->seed);
    print_samples("visible", &s->visibility);
    print_samples("at the last", &s->visibility_last);
    print_samples("excluded", &s->exclusion);
    print_samples("by the last", &s->exclusion_last);
    print_samples("joined", &s->join);
    print_samples("healed", &s->heal);
    printf(" out %.1e, %.0f B/s, %.1f h, trace %016llx\n", out_ratio(s),
           sim_bytes_per_node_s(s, false), sim_node_seconds(s) / 3600,
           (unsigned long long)s->trace);
    if (s->violations) {
        printf("  %zu violations; again: build/sim --scenario %s --nodes %zu --seed %llu",
               s->violations, scenario->name, s->node_count, (unsigned long long)s->seed);
        printf(s->hours > 0 ? " --hours %g\n" : "\n", s->hours);
    }
    fflush(stdout);
}

static void json_samples(const char *name, struct sim_samples *x)
{
    printf(",\"%s\":{\"p50\":%u,\"p99\":%u,\"p999\":%u,\"max\":%u,\"count\":%zu}", name,
           sim_permille(x, 500), sim_permille(x, 990), sim_permille(x, 999), sim_permille(x, 1000),
           x->count);
}

static void json_rate(const struct sim *s, const char *name, uint64_t sum, double worst_s,
                      const uint64_t by_class[GOSSIP_CLASSES])
{
    static const char *const classes[GOSSIP_CLASSES] = {"probe", "rumour", "sync", "join", "swarm"};
    printf(",\"%s\":{\"mean\":%.1f,\"worst\":%.1f,\"by_class\":{", name, a_node_s(s, sum), worst_s);
    for (size_t c = 0; c < GOSSIP_CLASSES; c++) {
        printf("%s\"%s\":%.1f", c ? "," : "", classes[c], a_node_s(s, by_class[c]));
    }
    printf("}}");
}

void sim_report_json(struct sim *s, const struct sim_scenario *scenario)
{
    const struct sim_traffic *sum = &s->traffic;
    printf("{\"scenario\":\"%s\",\"nodes\":%zu,\"seed\":%llu,\"hours\":%.4f,\"violations\":%zu,"
           "\"trace\":\"%016llx\"",
           scenario->name, s->node_count, (unsigned long long)s->seed, (double)sim_ms(s) / 3.6e6,
           s->violations, (unsigned long long)s->trace);
    json_samples("visibility_ms", &s->visibility);
    json_samples("visibility_last_ms", &s->visibility_last);
    json_samples("exclusion_ms", &s->exclusion);
    json_samples("exclusion_last_ms", &s->exclusion_last);
    json_samples("join_ms", &s->join);
    json_samples("heal_ms", &s->heal);
    printf(",\"false_out_ratio\":%.3g,\"false_out_samples\":%zu,\"false_out_worst_ms\":%llu",
           out_ratio(s), s->pairs_seen, (unsigned long long)s->out_worst_ms);
    json_rate(s, "bytes_out_per_node_s", sum->bytes, s->worst_bytes_s, sum->class_bytes);
    json_rate(s, "packets_out_per_node_s", sum->packets, s->worst_packets_s, sum->class_packets);
    printf(",\"peak_bytes_out_s\":%llu,\"copies_per_delivery\":%.2f",
           (unsigned long long)s->peak_bytes_s,
           s->changes_applied ? 1 + (double)s->changes_again / (double)s->changes_applied : 0);
    printf(",\"join_bytes\":%llu,\"fetched_bytes\":%llu,\"fetched_sets\":%llu,"
           "\"served_busy\":%llu,\"index_bytes\":%llu,\"core_bytes\":%llu",
           (unsigned long long)s->join_bytes, (unsigned long long)s->fetched_bytes,
           (unsigned long long)s->fetched_sets, (unsigned long long)s->served_busy,
           (unsigned long long)s->index_bytes, (unsigned long long)s->core_bytes);
    printf(",\"queue_max\":{\"rumours\":%u,\"change_bytes\":%u,\"behind\":%u,\"fetches\":%u}",
           s->rumours_max, s->change_bytes_max, s->behind_max, s->fetches_max);
    printf(",\"node_hours\":%.3f,\"cpu_us_per_node_s\":%.2f}\n", sim_node_seconds(s) / 3600,
           (double)s->core_cpu_ns / 1000 / sim_node_seconds(s));
    fflush(stdout);
}
