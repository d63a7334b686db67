/* herd.h - one process that is a thousand members towards one real daemon, over loopback.
 *
 * How the members are driven. A core for each would hold the whole index each: 1,000 x 1.8 MB, at
 * 5,000 x 5.5 MB far more than a machine has, and most of the work would go into members telling
 * one another what all of them know. What the daemon sees of a cluster is only what reaches its own
 * sockets, so that much is real and the rest is shared:
 *
 * - Member 0 is a real gossip core with the whole membership and index, the archive. It joins
 *   nothing (its view is made, as the simulation's scale scenarios make theirs), but from then on
 *   it is stepped like the daemon's own: it challenges the daemon when that joins, probes it,
 *   suspects it when it is silent, relays, answers anti-entropy, serves snapshot and sets.
 * - Every other member is a puppet: an id, a boot, a salt, an address of its own in 127/8 and
 *   counters of its own under its own sub-key, with the archive's view. It answers pings and
 *   indirect pings, refutes what it is accused of, and pings the daemon as often as members of a
 *   cluster of this size do. Anything else said to it is heard by the archive, which answers.
 * - Their changes are packed and sent to the daemon as rumours travel: each GOSSIP_TRANSMISSIONS
 *   times, by different members, over the half second that an epidemic takes. The members' token
 *   buckets are left out, so that more arrives than the protocol would let through.
 *
 * One UDP socket and one listener serve all addresses; the address that was sent to names the
 * member. Both are bound to the loopback interface.
 *
 *     main.c      the story, and what is printed
 *     world.c     the members: made, stepped, heard
 *     keys.c      what they hold
 *     puppet.c    what a puppet answers
 *     rumours.c   the rollout
 *     registry.c  the members' registry ports: snapshot, sets, blobs
 *     daemon.c    the one real daemon: started, looked at, ended
 *     lookups.c   requests to it, and how long they took
 *     http.c      a small blocking client */
#pragma once

#include "gossip/state.h"

#include "base/buf.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define HERD_LABEL "herd"
#define HERD_MEMBERS_MAX 10000
#define HERD_LAYERS 12 /* keys that each member announces in a rollout */
#define HERD_SAMPLES 20000

/* --- time --- */
uint64_t herd_now_us(void); /* monotonic */
uint64_t herd_now_ms(void);

/* --- http.c: one request after the other on a kept connection --- */
struct herd_http {
    struct sockaddr_in to;
    int fd; /* -1: not connected */
};
void herd_http_init(struct herd_http *h, uint32_t ip, uint16_t port);
void herd_http_done(struct herd_http *h);
/* The status, or negative errno. `fields` are whole lines or "". Body appended; NULL with HEAD. */
int herd_http_ask(struct herd_http *h, const char *method, const char *path, const char *fields,
                  struct buf *body);

/* --- world.c --- */
struct herd_puppet {
    uint64_t id;
    struct gossip_seal *seal;
    uint64_t heard_ms; /* from the daemon; 0: never */
};

struct herd_batch; /* rumours.c */

struct herd_world {
    pthread_mutex_t lock; /* the archive, between the loop and the registry's threads */
    struct gossip *archive;
    struct gossip_effects effects;
    uint64_t wake_ms;
    struct herd_puppet *puppets; /* [0] is the archive's place */
    size_t count, keys;
    struct gossip_seal *opener;
    int udp, listener;
    uint16_t gossip_port, registry_port;
    uint64_t random;

    struct gossip_addr daemon; /* its gossip address */
    uint64_t daemon_id;        /* 0 until it was heard */
    uint64_t daemon_hash;      /* of its view, as last said */
    uint16_t daemon_registry_port;

    /* pings of puppets to the daemon */
    uint64_t next_ping_ms;
    struct {
        uint32_t nonce;
        uint64_t sent_us;
    } pings[64];
    uint32_t ping_at;
    uint32_t rtt_us[HERD_SAMPLES];
    size_t rtt_count;
    uint64_t pings_sent, pings_unanswered;

    /* the rollout */
    uint64_t rollout_start_ms, rollout_ms; /* 0: not yet */
    size_t announced;
    uint64_t layer_keys[HERD_LAYERS];
    struct herd_batch *batches;
    size_t batch_first, batch_count;

