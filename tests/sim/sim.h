/* sim.h - a cluster in one process and in virtual time, running the very core the daemon runs.
 *
 * A world is a set of nodes, a network between them, and a queue of what happens when. All chance
 * comes from one seed; the trace hash covers every datagram delivered, so the same seed gives the
 * same hash. Times are virtual: microseconds in the queue, milliseconds towards the core.
 *
 *     world.c      nodes and their lives
 *     queue.c      what happens when
 *     network.c    what becomes of a datagram or a request on its way
 *     check.c, views.c   the invariants; those of what nodes believe of one another
 *     measure.c    how long things took
 *     report.c     what main.c prints
 *     goals.c      how long they may take, and how much
 *     run.c, soak.c, smaller.c   one scenario from seed to report; ever more of them; of one that
 *                  failed, less and less
 *     scenarios.c, trouble.c, life.c, scale.c, rolling.c, daemons.c
 *                  what happens to clusters; stories.c is what they share
 *     rollout*.c   content nobody has, pulled by all at once
 *     keys.c       what nodes have, and what they are told to have
 *     bench.c      one core with thousands of members: memory and look-up time */
#pragma once

#include "gossip/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_NODES_MAX 10000
#define SIM_START_MS 1000000 /* monotonic; anything above 0 */
#define SIM_WALL_MS UINT64_C(1800000000000)
#define SIM_GOSSIP_PORT 5001
#define SIM_REGISTRY_PORT 5000
#define SIM_UDP_BYTES 28U /* IPv4 and UDP heads */
/* What a node builds of bodies in a millisecond, for each node there is and every so many keys that
 * it knows: a snapshot takes some tens of them, as those of thousands do. The daemon's slice holds
 * all that a small cluster knows, so that news would never come in the middle of it. */
#define SIM_BUILD_SLICE_PER_NODE 25
#define SIM_BUILD_SLICE_KEYS 2

/* The network; may be changed at any time. Probabilities in thousandths. */
struct sim_network {
    unsigned loss, duplicate, late, replay;
    unsigned latency_min_us, latency_max_us;
    unsigned late_max_ms;   /* of packets that come late, and so out of order */
    unsigned replay_max_ms; /* how long copies are kept */
    /* Bursty loss, after Gilbert and Elliott: each node's link is good and bad in turn, both for
     * exponentially distributed times; in a bad time it loses burst_loss of either direction. */
    unsigned burst_loss, good_mean_ms, bad_mean_ms;
    uint64_t bytes_per_s; /* each node's uplink for datagrams; 0: no limit */
    unsigned uplink_queue_ms;
    unsigned mtu; /* IP bytes; larger is dropped, for don't-fragment is set */
    bool tcp_blocked, udp_blocked;
};

struct sim_keys { /* a sorted set of keys */
    uint64_t *keys;
    size_t count, capacity;
    uint64_t hash; /* as the core hashes sets */
};

/* What a receiver held of a member when last looked at; by place in gossip_members' walk. */
struct sim_seen {
    uint64_t id, boot, hash;
    uint32_t version;
    uint32_t seen_ms, out_since_ms; /* alive, reachable, and yet not chosen; 0: chosen */
};

struct sim_link {
    uint64_t turns_us; /* from good to bad, or back */
    bool bad;
    uint64_t free_us; /* when what was queued will have left */
};

struct sim_traffic {         /* of a node over all of its lives, or of all nodes */
    uint64_t packets, bytes; /* datagrams sent; payload without IP and UDP heads */
    uint64_t class_packets[GOSSIP_CLASSES], class_bytes[GOSSIP_CLASSES];
    uint64_t lived_us; /* meanwhile */
};

struct sim_bucket { /* check.c: what was sent and has not leaked out */
    uint64_t level, sent, us;
};

struct sim_node {
    struct gossip *core; /* NULL: not running */
    unsigned number;
    const char *label;
    uint8_t ring[3][GOSSIP_KEY_BYTES]; /* the key file */
    size_t ring_keys;
    struct gossip_addr addr, addr6; /* the second one of dual-stack nodes */
    uint64_t id, boot;              /* persisted; id 0: none yet */
    uint64_t wake_us;
    const struct gossip *armed; /* the life the timer is for */
    int64_t skew_ms;            /* of its wall clock */
    unsigned group;             /* nodes of different groups cannot hear one another */
    bool udp_blocked;           /* a host firewall: no datagram in or out */
    uint64_t stalled_until_us;
    bool leaving;
    uint64_t started_us, ready_us, ended_us;
    uint64_t fetched_bytes, fetched_sets; /* over HTTP, in this life */
    uint64_t heard_bytes;                 /* in datagrams, likewise */
    struct sim_link link;
    struct sim_traffic sent;  /* classes and time are those of lives that are over */
    struct gossip_stats life; /* last looked at */
    struct sim_keys held;     /* announced now; survives restarts, like a disk */
    struct sim_keys ever;     /* announced at any time */
    uint64_t own_key;         /* one that nobody else has */
    struct sim_seen *seen;
    size_t seen_capacity, check_cursor;
    size_t places;               /* of members, in the walk */
    struct sim_item *serves;     /* what it builds, by who asked first */
    uint64_t stats_us, index_us; /* when looked at last; when next */
    uint64_t unsure_us;          /* when it last heard nobody over UDP */
    struct sim_bucket bucket;
    char zone[8];
};

