/* goals.c - what the cluster is to reach, as limits: a run that misses one fails.
 *
 * The figures are those of the table in docs/gossip.md, "Measured". They are held at every size
 * they are measured at, unless said otherwise here: what 1,000 nodes reach, 100 do. */
#include "sim.h"

#define OUT_PER_PAIR 1e-5
#define JOIN_BYTES 1000000   /* of 1,000 nodes with 600 digests each */
#define INDEX_BYTES 3000000U /* the same */
#define JOIN_NODES 1000

static void check_p99(struct sim *s, struct sim_samples *samples, uint32_t limit_ms,
                      const char *what)
{
    uint32_t p99_ms = sim_permille(samples, 990);
    if (samples->count == 0 || p99_ms >= limit_ms) {
        sim_violation(s, "goal: %s, p99, after %u ms, not below %u", what, p99_ms, limit_ms);
    }
}

void sim_goal_visible(struct sim *s, uint32_t limit_ms)
{
    /* The goal is that of 1,000 nodes: with more, at each of them by itself. */
    check_p99(s, s->node_count <= 1000 ? &s->visibility_last : &s->visibility, limit_ms,
              "an announcement is visible");
}

void sim_goal_excluded(struct sim *s)
{
    check_p99(s, &s->exclusion, SIM_EXCLUDED_MS, "a node that is gone is not chosen");
    check_p99(s, &s->exclusion_last, SIM_EXCLUDED_MS, "a node that is gone is chosen nowhere");
}

void sim_goal_out_ratio(struct sim *s)
{
    double ratio = (double)s->pairs_out / (double)(s->pairs_seen ? s->pairs_seen : 1);
    /* One look in a small cluster's few says nothing yet. */
    if (s->pairs_seen == 0 || (s->pairs_out > 1 && ratio >= OUT_PER_PAIR)) {
        sim_violation(s, "goal: live nodes out in %zu of %zu looks", s->pairs_out, s->pairs_seen);
    }
}

void sim_goal_traffic(struct sim *s, bool worst_node)
{
    double limit = s->node_count <= 100 ? 1000 : s->node_count <= 1000 ? 5000 : 16000;
    double bytes_s = sim_bytes_per_node_s(s, worst_node);
    if (bytes_s > limit || bytes_s <= 0) {
        sim_violation(s, "goal: %.0f bytes a second out of %s, not at most %.0f", bytes_s,
                      worst_node ? "one node" : "a node on average", limit);
    }
}

void sim_goal_join(struct sim *s)
{
    check_p99(s, &s->join, SIM_JOINED_MS, "ready with the full index");
    if (s->node_count > JOIN_NODES) {
        return; /* there is more to transfer and to hold */
    }
    if (s->join_bytes >= JOIN_BYTES || s->join_bytes == 0) {
        sim_violation(s, "goal: a join transferred %llu bytes, not below %d",
                      (unsigned long long)s->join_bytes, JOIN_BYTES);
    }
    if (s->core_bytes > INDEX_BYTES) { /* the index and the members */
        sim_violation(s, "goal: index and members take %llu bytes, not at most %u",
                      (unsigned long long)s->core_bytes, INDEX_BYTES);
    }
}
