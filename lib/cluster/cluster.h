/* cluster.h - the gossip core in the real world: datagrams, timers, bulk over HTTP, bootstrap.
 *
 * Drives one gossip core from the loop and carries out its effects (bulk.h fetches, bootstrap.h
 * finds, holding.h gathers what this node holds). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/exposition.h"
#include "cluster/bootstrap.h"
#include "cluster/key_file.h"
#include "gossip/core.h"
#include "io/fetch.h"
#include "io/loop.h"
#include "io/server.h"
#include "io/udp.h"

struct cluster_config {       /* copied, except where said */
    const char *label, *zone; /* zone may be NULL */
    const char *data_dir;     /* NULL: no memory between runs */
    const char *key_file;     /* key_file.h; NULL: the label's key. Only read by cluster_new */
    const char *router_addr;  /* host:port to bind, as the flag has it */
    const char *router_host;  /* its host, "" for a wildcard */
    uint16_t registry_port;
    const char *const *advertise; /* outlives the cluster */
    size_t advertise_count;
    const char *pod_ips;               /* outlives the cluster; may be NULL */
    const char *node_name;             /* as identity.h has it; outlives the cluster, may be NULL */
    struct bootstrap_config bootstrap; /* found and arg are set here; targets and url may be empty:
                                          a lone node that others may join */
    const char *(*authorization)(void *arg);   /* for bulk requests; as in registry/mirror.h */
    void (*member_up)(void *arg, uint64_t id); /* new, restarted or back */
    /* To a GOSSIP_WANT; NULL where nobody asks. From the loop. */
    void (*answered)(void *arg, const struct gossip_answer *answer);
    void *arg;
};

struct cluster;
/* 0 or negative errno with the sentence (address in use, no such address, a key file that cannot be
 * used, no memory). */
int cluster_new(struct loop *loop, struct fetcher *fetcher, const struct cluster_config *config,
                struct cluster **ret_cluster, struct error *err);
/* Every bulk fetch is cancelled; call it while the loop can still run their callbacks. */
void cluster_free(struct cluster *c);

/* What this node holds, in any number: a turn's changes go to the core together. Nothing is
 * announced before cluster_set_listed, which says that what was added so far is all there was. */
void cluster_add(struct cluster *c, uint64_t key);
void cluster_remove(struct cluster *c, uint64_t key);
void cluster_set_listed(struct cluster *c);

bool cluster_is_ready(const struct cluster *c);
struct gossip *cluster_core(const struct cluster *c); /* to read, and for badges; not to step */
const char *cluster_label(const struct cluster *c);
const struct key_file *cluster_keys(const struct cluster *c);    /* NULL: the label's key */
const char *cluster_id_text(const struct cluster *c);            /* 12 hex digits */
const struct gossip_self *cluster_self(const struct cluster *c); /* addresses as known by now */

/* Answers a GET under /cluster/v1/, now or later: 0; or the caller does: -EACCES (403), -ENOENT
 * (404), other (503). */
int cluster_serve(struct cluster *c, const char *path, const char *auth, struct conn *conn);
void cluster_gone(struct cluster *c, struct conn *conn); /* as struct server_handler's; any conn */
/* What GET /id answers (HTTP bootstrap): {"id","addrs":["ip:port"],"registry_port","label"}. 0,
 * -ENOMEM, or -EAGAIN while this node knows no address of its own (503: an empty list would say
 * that there is nobody to join). */
int cluster_id_json(const struct cluster *c, struct buf *body);

/* What GET /debug/cluster answers, one JSON object: this node, its keys by their fingerprints, the
 * index, the queues, and of the other members those with an id above `after`, by id, at most `max`
 * and LIMIT_CLUSTER_PAGE of them; "next" is the last one's id, to go on after, or null. 0, or
 * -ENOMEM, -ENOBUFS. */
int cluster_debug_json(const struct cluster *c, uint64_t after, size_t max, struct buf *body);

/* From the data path. */
void cluster_peer_failed(struct cluster *c, uint64_t id);
void cluster_peer_answered(struct cluster *c, uint64_t id); /* whatever it said */
void cluster_set_load(struct cluster *c, uint8_t load);

/* Of cold rollouts (gossip/swarm.h): GOSSIP_WANT, GOSSIP_WANT_END or GOSSIP_FLIGHT. */
void cluster_tell(struct cluster *c, struct gossip_event *event);

/* Somebody asks us for /id: while our own address is unknown, the one that reaches them will do. */
void cluster_met(struct cluster *c, const struct sockaddr *client);

/* Says LEFT; what is queued goes out with this turn of the loop. */
void cluster_leave(struct cluster *c);

const struct bootstrap_counters *cluster_bootstrap_counters(const struct cluster *c);
const struct udp_counters *cluster_udp_counters(const struct cluster *c);
void cluster_write_metrics(const struct cluster *c, struct exposition *e);