struct sim_samples {
    uint32_t *ms;
    size_t count, capacity;
    bool sorted;
};

struct sim_cut { /* from cannot reach to; the way back is open */
    size_t from, to;
};
#define SIM_CUTS_MAX 64

struct sim {
    struct sim_node *nodes;
    size_t node_count;
    struct sim_network net;
    struct sim_cut cuts[SIM_CUTS_MAX];
    size_t cut_count;
    uint64_t now_us, seed, random, sequence, trace;
    struct sim_entry *heap;
    size_t heap_count, heap_capacity;
    uint32_t *by_id; /* hash table of node numbers + 1 */
    size_t by_id_capacity;
    struct gossip_effects effects;
    struct sim_samples visibility, exclusion, join, heal;
    struct sim_samples visibility_last, exclusion_last; /* at the last node: one for each event */
    size_t violations, steps, packets;
    size_t pairs_seen, pairs_out; /* how often a live reachable node was looked at, and was out */
    uint64_t out_worst_ms;        /* a live reachable node, out without a break */
    size_t build_slice;
    uint64_t calm_us;              /* since when the network joins the same nodes */
    size_t faulty;                 /* where an unequal view was found last */
    double hours;                  /* asked for; 0: as long as the story takes */
    struct sim_versions *versions; /* check.c */

    /* measured */
    uint64_t traffic_us, traffic_end_us; /* the window; 0: all of it */
    struct sim_traffic *traffic_from;
    struct sim_traffic traffic;
    double worst_packets_s, worst_bytes_s; /* of those that lived for half of it */
    uint64_t join_bytes;                   /* the worst node's */
    uint64_t index_bytes, core_bytes; /* the worst node's at its worst, looked at now and then */
    uint64_t peak_bytes_s; /* of any node, over half a second or so; without cold rollouts */
    uint64_t changes_applied, changes_again; /* by all nodes that run now, in their lives */
    uint32_t rumours_max, change_bytes_max, fetches_max; /* after any step of any node */
    uint32_t behind_max;                                 /* looked at now and then */
    uint64_t fetched_sets, fetched_bytes, served_busy;
    uint64_t core_cpu_ns; /* spent in cores */
    size_t ids;           /* that nodes ever had */

    struct sim_taken *taken; /* NULL: nobody minds what is transferred */
    struct rollout *rollout; /* NULL: nobody pulls anything */
};

/* --- world.c --- */
void sim_init(struct sim *s, uint64_t seed, size_t nodes);
void sim_done(struct sim *s);
uint64_t sim_random(struct sim *s);
bool sim_chance(struct sim *s, unsigned thousandths);
uint64_t sim_ms(const struct sim *s); /* since the start */
void sim_run(struct sim *s, uint64_t ms);
/* Start with bootstrap naming `seeds` other nodes at random (SIM_SEEDS_NONE: bootstrap says
 * nothing; 0: it names nobody). Announces what the node holds. */
#define SIM_SEEDS_NONE SIZE_MAX
void sim_start(struct sim *s, size_t node, size_t seeds);
void sim_start_all(struct sim *s);
/* Bootstrap says: so many others at random, and us too, as DNS does. */
void sim_seed(struct sim *s, size_t node, size_t seeds);
void sim_kill(struct sim *s, size_t node);  /* SIGKILL */
void sim_leave(struct sim *s, size_t node); /* SIGTERM: says LEFT, ends half a second on */
void sim_stall(struct sim *s, size_t node, uint64_t ms); /* does not run; packets wait */
/* The node's key file changes, and is read. */
void sim_set_keys(struct sim *s, size_t node, const uint8_t (*keys)[GOSSIP_KEY_BYTES],
                  size_t count);
/* Besides its IPv4 address, or instead of it; before its start. */
void sim_give_ipv6(struct sim *s, size_t node, bool alone);
void sim_forget_disk(struct sim *s, size_t node); /* a new id at the next start */
void sim_event(struct sim *s, size_t node, struct gossip_event *event);
struct sim_node *sim_node_of(struct sim *s, uint64_t id); /* a running one; NULL */
struct sim_node *sim_node_at(struct sim *s, const struct gossip_addr *addr);

