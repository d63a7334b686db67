#include "rollout.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define SHARE_ROUNDS 3
#define CHECK_MS 100

struct rollout *rollout_new(struct sim *s, size_t blobs, uint64_t bytes, uint64_t link_bytes_per_s,
                            uint64_t upstream_bytes_per_s, uint64_t spread_ms)
{
    struct rollout *r = calloc(1, sizeof(*r));
    CHECK(r && blobs > 0 && blobs <= ROLLOUT_BLOBS_MAX);
    r->s = s;
    r->blob_count = blobs;
    r->node_count = s->node_count;
    r->image_bytes = blobs * bytes;
    r->upstream_bytes_per_s = upstream_bytes_per_s;
    r->start_us = s->now_us;
    r->nodes = calloc(r->node_count, sizeof(*r->nodes));
    CHECK(r->nodes);
    for (size_t i = 0; i < blobs; i++) {
        r->blobs[i].key = sim_random(s) >> 1;
        r->blobs[i].bytes = bytes;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        struct rollout_node *n = &r->nodes[i];
        n->copies = calloc(blobs, sizeof(*n->copies));
        CHECK(n->copies);
        n->start_us = s->now_us + (spread_ms ? sim_random(s) % (spread_ms * 1000) : 0);
        n->up_bytes_per_s = n->down_bytes_per_s = link_bytes_per_s;
    }
    uint64_t narrow =
        link_bytes_per_s < upstream_bytes_per_s ? link_bytes_per_s : upstream_bytes_per_s;
    r->alone_us = ROLLOUT_UPSTREAM_MS * 1000 + r->image_bytes * 1000000 / narrow;
    s->rollout = r;
    return r;
}

void rollout_free(struct rollout *r)
{
    r->s->rollout = NULL;
    for (size_t i = 0; i < r->node_count; i++) {
        free(r->nodes[i].copies);
    }
    free(r->nodes);
    free(r->replies);
    free(r->streams);
    free(r);
}

/* What the core answered is done at the next step: a process is no faster. */
void sim_rollout_answer(struct sim *s, size_t node, const struct gossip_answer *answer)
{
    struct rollout *r = s->rollout;
    if (r->reply_count == r->reply_capacity) {
        r->reply_capacity = r->reply_capacity ? r->reply_capacity * 2 : 64;
        r->replies = realloc(r->replies, r->reply_capacity * sizeof(*r->replies));
        CHECK(r->replies);
    }
    r->replies[r->reply_count++] = (struct rollout_reply){(uint32_t)node, *answer};
}

bool rollout_is_up(const struct rollout *r, size_t node)
{
    const struct sim_node *n = &r->s->nodes[node];
    return n->core && n->stalled_until_us <= r->s->now_us;
}

bool rollout_can_reach(const struct rollout *r, size_t from, size_t to)
{
    return r->s->nodes[from].group == r->s->nodes[to].group;
}

/* --- streams --- */

static void gather(struct rollout *r, size_t node, size_t blob)
{
    const struct copy *c = &r->nodes[node].copies[blob];
    uint64_t there = 0;
    if (c->next_us > r->s->now_us) {
        return;
    }
    if (c->state == COPY_UPSTREAM) {
        there = r->s->nodes[node].core ? r->blobs[blob].bytes : 0;
    } else if (c->state == COPY_FOLLOWING && rollout_is_up(r, node) &&
               rollout_is_up(r, c->parent) && rollout_can_reach(r, node, c->parent)) {
        there = r->nodes[c->parent].copies[blob].written;
        r->nodes[c->parent].feeds++;
    }
    if (there <= c->bytes) {
        return;
    }
    if (r->stream_count == r->stream_capacity) {
        r->stream_capacity = r->stream_capacity ? r->stream_capacity * 2 : 1024;
        r->streams = realloc(r->streams, r->stream_capacity * sizeof(*r->streams));
        CHECK(r->streams);
    }
    r->streams[r->stream_count++] = (struct rollout_stream){
        .node = (uint32_t)node, .blob = (uint32_t)blob, .left = there - c->bytes};
}

/* Where the stream comes from: its room in this step, and its number of streams. */
static double *source(struct rollout *r, const struct rollout_stream *x, uint32_t **ret_streams)
{
    const struct copy *c = &r->nodes[x->node].copies[x->blob];
    bool upstream = c->state == COPY_UPSTREAM;
    *ret_streams = upstream ? &r->upstream_streams : &r->nodes[c->parent].up_streams;
    return upstream ? &r->upstream_left : &r->nodes[c->parent].up_left;
}

/* Each gets the smaller of its fair shares at both ends; what is left over is shared again. */
static void share(struct rollout *r)
{
    uint32_t *streams;
    for (size_t i = 0; i < r->stream_count; i++) {
        source(r, &r->streams[i], &streams);
        *streams = r->nodes[r->streams[i].node].down_streams = 0;
    }
    for (size_t i = 0; i < r->stream_count; i++) {
        struct rollout_stream *x = &r->streams[i];
        double *left = source(r, x, &streams);
        if (x->got < (double)x->left && *left >= 1) {
            ++*streams;
            r->nodes[x->node].down_streams++;
        }
    }
    for (size_t i = 0; i < r->stream_count; i++) {
        struct rollout_stream *x = &r->streams[i];
        struct rollout_node *n = &r->nodes[x->node];
        double *left = source(r, x, &streams), wants = (double)x->left - x->got;
        if (wants <= 0 || *streams == 0 || n->down_streams == 0) {
            continue;
        }
        double up = *left / *streams, down = n->down_left / n->down_streams;
        double part = up < down ? up : down;
        part = part < wants ? part : wants;
        x->got += part;
        /* The shares of those that follow stay as they are: both counts go down with the room. */
        *left -= part;
        n->down_left -= part;
        --*streams;
        n->down_streams--;
    }
}

