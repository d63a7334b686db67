#include "rollout.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define GB UINT64_C(1000000000)
#define GBIT_PER_S (GB / 8)

/* --- figures --- */

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t upstream_bytes(const struct rollout *r)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->blob_count; i++) {
        bytes += r->blobs[i].upstream_bytes;
    }
    return bytes;
}

static uint64_t overlap_worst_us(const struct rollout *r)
{
    uint64_t worst_us = 0;
    for (size_t i = 0; i < r->blob_count; i++) {
        uint64_t us = r->blobs[i].overlap_worst_us;
        worst_us = us > worst_us ? us : worst_us;
    }
    return worst_us;
}

/* What the busiest node sent, in images: in all, and to those whom an arbiter sent to it. */
static double busiest(const struct rollout *r, double *ret_offered)
{
    uint64_t most = 0, offered = 0;
    for (size_t i = 0; i < r->node_count; i++) {
        const struct rollout_node *n = &r->nodes[i];
        most = n->sent_bytes > most ? n->sent_bytes : most;
        offered = n->offered_bytes > offered ? n->offered_bytes : offered;
    }
    *ret_offered = (double)offered / (double)r->image_bytes;
    return (double)most / (double)r->image_bytes;
}

static void print_times(const struct rollout *r)
{
    uint64_t *us = calloc(r->node_count, sizeof(*us));
    size_t count = 0;
    CHECK(us);
    for (size_t i = 0; i < r->node_count; i++) {
        if (r->nodes[i].done_us) {
            us[count++] = r->nodes[i].done_us - r->start_us;
        }
    }
    qsort(us, count, sizeof(*us), by_time);
    size_t middle = count / 2, late = count * 99 / 100, last = count ? count - 1 : 0;
    printf("\"first_s\":%.2f,\"p50_s\":%.2f,\"p99_s\":%.2f,\"last_s\":%.2f,\"alone_s\":%.2f,"
           "\"last_over_alone\":%.2f",
           (double)us[0] / 1e6, (double)us[middle] / 1e6, (double)us[late] / 1e6,
           (double)us[last] / 1e6, (double)r->alone_us / 1e6,
           (double)us[last] / (double)r->alone_us);
    free(us);
}

static void print_arbiters(const struct rollout *r)
{
    struct gossip_swarm_stats sum = {0};
    uint64_t packets = 0, bytes = 0, most = 0;
    for (size_t i = 0; i < r->node_count; i++) {
        struct gossip_swarm_stats x;
        struct gossip_stats stats;
        if (!r->s->nodes[i].core) {
            continue;
        }
        gossip_swarm_stats(r->s->nodes[i].core, &x);
        gossip_stats(r->s->nodes[i].core, &stats);
        packets += stats.class_packets[GOSSIP_CLASS_SWARM];
        bytes += stats.class_bytes[GOSSIP_CLASS_SWARM];
        most = x.wants + x.renewed > most ? x.wants + x.renewed : most;
        sum.wants += x.wants;
        sum.granted += x.granted;
        sum.offered += x.offered;
        sum.waits += x.waits;
        sum.stays += x.stays;
        sum.revoked += x.revoked;
        sum.renewed += x.renewed;
        sum.asks_unanswered += x.asks_unanswered;
        sum.second_arbiter += x.second_arbiter;
    }
    printf(",\"wants\":%llu,\"granted\":%llu,\"offered\":%llu,\"waits\":%llu,\"stays\":%llu,"
           "\"revoked\":%llu,\"renewed\":%llu,\"unanswered\":%llu,\"second\":%llu,"
           "\"packets\":%llu,\"packet_bytes\":%llu,\"busiest_arbiter_heard\":%llu",
           (unsigned long long)sum.wants, (unsigned long long)sum.granted,
           (unsigned long long)sum.offered, (unsigned long long)sum.waits,
           (unsigned long long)sum.stays, (unsigned long long)sum.revoked,
           (unsigned long long)sum.renewed, (unsigned long long)sum.asks_unanswered,
           (unsigned long long)sum.second_arbiter, (unsigned long long)packets,
           (unsigned long long)bytes, (unsigned long long)most);
}

