/* rollout.h - the data plane of a cold rollout: every node's containerd pulls the same blobs, and
 * its mirror does what the core's answers say.
 *
 * A model, in steps of ROLLOUT_STEP_MS: links are shared fairly among the streams that have
 * something to carry, containerd has three downloads at a time and writes 1 MiB at a time, a child
 * is fed from what its parent has written. What is real is the core: who leads, who follows whom.
 *
 *     rollout.c         links, streams and what may not happen
 *     rollout_mirror.c  a node: its downloads, its questions, what it does with the answers
 *     rollouts.c        the scenarios and their figures */
#pragma once

#include "sim.h"

#define ROLLOUT_STEP_MS 5
#define ROLLOUT_AT_ONCE 3                 /* downloads of one containerd */
#define ROLLOUT_WRITE_BYTES (1024 * 1024) /* of one write */
#define ROLLOUT_BLOBS_MAX 128
#define ROLLOUT_UPSTREAM_MS 100   /* until upstream's first byte: connect, token, redirect */
#define ROLLOUT_CONNECT_MS 2      /* until a peer's, when it has one */
#define ROLLOUT_STALL_MS 2000     /* without a byte: ask who else */
#define ROLLOUT_PATIENCE_MS 10000 /* without a byte after the first: upstream */
#define ROLLOUT_BUSY 8            /* streams; then a holder refuses others, who ask the arbiter */
#define ROLLOUT_CIRCLE_MS                                                                          \
    6000                        /* that a node may wait on itself: three times as long as a stall  \
                                 */
#define ROLLOUT_FAILED_MS 10000 /* for which a parent that failed is not taken again */

enum copy_state {
    COPY_NONE,
    COPY_ASKING,    /* a question is open, nothing comes */
    COPY_PAUSING,   /* told to ask again later */
    COPY_UPSTREAM,  /* comes from upstream */
    COPY_FOLLOWING, /* comes from a parent; a question may be open beside */
    COPY_HELD,
};

struct copy {
    uint8_t state;
    bool granted;
    bool stalled; /* asks about its parent */
    bool unasked; /* of the arbiter: its parent is one of many that hold it */
    uint8_t failed_count;
    uint32_t parent; /* node number */
    uint32_t ask;    /* 0: none open */
    uint64_t bytes, written;
    uint64_t since_us, grew_us;
    uint64_t next_us; /* PAUSING: ask again; UPSTREAM, FOLLOWING: from when on it may flow */
    uint64_t told_us, asked_us;
    uint64_t circle_us; /* since when it receives from itself */
    struct {
        uint32_t node;
        uint8_t fault;
        uint64_t at_us;
    } failed[GOSSIP_SWARM_FAILED];
};

struct rollout_node {
    struct copy *copies;              /* one per blob */
    uint32_t active[ROLLOUT_AT_ONCE]; /* blob + 1; 0: free */
    uint32_t next_blob, held, last_ask;
    uint64_t start_us, done_us, grew_us;
    uint64_t up_bytes_per_s, down_bytes_per_s;
    uint64_t sent_bytes, offered_bytes; /* in all; to those whom an arbiter sent */
    double up_left, down_left;          /* of this step */
    uint32_t up_streams, down_streams;
    uint32_t feeds; /* copies that come from it */
    uint8_t load;   /* as the core was told */
};

struct rollout_blob {
    uint64_t key, bytes;
    uint64_t upstream_bytes;
    uint32_t leaders; /* copies that come from upstream right now */
    uint64_t overlap_us, overlap_since_us, overlap_worst_us;
};

struct rollout_reply {
    uint32_t node;
    struct gossip_answer answer;
};

struct rollout_stream {
    uint32_t node, blob;
    uint64_t left; /* bytes that could flow now */
    double got;
};

struct rollout {
    struct sim *s;
    struct rollout_blob blobs[ROLLOUT_BLOBS_MAX];
    size_t blob_count, node_count, ended;
    uint64_t image_bytes;
    struct rollout_node *nodes;
    uint64_t upstream_bytes_per_s;
    double upstream_left;
    uint32_t upstream_streams;
    struct rollout_reply *replies;
    size_t reply_count, reply_capacity;
    struct rollout_stream *streams;
    size_t stream_count, stream_capacity;
    uint64_t start_us, checked_us;
    size_t upstream_pulls; /* begun at upstream, at whatever offset */
    size_t circles;        /* nodes that received from themselves for a while */
    uint64_t circle_worst_us;
    uint32_t deepest, leases_worst, parts_worst;
    uint64_t alone_us; /* what one node alone takes */
};

/* --- rollout.c --- */
/* `blobs` of bytes each for all nodes; nodes begin within `spread_ms`. */
struct rollout *rollout_new(struct sim *s, size_t blobs, uint64_t bytes, uint64_t link_bytes_per_s,
                            uint64_t upstream_bytes_per_s, uint64_t spread_ms);
void rollout_free(struct rollout *r);
void rollout_step(struct rollout *r);
bool rollout_is_up(const struct rollout *r, size_t node); /* runs, and is not stopped */
bool rollout_can_reach(const struct rollout *r, size_t from, size_t to);

/* --- rollout_mirror.c --- */
void rollout_answered(struct rollout *r, size_t node, const struct gossip_answer *answer);
void rollout_drive(struct rollout *r, size_t node);
/* Bytes came. */
void rollout_grew(struct rollout *r, size_t node, size_t blob, uint64_t bytes);
void rollout_stop_upstream(struct rollout *r, size_t node, size_t blob);
