#include "sim.h"

#include "gossip/key.h"

#include "base/check.h"

#include <stdlib.h>

#define POLL_MS 10

void sim_sample(struct sim_samples *samples, uint64_t ms)
{
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? samples->capacity * 2 : 64;
        samples->ms = realloc(samples->ms, samples->capacity * sizeof(*samples->ms));
        CHECK(samples->ms);
    }
    samples->ms[samples->count++] = (uint32_t)ms;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

uint32_t sim_percentile(struct sim_samples *samples, unsigned percent)
{
    if (samples->count == 0) {
        return 0;
    }
    qsort(samples->ms, samples->count, sizeof(*samples->ms), compare);
    return samples->ms[(samples->count - 1) * percent / 100];
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

/* Until `finds` is as wanted at every other running node of the group; samples each. */
static void watch(struct sim *s, size_t node, uint64_t key, uint64_t id, bool wanted,
                  struct sim_samples *samples, uint64_t limit_ms, const char *what)
{
    bool done[SIM_NODES_MAX] = {false};
    uint64_t start_ms = sim_ms(s);
    size_t missing;
    do {
        sim_run(s, POLL_MS);
        missing = 0;
        for (size_t i = 0; i < s->node_count; i++) {
            struct sim_node *n = &s->nodes[i];
            bool concerned = n->core && i != node && (!wanted || n->group == s->nodes[node].group);
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
    if (missing > 0) {
        sim_violation(s, "%s: %zu nodes have not noticed after %llu ms", what, missing,
                      (unsigned long long)limit_ms);
    }
}

void sim_measure_visibility(struct sim *s, size_t node, uint64_t limit_ms)
{
    uint64_t key = sim_random(s) >> 1;
    sim_add(s, node, &key, 1);
    watch(s, node, key, s->nodes[node].id, true, &s->visibility, limit_ms, "an announcement");
}

void sim_measure_exclusion(struct sim *s, size_t node, uint64_t limit_ms)
{
    CHECK(s->nodes[node].held.count > 0);
    watch(s, node, s->nodes[node].held.keys[0], s->nodes[node].id, false, &s->exclusion, limit_ms,
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
        sim_run(s, 50);
    }
    sim_check_views_equal(s, when);
}