static void print_figures(const struct rollout *r, const char *name)
{
    printf("{\"rollout\":\"%s\",\"nodes\":%zu,\"blobs\":%zu,\"image_mb\":%llu,\"children\":%d,"
           "\"depth\":%d,",
           name, r->node_count, r->blob_count, (unsigned long long)(r->image_bytes / 1000000),
           LIMIT_SWARM_CHILDREN, LIMIT_SWARM_DEPTH);
    print_times(r);
    double offered, most = busiest(r, &offered);
    printf(",\"upstream\":%.3f,\"upstream_pulls\":%zu,\"busiest_uplink\":%.2f,"
           "\"busiest_uplink_offered\":%.2f,\"deepest\":%u,\"overlap_worst_ms\":%llu,"
           "\"circles\":%zu,\"circle_worst_ms\":%llu,\"leases\":%u,\"participants\":%u",
           (double)upstream_bytes(r) / (double)r->image_bytes, r->upstream_pulls, most, offered,
           r->deepest, (unsigned long long)(overlap_worst_us(r) / 1000), r->circles,
           (unsigned long long)(r->circle_worst_us / 1000), r->leases_worst, r->parts_worst);
    print_arbiters(r);
    printf("}\n");
    fflush(stdout);
}

/* --- stories --- */

enum trouble { NO_TROUBLE, DEAD_LEADER, LOST_LEADER, FROZEN_LEADER, DEAD_ARBITER, FROZEN_PARENT };

struct story {
    const char *name;
    size_t blobs;
    uint64_t bytes, upstream_bytes_per_s, link_bytes_per_s;
    unsigned loss; /* thousandths */
    enum trouble trouble;
    bool slow_node;
    double upstream_max, late_max; /* last node over the time of one alone; 0: not looked at */
};