    uint64_t packets_in, packets_out, bytes_in, bytes_out, unreadable;
};

/* Makes the members, their sets, their sockets. Ends the process when that cannot be. */
void herd_world_init(struct herd_world *w, size_t members, size_t keys, uint64_t seed);
void herd_world_done(struct herd_world *w);
/* Lives until then, or until `*stop`, which may be NULL. */
void herd_world_run(struct herd_world *w, uint64_t until_ms, bool (*stop)(struct herd_world *w));
uint64_t herd_random(struct herd_world *w);
/* As member `from`: seals the body and sends it. */
void herd_send(struct herd_world *w, size_t from, const struct gossip_addr *to, const uint8_t *body,
               size_t n);
/* An event for the archive, and what follows from it. */
void herd_step(struct herd_world *w, struct gossip_event *event);
/* Between these two the archive may be spoken to through state.h. */
void herd_archive_begin(struct herd_world *w);
void herd_archive_end(struct herd_world *w);
struct gossip_member *herd_record(struct herd_world *w, size_t member);
uint32_t herd_member_ip(size_t member); /* host order */

/* --- keys.c --- */
#define HERD_DRAWN_OVER 13 /* room beyond what was wanted */
/* Draws what a member holds into `keys`: at least `wanted`, sorted, each once. Returns how many. */
size_t herd_draw_keys(struct herd_world *w, size_t member, size_t wanted, uint64_t *keys);
/* A digest that only this member holds, as its 8-byte key and as 64 hex digits. */
uint64_t herd_own_key(size_t member);
void herd_own_digest(size_t member, char ret_hex[65]);

/* --- puppet.c --- */
void herd_puppet_hear(struct herd_world *w, size_t member, const struct gossip_addr *from,
                      const uint8_t *bytes, size_t n);
/* A member pings the daemon, as every 333 ms / members of each does. */
void herd_puppet_ping(struct herd_world *w, uint64_t now_ms);

/* --- rumours.c --- */
void herd_rollout_begin(struct herd_world *w, uint64_t ms);
void herd_rollout_tick(struct herd_world *w, uint64_t now_ms);
bool herd_rollout_over(const struct herd_world *w); /* and everything sent */
void herd_rumours_done(struct herd_world *w);

/* --- registry.c --- */
void herd_registry_start(struct herd_world *w); /* threads that live as long as the process */

/* --- daemon.c --- */
struct herd_daemon {
    pid_t pid;
    char directory[64];
    uint16_t registry_port, gossip_port, metrics_port;
};

struct herd_look { /* what can be seen of it at one moment */
    uint64_t at_us, cpu_us, rss_bytes, anon_bytes;
    struct buf metrics;
};

/* Starts `program` with an OCI layout of one small image, knowing `seeds` of the members. */
void herd_daemon_start(struct herd_daemon *d, const char *program, const struct herd_world *w,
                       size_t seeds);
/* SIGTERM, then SIGKILL after 5 s; its exit status as waitpid has it. */
int herd_daemon_end(struct herd_daemon *d);
bool herd_daemon_ready(struct herd_daemon *d); /* /readyz says so */
void herd_daemon_look(const struct herd_daemon *d, struct herd_look *ret_look);
void herd_look_done(struct herd_look *look);
/* The value of one series, written as the page has it; 0 when absent. */
double herd_metric(const struct herd_look *look, const char *series);
/* Below which bound this share of the loop's delays between two looks was, in ms. */
double herd_loop_delay_ms(const struct herd_look *before, const struct herd_look *after,
                          double share);

/* --- lookups.c: a thread that asks the daemon for blobs --- */
enum herd_asked { HERD_NOBODY, HERD_ONE, HERD_ASKED };

struct herd_samples {
    uint32_t us[HERD_SAMPLES];
    size_t count, unexpected;
};

struct herd_lookups {
    pthread_t thread;
    atomic_bool stop;
    uint16_t port;
    size_t members;
    struct herd_samples samples[HERD_ASKED];
};
void herd_lookups_start(struct herd_lookups *l, const struct herd_daemon *d, size_t members);
void herd_lookups_end(struct herd_lookups *l); /* sorts the samples */
double herd_share_ms(const uint32_t *sorted_us, size_t count, double share);
