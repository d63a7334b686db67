/* sim.h - a cluster in one process and in virtual time, running the very core the daemon runs.
 *
 * A world is a set of nodes, a network between them, and a queue of what happens when. All chance
 * comes from one seed; the trace hash covers every datagram delivered, so the same seed gives the
 * same hash. Times are virtual: microseconds in the queue, milliseconds towards the core. */
#pragma once

#include "gossip/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_NODES_MAX 200
#define SIM_START_MS 1000000 /* monotonic; anything above 0 */
#define SIM_WALL_MS UINT64_C(1800000000000)
#define SIM_GOSSIP_PORT 5001
#define SIM_REGISTRY_PORT 5000

/* The network; may be changed at any time. Probabilities in thousandths. */
struct sim_network {
    unsigned loss, duplicate, late, replay;
    unsigned latency_min_us, latency_max_us;
    unsigned late_max_ms; /* of packets that come late, and so out of order */
    bool tcp_blocked;
};

struct sim_keys { /* a sorted set of keys */
    uint64_t *keys;
    size_t count, capacity;
};

/* What a receiver held of a member when last looked at. */
struct sim_seen {
    uint64_t id, boot;
    uint32_t version;
    uint64_t out_since_us; /* alive, reachable, and yet not chosen; 0: chosen */
};

struct sim_node {
    struct gossip *core; /* NULL: not running */
    unsigned number;
    struct gossip_addr addr;
    uint64_t id, boot; /* persisted; id 0: none yet */
    uint64_t wake_us;
    const struct gossip *armed; /* the life the timer is for */
    int64_t skew_ms;            /* of its wall clock */
    unsigned group;             /* nodes of different groups cannot hear one another */
    uint64_t stalled_until_us;
    uint64_t started_us, ready_us;
    uint64_t bytes_before; /* sent in earlier lives */
    struct sim_keys held;  /* announced now; survives restarts, like a disk */
    struct sim_keys ever;  /* announced at any time */
    struct sim_seen seen[SIM_NODES_MAX * 2];
    size_t seen_count;
    char zone[8];
};

struct sim_samples {
    uint32_t *ms;
    size_t count, capacity;
};

struct sim {
    struct sim_node nodes[SIM_NODES_MAX];
    size_t node_count;
    struct sim_network net;
    uint64_t now_us, seed, random, sequence, trace;
    struct sim_item *heap;
    size_t heap_count, heap_capacity;
    struct gossip_effects effects;
    struct sim_samples visibility, exclusion, join;
    size_t violations, steps, packets;
    size_t pairs_seen, pairs_out; /* how often a live reachable node was looked at, and was out */
    uint64_t calm_us;             /* since when the network joins the same nodes */
    bool verbose;
    struct sim_versions *versions; /* check.c */
};

/* --- world.c --- */
void sim_init(struct sim *s, uint64_t seed, size_t nodes);
void sim_done(struct sim *s);
uint64_t sim_random(struct sim *s);
uint64_t sim_ms(const struct sim *s); /* since the start */
void sim_run(struct sim *s, uint64_t ms);
/* Start with bootstrap naming `seeds` other nodes at random (SIM_SEEDS_NONE: bootstrap says
 * nothing; 0: it names nobody). Announces what the node holds. */
#define SIM_SEEDS_NONE SIZE_MAX
void sim_start(struct sim *s, size_t node, size_t seeds);
void sim_start_all(struct sim *s);
void sim_kill(struct sim *s, size_t node);  /* SIGKILL */
void sim_leave(struct sim *s, size_t node); /* SIGTERM: says LEFT, ends half a second on */
void sim_stall(struct sim *s, size_t node, uint64_t ms); /* does not run; packets wait */
void sim_forget_disk(struct sim *s, size_t node);        /* a new id at the next start */
void sim_add(struct sim *s, size_t node, const uint64_t *keys, size_t count);
void sim_del(struct sim *s, size_t node, const uint64_t *keys, size_t count);
void sim_add_random(struct sim *s, size_t node, size_t count);
void sim_event(struct sim *s, size_t node, struct gossip_event *event);
bool sim_keys_has(const struct sim_keys *k, uint64_t key);

/* --- check.c --- */
__attribute__((format(printf, 2, 3))) void sim_violation(struct sim *s, const char *format, ...);
void sim_check_step(struct sim *s, struct sim_node *n); /* cheap, after every step */
/* All running nodes of each group know exactly the running nodes of it, and their exact sets. */
void sim_check_views_equal(struct sim *s, const char *when);
/* No node believes a key of somebody who never announced it. */
void sim_check_attribution(struct sim *s);
void sim_check_done(struct sim *s);
bool sim_views_equal(struct sim *s);

/* --- measure.c --- */
/* The node announces a fresh key; records when each other running node of its group finds it there.
 * A violation when one does not within limit_ms. */
void sim_measure_visibility(struct sim *s, size_t node, uint64_t limit_ms);
/* For a node just killed or cut off: when each other stops choosing it. */
void sim_measure_exclusion(struct sim *s, size_t node, uint64_t limit_ms);
/* Until the node is ready, and then whether it knows everything. */
void sim_measure_join(struct sim *s, size_t node, uint64_t limit_ms);
/* Runs until all views are equal, at most limit_ms. */
void sim_measure_heal(struct sim *s, uint64_t limit_ms, const char *when);
bool sim_finds(struct sim *s, size_t node, uint64_t key, uint64_t holder_id);
uint32_t sim_percentile(struct sim_samples *samples, unsigned percent);
void sim_sample(struct sim_samples *samples, uint64_t ms);

/* --- scenarios.c --- */
struct sim_scenario {
    const char *name, *story;
    size_t nodes; /* by default */
    void (*run)(struct sim *s);
};
extern const struct sim_scenario sim_scenarios[]; /* ends with a NULL name */