static size_t leader_of(const struct rollout *r)
{
    for (size_t i = 0; i < r->node_count; i++) {
        if (r->nodes[i].copies[0].state == COPY_UPSTREAM) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* A node that feeds others and is fed. */
static size_t parent_of_many(const struct rollout *r)
{
    size_t best = SIZE_MAX;
    unsigned most = 0;
    for (size_t i = 0; i < r->node_count; i++) {
        unsigned children = 0;
        for (size_t k = 0; k < r->node_count; k++) {
            children +=
                r->nodes[k].copies[0].state == COPY_FOLLOWING && r->nodes[k].copies[0].parent == i;
        }
        if (r->nodes[i].copies[0].state == COPY_FOLLOWING && children > most) {
            best = i;
            most = children;
        }
    }
    return best;
}

static size_t arbiter_of(const struct rollout *r)
{
    size_t best = SIZE_MAX;
    uint32_t most = 0;
    for (size_t i = 0; i < r->node_count; i++) {
        struct gossip_swarm_stats stats;
        if (r->s->nodes[i].core && i != leader_of(r)) {
            gossip_swarm_stats(r->s->nodes[i].core, &stats);
            if (stats.wants > most) {
                best = i;
                most = (uint32_t)stats.wants;
            }
        }
    }
    return best;
}

static void kill(struct rollout *r, size_t node)
{
    for (size_t k = 0; k < ROLLOUT_AT_ONCE; k++) {
        if (r->nodes[node].active[k]) {
            rollout_stop_upstream(r, node, r->nodes[node].active[k] - 1);
        }
    }
    r->ended += r->nodes[node].done_us == 0;
    sim_kill(r->s, node);
}

static void make_trouble(struct rollout *r, enum trouble trouble)
{
    size_t node = trouble == DEAD_ARBITER    ? arbiter_of(r)
                  : trouble == FROZEN_PARENT ? parent_of_many(r)
                                             : leader_of(r);
    if (node == SIZE_MAX) {
        sim_violation(r->s, "nobody to be hurt");
        return;
    }
    if (trouble == DEAD_LEADER || trouble == DEAD_ARBITER) {
        kill(r, node);
    } else if (trouble == LOST_LEADER) {
        r->s->nodes[node].group = 1; /* unplugged: no answer, not even a reset */
        r->ended += r->nodes[node].done_us == 0;
        r->nodes[node].done_us = r->nodes[node].done_us ? r->nodes[node].done_us : r->s->now_us;
        rollout_stop_upstream(r, node, 0);
        r->nodes[node].copies[0].state = COPY_NONE;
        r->nodes[node].active[0] = 0;
    } else {
        sim_stall(r->s, node, 20000);
    }
}

static bool is_begun(const struct rollout *r, double part)
{
    size_t leader = leader_of(r);
    return leader != SIZE_MAX &&
           (double)r->nodes[leader].copies[0].bytes > part * (double)r->blobs[0].bytes;
}

static void check_end(struct rollout *r, const struct story *story)
{
    struct sim *s = r->s;
    double upstream = (double)upstream_bytes(r) / (double)r->image_bytes;
    uint64_t last_us = 0;
    for (size_t i = 0; i < r->node_count; i++) {
        if (s->nodes[i].core && !r->nodes[i].done_us) {
            sim_violation(s, "node %zu has not ended: %u of %zu, state %u", i, r->nodes[i].held,
                          r->blob_count, r->nodes[i].copies[0].state);
        }
        last_us = r->nodes[i].done_us > last_us ? r->nodes[i].done_us : last_us;
    }
    if (story->upstream_max > 0 && upstream > story->upstream_max) {
        sim_violation(s, "%.2f times the image from upstream", upstream);
    }
    double late = (double)(last_us - r->start_us) / (double)r->alone_us;
    if (story->late_max > 0 && late > story->late_max) {
        sim_violation(s, "the last node took %.2f times what one takes alone", late);
    }
    /* Who knows holders enough asks no arbiter. Such choose by a load some seconds old, so that the
     * last few may all choose one. */
    double offered, most = busiest(r, &offered);
    if (offered > LIMIT_SWARM_CHILDREN + 0.01 || most > 2 * LIMIT_SWARM_CHILDREN) {
        sim_violation(s, "one node sent %.2f times the image, %.2f to whom it was offered", most,
                      offered);
    }
}

/* What the arbiters know is gone soon after the last word. */
static void check_forgotten(struct sim *s)
{
    sim_run(s, LIMIT_SWARM_LEASE_MS * 2);
    for (size_t i = 0; i < s->node_count; i++) {
        struct gossip_swarm_stats stats;
        if (s->nodes[i].core && s->nodes[i].group == 0) {
            gossip_swarm_stats(s->nodes[i].core, &stats);
            if (stats.leases || stats.participants || stats.asks_open || stats.flights) {
                sim_violation(s,
                              "node %zu still keeps %u leases, %u participants, %u asks, "
                              "%u flights",
                              i, stats.leases, stats.participants, stats.asks_open, stats.flights);
            }
        }
    }
}

static void roll_out(struct sim *s, const struct story *story)
{
    if (s->node_count > 100) {
        sim_grow(s);
    } else {
        sim_start_all(s);
        sim_settle(s);
    }
    s->net.loss = story->loss;
    sim_run(s, 5000);
    struct rollout *r = rollout_new(s, story->blobs, story->bytes, story->link_bytes_per_s,
                                    story->upstream_bytes_per_s, 1000);
    if (story->slow_node) {
        r->nodes[3].up_bytes_per_s /= 10;
        r->nodes[3].down_bytes_per_s /= 10;
    }
    bool hurt = story->trouble == NO_TROUBLE;
    uint64_t limit_us = r->start_us + r->alone_us * 12 + 60000000;
    while (r->ended < r->node_count && s->now_us < limit_us) {
        rollout_step(r);
        if (!hurt && is_begun(r, 0.4)) {
            make_trouble(r, story->trouble);
            hurt = true;
        }
    }
    check_end(r, story);
    print_figures(r, story->name);
    s->net.loss = 0;
    check_forgotten(s);
    rollout_free(r);
}

/* One blob of 1 GB, everything at 1 Gbit/s, unless it says otherwise. */
static void tell(struct sim *s, struct story story)
{
    story.blobs = story.blobs ? story.blobs : 1;
    story.bytes = story.bytes ? story.bytes : GB / story.blobs;
    story.link_bytes_per_s = story.link_bytes_per_s ? story.link_bytes_per_s : GBIT_PER_S;
    story.upstream_bytes_per_s =
        story.upstream_bytes_per_s ? story.upstream_bytes_per_s : GBIT_PER_S;
    roll_out(s, &story);
}

#define ROLLOUT(function, ...)                                                                     \
    static void function(struct sim *s)                                                            \
    {                                                                                              \
        tell(s, (struct story){__VA_ARGS__});                                                      \
    }

/* As in the lab: upstream 100 Mbit/s, nodes 400, 32 MB in 4 layers. */
ROLLOUT(lab, .name = "lab", .blobs = 4, .bytes = 8000000, .upstream_bytes_per_s = GBIT_PER_S / 10,
        .link_bytes_per_s = GBIT_PER_S * 4 / 10, .upstream_max = 1.02, .late_max = 1.25)
ROLLOUT(one_blob, .name = "one blob", .upstream_max = 1.05)
ROLLOUT(hundred_blobs, .name = "a hundred blobs", .blobs = 100, .bytes = GB / 100,
        .upstream_max = 1.05)
ROLLOUT(loss_5, .name = "5 % loss", .loss = 50, .upstream_max = 1.05)
ROLLOUT(loss_30, .name = "30 % loss", .loss = 300, .upstream_max = 2)
ROLLOUT(loss_30_hundred, .name = "30 % loss, a hundred blobs", .loss = 300, .blobs = 100,
        .upstream_max = 2)
ROLLOUT(dead_leader, .name = "dead leader", .trouble = DEAD_LEADER, .upstream_max = 2)
ROLLOUT(lost_leader, .name = "lost leader", .trouble = LOST_LEADER, .upstream_max = 2)
ROLLOUT(frozen_leader, .name = "frozen leader", .trouble = FROZEN_LEADER, .upstream_max = 2)
ROLLOUT(dead_arbiter, .name = "dead arbiter", .trouble = DEAD_ARBITER, .upstream_max = 1.05)
ROLLOUT(frozen_parent, .name = "frozen parent", .trouble = FROZEN_PARENT, .upstream_max = 2)
ROLLOUT(slow_node, .name = "slow node", .slow_node = true, .upstream_max = 2)

const struct sim_scenario sim_rollout_scenarios[] = {
    {"cold-lab", "8 nodes pull 4 layers nobody has, upstream being slow", 8, lab, false},
    {"cold", "all pull one large blob nobody has, at once", 40, one_blob, false},
    {"cold-100", "the same, in a hundred blobs", 20, hundred_blobs, false},
    {"cold-loss-5", "a rollout at 5 % loss", 40, loss_5, false},
    {"cold-loss-30", "a rollout at 30 % loss", 40, loss_30, false},
    {"cold-100-loss", "a hundred blobs at 30 % loss", 100, loss_30_hundred, true},
    {"cold-leader", "the leader's daemon dies at 40 %", 40, dead_leader, false},
    {"cold-unplug", "the leader's machine is unplugged at 40 %", 40, lost_leader, false},
    {"cold-freeze", "the leader's daemon stops for 20 s at 40 %", 40, frozen_leader, false},
    {"cold-arbiter", "the arbiter dies at 40 %", 40, dead_arbiter, false},
    {"cold-parent", "a node that feeds others stops for 20 s at 40 %", 40, frozen_parent, false},
    {"cold-slow", "one node's link is ten times slower", 40, slow_node, false},
    {0},
};