static void flow(struct rollout *r)
{
    double step_s = ROLLOUT_STEP_MS / 1000.0;
    r->stream_count = 0;
    r->upstream_left = (double)r->upstream_bytes_per_s * step_s;
    for (size_t i = 0; i < r->node_count; i++) {
        r->nodes[i].feeds = 0;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        r->nodes[i].up_left = (double)r->nodes[i].up_bytes_per_s * step_s;
        r->nodes[i].down_left = (double)r->nodes[i].down_bytes_per_s * step_s;
        for (size_t k = 0; k < ROLLOUT_AT_ONCE; k++) {
            if (r->nodes[i].active[k]) {
                gather(r, i, r->nodes[i].active[k] - 1);
            }
        }
    }
    for (int round = 0; round < SHARE_ROUNDS; round++) {
        share(r);
    }
    for (size_t i = 0; i < r->stream_count; i++) {
        const struct rollout_stream *x = &r->streams[i];
        const struct copy *c = &r->nodes[x->node].copies[x->blob];
        uint64_t bytes = (uint64_t)(x->got + 0.5);
        bytes = bytes < x->left ? bytes : x->left;
        if (bytes && c->state == COPY_FOLLOWING) {
            r->nodes[c->parent].sent_bytes += bytes;
            r->nodes[c->parent].offered_bytes += c->unasked ? 0 : bytes;
        } else if (bytes) {
            r->blobs[x->blob].upstream_bytes += bytes;
        }
        if (bytes) {
            rollout_grew(r, x->node, x->blob, bytes);
        }
    }
}

/* --- what may not happen --- */

/* Two arbiters, and packets lost between, can lead nodes in a circle; none lasts longer than it
 * takes to be noticed: nothing comes, so they ask. */
static void check_chain(struct rollout *r, size_t node, size_t blob)
{
    struct copy *c = &r->nodes[node].copies[blob];
    size_t at = node;
    uint32_t depth = 0;
    do {
        at = r->nodes[at].copies[blob].parent;
    } while (r->nodes[at].copies[blob].state == COPY_FOLLOWING && at != node &&
             ++depth <= r->node_count);
    if (at != node) {
        c->circle_us = 0;
        r->deepest = depth + 1 > r->deepest && depth < r->node_count ? depth + 1 : r->deepest;
        return;
    }
    c->circle_us = c->circle_us ? c->circle_us : r->s->now_us;
    uint64_t lasts_us = r->s->now_us - c->circle_us;
    r->circles += lasts_us == 0;
    r->circle_worst_us = lasts_us > r->circle_worst_us ? lasts_us : r->circle_worst_us;
    if (lasts_us > ROLLOUT_CIRCLE_MS * 1000) {
        sim_violation(r->s, "node %zu waits on itself for blob %zu", node, blob);
    }
}

static void check(struct rollout *r)
{
    r->checked_us = r->s->now_us;
    for (size_t i = 0; i < r->node_count; i++) {
        struct gossip_swarm_stats stats;
        if (!r->s->nodes[i].core) {
            continue;
        }
        for (size_t k = 0; k < ROLLOUT_AT_ONCE; k++) {
            size_t blob = r->nodes[i].active[k] - 1;
            if (r->nodes[i].active[k] && r->nodes[i].copies[blob].state == COPY_FOLLOWING) {
                check_chain(r, i, blob);
            }
        }
        gossip_swarm_stats(r->s->nodes[i].core, &stats);
        r->leases_worst = stats.leases > r->leases_worst ? stats.leases : r->leases_worst;
        r->parts_worst = stats.participants > r->parts_worst ? stats.participants : r->parts_worst;
        if (stats.leases > LIMIT_SWARM_LEASES || stats.participants > LIMIT_SWARM_PARTICIPANTS ||
            stats.asks_open > 2 * ROLLOUT_AT_ONCE || stats.flights > ROLLOUT_AT_ONCE + 1) {
            sim_violation(r->s, "node %zu keeps %u leases, %u asks, %u flights", i, stats.leases,
                          stats.asks_open, stats.flights);
        }
    }
}

/* Two at a time fetch the same from upstream. */
static void watch_overlap(struct rollout *r)
{
    for (size_t i = 0; i < r->blob_count; i++) {
        struct rollout_blob *b = &r->blobs[i];
        if (b->leaders < 2) {
            b->overlap_since_us = 0;
            continue;
        }
        b->overlap_since_us = b->overlap_since_us ? b->overlap_since_us : r->s->now_us;
        b->overlap_us += ROLLOUT_STEP_MS * 1000;
        uint64_t now_us = r->s->now_us - b->overlap_since_us;
        b->overlap_worst_us = now_us > b->overlap_worst_us ? now_us : b->overlap_worst_us;
    }
}

void rollout_step(struct rollout *r)
{
    sim_run(r->s, ROLLOUT_STEP_MS);
    size_t count = r->reply_count;
    for (size_t i = 0; i < count; i++) {
        struct rollout_reply reply = r->replies[i]; /* more may come meanwhile */
        rollout_answered(r, reply.node, &reply.answer);
    }
    if (count > 0) {
        memmove(r->replies, r->replies + count, (r->reply_count - count) * sizeof(*r->replies));
        r->reply_count -= count;
    }
    for (size_t i = 0; i < r->node_count; i++) {
        if (rollout_is_up(r, i)) {
            rollout_drive(r, i);
        }
    }
    flow(r);
    watch_overlap(r);
    if (r->s->now_us - r->checked_us >= CHECK_MS * 1000) {
        check(r);
    }
}