/* --- keys.c --- */
bool sim_keys_has(const struct sim_keys *k, uint64_t key);
void sim_keys_add(struct sim_keys *k, uint64_t key);
void sim_keys_del(struct sim_keys *k, uint64_t key);
void sim_add(struct sim *s, size_t node, const uint64_t *keys, size_t count);
void sim_del(struct sim *s, size_t node, const uint64_t *keys, size_t count);
void sim_add_random(struct sim *s, size_t node, size_t count);
/* What a node with images has, adding up to about `count` keys: see docs/gossip.md, "Model". */
void sim_keys_image_mix(struct sim *s, struct sim_keys *k, size_t count);

/* --- queue.c --- */
enum sim_item_kind { SIM_PACKET, SIM_TIMER, SIM_SERVE, SIM_FETCHED, SIM_END };

struct sim_item {
    enum sim_item_kind kind;
    unsigned size;                  /* queue.c's */
    struct sim_item *next;          /* while it is free, or in sim_node.serves */
    uint32_t node;                  /* whom it happens to */
    uint32_t asker;                 /* SERVE */
    int status;                     /* FETCHED */
    const struct gossip *life;      /* and in which life; NULL: any */
    struct gossip_fetch *fetch;     /* SERVE, FETCHED; owned */
    struct gossip_serving *serving; /* likewise: its body is in use until all of it has arrived */
    uint8_t *bytes;                 /* owned when outside `packet` */
    size_t len;
    struct gossip_addr from; /* PACKET */
    bool stolen;             /* and nobody lives there */
    uint8_t packet[];
};

struct sim_item *sim_item_new(enum sim_item_kind kind, size_t node, const void *packet, size_t n);
void sim_item_free(struct sim_item *item);
void sim_push(struct sim *s, uint64_t at_us, struct sim_item *item); /* takes it */
bool sim_pop(struct sim *s, uint64_t end_us, uint64_t *ret_at_us, struct sim_item **ret_item);

/* --- network.c --- */
uint64_t sim_latency_us(struct sim *s);
void sim_send(struct sim *s, struct sim_node *from, const struct gossip_send *send);
void sim_fetch(struct sim *s, struct sim_node *asker, const struct gossip_fetch *fetch);
void sim_serve(struct sim *s, struct sim_item *item); /* takes it */
/* Before a step: as much may be built in this millisecond as is a slice here. */
void sim_build_slice(const struct sim *s, struct gossip *core, uint64_t now_ms);
/* After one: what has been built is on its way. */
void sim_serve_built(struct sim *s, struct sim_node *n);
void sim_cut(struct sim *s, size_t from, size_t to);

/* --- check.c --- */
__attribute__((format(printf, 2, 3))) void sim_violation(struct sim *s, const char *format, ...);
/* Cheap, after every step; the queues before anything is done that the step asks for, which may be
 * another step. */
void sim_check_queues(struct sim *s, const struct sim_node *n);
void sim_check_step(struct sim *s, struct sim_node *n);
bool sim_same_cluster(const struct sim_node *a, const struct sim_node *b); /* and connected */
/* After the step in which a packet was heard. */
void sim_check_amplified(struct sim *s, const struct sim_item *item);
void sim_check_done(struct sim *s);

/* --- views.c --- */
/* The index of one node names exactly those keys that its records of the members sum up. */
void sim_check_index(struct sim *s, struct sim_node *n, const char *when);
/* All running nodes of each group know exactly the running nodes of it, and their exact sets. */
void sim_check_views_equal(struct sim *s, const char *when);
/* No node believes a key of somebody who never announced it. sim_check_index looks for that too. */
void sim_check_attribution(struct sim *s);
bool sim_views_equal(struct sim *s);

/* --- measure.c --- */
/* The node announces a fresh key; records when each other running node of its group finds it there,
 * and when the last does. A violation when one does not within limit_ms. */
