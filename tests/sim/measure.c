#include "sim.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define POLL_MS 10

void sim_sample(struct sim_samples *samples, uint64_t ms)
{
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? samples->capacity * 2 : 64;
        samples->ms = realloc(samples->ms, samples->capacity * sizeof(*samples->ms));
        CHECK(samples->ms);
    }
    samples->ms[samples->count++] = (uint32_t)ms;
    samples->sorted = false;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

uint32_t sim_permille(struct sim_samples *samples, unsigned permille)
{
    if (samples->count == 0) {
        return 0;
    }
    if (!samples->sorted) {
        qsort(samples->ms, samples->count, sizeof(*samples->ms), compare);
        samples->sorted = true;
    }
    return samples->ms[(samples->count - 1) * permille / 1000];
}

bool sim_finds(struct sim *s, size_t node, uint64_t key, uint64_t holder_id)
{
    struct gossip_holder holders[64];
    size_t count = gossip_lookup(s->nodes[node].core, key, holders, 64);
    for (size_t i = 0; i < count; i++) {
        if (holders[i].id == holder_id) {
            return true;
        }
    }
    return false;
}

/* Until `finds` is as wanted at every other running node of the group; samples each, and in `last`
 * how long all of them took. */
static void watch(struct sim *s, size_t node, uint64_t key, uint64_t id, bool wanted,
                  struct sim_samples *samples, struct sim_samples *last, uint64_t limit_ms,
                  const char *what)
{
    bool *done = calloc(s->node_count, sizeof(*done));
    uint64_t start_ms = sim_ms(s);
    size_t missing;
    CHECK(done);
    do {
        sim_run(s, POLL_MS);
        missing = 0;
        for (size_t i = 0; i < s->node_count; i++) {
            struct sim_node *n = &s->nodes[i];
            bool concerned = n->core && i != node && strcmp(n->label, s->nodes[node].label) == 0 &&
                             (!wanted || n->group == s->nodes[node].group);
            if (!concerned || done[i]) {
                continue;
            }
            done[i] = sim_finds(s, i, key, id) == wanted;
            if (done[i]) {
                sim_sample(samples, sim_ms(s) - start_ms);
            } else {
                missing++;
            }
        }
    } while (missing > 0 && sim_ms(s) - start_ms < limit_ms);
    free(done);
    sim_sample(last, sim_ms(s) - start_ms);
    if (missing > 0) {
        sim_violation(s, "%s: %zu nodes have not noticed after %llu ms", what, missing,
                      (unsigned long long)limit_ms);
    }
}

void sim_measure_visibility(struct sim *s, size_t node, uint64_t limit_ms)
{
    uint64_t key = sim_random(s) >> 1;
    sim_add(s, node, &key, 1);
    watch(s, node, key, s->nodes[node].id, true, &s->visibility, &s->visibility_last, limit_ms,
          "an announcement");
}

void sim_measure_exclusion(struct sim *s, size_t node, uint64_t limit_ms)
{
    struct sim_node *n = &s->nodes[node];
    CHECK(sim_keys_has(&n->held, n->own_key));
    watch(s, node, n->own_key, n->id, false, &s->exclusion, &s->exclusion_last, limit_ms,
          "a node that is gone");
}

void sim_measure_join(struct sim *s, size_t node, uint64_t limit_ms)
{
    struct sim_node *n = &s->nodes[node];
    uint64_t start_ms = sim_ms(s);
    while (!n->ready_us && sim_ms(s) - start_ms < limit_ms) {
        sim_run(s, POLL_MS);
    }
    if (!n->ready_us) {
        sim_violation(s, "node %zu not ready after %llu ms", node, (unsigned long long)limit_ms);
        return;
    }
    sim_sample(&s->join, sim_ms(s) - start_ms);
}

void sim_measure_heal(struct sim *s, uint64_t limit_ms, const char *when)
{
    uint64_t start_ms = sim_ms(s);
    while (!sim_views_equal(s) && sim_ms(s) - start_ms < limit_ms) {
        sim_run(s, s->node_count > 200 ? 200 : 50);
    }
    sim_sample(&s->heal, sim_ms(s) - start_ms);
    sim_check_views_equal(s, when);
}

/* --- traffic and sizes --- */

struct sim_traffic sim_sent_by(const struct sim *s, const struct sim_node *n)
{
    struct sim_traffic t = n->sent;
    struct gossip_stats stats;
    if (n->core) {
        gossip_stats(n->core, &stats);
        for (size_t c = 0; c < GOSSIP_CLASSES; c++) {
            t.class_packets[c] += stats.class_packets[c];
            t.class_bytes[c] += stats.class_bytes[c];
        }
        t.lived_us += s->now_us - n->started_us;
    }
    return t;
}

void sim_traffic_begin(struct sim *s)
{
    s->traffic_us = s->now_us;
    for (size_t i = 0; i < s->node_count; i++) {
        s->traffic_from[i] = sim_sent_by(s, &s->nodes[i]);
    }
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

void sim_traffic_end(struct sim *s)
{
    struct sim_traffic *sum = &s->traffic;
    *sum = (struct sim_traffic){0};
    s->traffic_end_us = s->now_us;
    s->worst_packets_s = s->worst_bytes_s = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        struct sim_traffic t = sim_sent_by(s, &s->nodes[i]), from = s->traffic_from[i];
        uint64_t packets = t.packets - from.packets, bytes = t.bytes - from.bytes;
        uint64_t lived_us = t.lived_us - from.lived_us;
        sum->packets += packets;
        sum->bytes += bytes;
        sum->lived_us += lived_us;
        for (size_t c = 0; c < GOSSIP_CLASSES; c++) {
            sum->class_packets[c] += t.class_packets[c] - from.class_packets[c];
            sum->class_bytes[c] += t.class_bytes[c] - from.class_bytes[c];
        }
        if (lived_us > (s->traffic_end_us - s->traffic_us) / 2) {
            double lived_s = (double)lived_us / 1e6;
            s->worst_packets_s = larger(s->worst_packets_s, (double)packets / lived_s);
            s->worst_bytes_s = larger(s->worst_bytes_s, (double)bytes / lived_s);
        }
    }
}

void sim_note_sizes(struct sim *s, const struct gossip_stats *stats)
{
    s->index_bytes = stats->index_bytes > s->index_bytes ? stats->index_bytes : s->index_bytes;
    s->core_bytes = stats->core_bytes > s->core_bytes ? stats->core_bytes : s->core_bytes;
}

void sim_measure_lives(struct sim *s)
{
    s->changes_applied = s->changes_again = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_stats stats;
        if (s->nodes[i].core) {
            gossip_stats(s->nodes[i].core, &stats);
            sim_note_sizes(s, &stats);
            s->changes_applied += stats.ops_applied;
            s->changes_again += stats.ops_stale;
        }
    }
}