void sim_measure_visibility(struct sim *s, size_t node, uint64_t limit_ms);
/* For a node just killed or cut off: when each other stops choosing it. */
void sim_measure_exclusion(struct sim *s, size_t node, uint64_t limit_ms);
/* Until the node is ready, and then whether it knows everything. */
void sim_measure_join(struct sim *s, size_t node, uint64_t limit_ms);
/* Runs until all views are equal, at most limit_ms. */
void sim_measure_heal(struct sim *s, uint64_t limit_ms, const char *when);
bool sim_finds(struct sim *s, size_t node, uint64_t key, uint64_t holder_id);
void sim_sample(struct sim_samples *samples, uint64_t ms);
uint32_t sim_permille(struct sim_samples *samples, unsigned permille);
/* What nodes send between the two. */
struct sim_traffic sim_sent_by(const struct sim *s, const struct sim_node *n);
void sim_traffic_begin(struct sim *s);
void sim_traffic_end(struct sim *s);
/* Of one node, looked at now and then: the largest of all is kept. */
void sim_note_sizes(struct sim *s, const struct gossip_stats *stats);
/* Looks at every node now: its size, and which changes it has applied so far. */
void sim_measure_lives(struct sim *s);

/* --- report.c --- */
struct sim_scenario;
void sim_report(struct sim *s, const struct sim_scenario *scenario);
void sim_report_json(struct sim *s, const struct sim_scenario *scenario);
double sim_node_seconds(const struct sim *s);                      /* lived by all nodes */
double sim_bytes_per_node_s(const struct sim *s, bool worst_node); /* in the window of traffic */

/* --- stories.c: what scenarios are made of --- */
#define SIM_VISIBLE_MS 1000 /* the goals, as limits */
#define SIM_EXCLUDED_MS 4000
#define SIM_JOINED_MS 1500
#define SIM_HEALED_MS 30000
void sim_start_with_content(struct sim *s, size_t keys);
void sim_start_rest(struct sim *s); /* whoever does not run */
void sim_announce_some(struct sim *s, size_t times, uint64_t limit_ms);
void sim_settle(struct sim *s);
/* Lives on until the hours asked for are over; now and then somebody announces something. */
void sim_live_on(struct sim *s);
/* Group by number mod `groups`; 1: together. */
void sim_split(struct sim *s, unsigned groups);

/* --- scale.c --- */
/* All start, and know everybody and everything at once. */
void sim_grow(struct sim *s);

/* --- goals.c: violations when what was measured is not good enough --- */
void sim_goal_visible(struct sim *s, uint32_t limit_ms);
void sim_goal_excluded(struct sim *s);
void sim_goal_out_ratio(struct sim *s); /* of live nodes */
void sim_goal_traffic(struct sim *s, bool worst_node);
void sim_goal_join(struct sim *s);

/* --- rolling.c --- */
void sim_run_rolling(struct sim *s);
/* An answer with a set or a snapshot is on its way. A violation where the set came before. */
void sim_note_taken(struct sim *s, const struct sim_node *asker, const struct sim_node *server,
                    const char *path);

/* --- scenarios.c, trouble.c, scale.c --- */
struct sim_scenario {
    const char *name, *story;
    size_t nodes; /* by default */
    void (*run)(struct sim *s);
    bool only_by_name; /* takes too long for a run of all */
};
extern const struct sim_scenario sim_story_scenarios[]; /* each ends with a NULL name */
extern const struct sim_scenario sim_trouble_scenarios[];
extern const struct sim_scenario sim_life_scenarios[];
extern const struct sim_scenario sim_scale_scenarios[];
extern const struct sim_scenario sim_daemon_scenarios[];

/* --- rollout.c, rollouts.c: see rollout.h --- */
void sim_rollout_answer(struct sim *s, size_t node, const struct gossip_answer *answer);
extern const struct sim_scenario sim_rollout_scenarios[];

/* --- run.c --- */
struct sim_options {
    const char *name; /* of the scenario; NULL: all */
    size_t nodes;     /* 0: as many as the scenario has */
    double hours;     /* to live on; 0: no longer than the story takes */
    bool json;
};
struct sim_result {
    size_t violations;
    uint64_t trace;
    double node_hours;
};
extern const struct sim_scenario *const sim_tables[];           /* ends with NULL */
const struct sim_scenario *sim_scenario_find(const char *name); /* NULL: none */
void sim_run_scenario(const struct sim_scenario *scenario, const struct sim_options *o,
                      uint64_t seed, struct sim_result *ret_result);

/* --- smaller.c --- */
/* Prints the command of the smallest run of that scenario and seed that still fails. */
void sim_tell_smaller(const struct sim_scenario *scenario, const struct sim_options *options,
                      uint64_t seed);
extern const struct sim_scenario sim_broken_scenarios[];

/* --- soak.c --- */
/* Runs what the plan has for each seed; prints the sums after each. The exit status. */
int sim_soak(const struct sim_options *options, uint64_t first, uint64_t last);

/* --- bench.c --- */
/* A core with `nodes` members of `keys` digests each; prints its memory, what a snapshot of it
 * costs, and look-up times. The exit status: 1 when it weighs more than is its goal. */
int sim_bench(size_t nodes, size_t keys, uint64_t seed, bool json);
