/* node.h - one running `spegel registry`: every part of it, and how they hang together.
 *
 *     stores ──► inventory ──► cluster (gossip)        server ──► registry ──► inventory
 *                                  ▲                                  └──────► mirror ──► peers
 *                                  └────────── lookup ────────────────────────────┘
 *
 * Parts are made in the order of their fields and freed in the opposite one. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/exposition.h"
#include "cli/options.h"
#include "cluster/cluster.h"
#include "io/fetch.h"
#include "io/loop.h"
#include "io/server.h"
#include "oci/filter.h"
#include "registry/auth.h"
#include "registry/cold.h"
#include "registry/metrics.h"
#include "registry/mirror.h"
#include "registry/registry.h"
#include "store/containerd.h"
#include "store/inventory.h"
#include "store/layout.h"

struct config_writer;

struct node {
    const struct registry_options *options;
    struct loop *loop;
    struct filter *filter;
    struct inventory *inventory;
    struct metrics *metrics;
    struct auth *auth;
    struct fetcher *fetcher;
    struct cold *cold; /* NULL: no cold rollouts */
    struct filter *cold_exclude;
    struct mirror *mirror;
    struct registry *registry;
    struct server *server, *metrics_server, *id_server;
    struct cluster *cluster;
    struct containerd *containerd; /* NULL where layouts are served */
    struct layout **layouts;
    size_t layout_count;
    struct config_writer *config_writer; /* NULL unless --write-configuration, and when leaving */
    struct timer load_timer, leave_timer;
    bool leaving;
};

/* 0, or negative errno with the sentence; then node_done frees what was made. */
int node_start(struct node *n, const struct registry_options *options, struct error *err);

/* After the loop ended; NULL parts are fine. */
void node_done(struct node *n);

/* node_leave.c: begins to leave; the loop stops when running streams have ended or their time is
 * over. */
void node_leave(struct node *n);

/* node_cold.c: makes `cold`, where it is wanted; for node_start. */
int node_start_cold(struct node *n, struct error *err);
/* GET /debug/swarm: the leases that this node keeps for others, its own flights. 0 or -ENOMEM. */
int node_write_swarm_json(const struct node *n, struct buf *json);
void node_cold_held(const struct node *n, const struct digest *digest);
/* What the core answers, and where the members are that it names. */
void node_cold_answered(void *arg, const struct gossip_answer *answer);
void node_containerd_connected(void *arg, bool is_connected);
/* What members show each other with requests, gossip/badge.h. */
bool node_write_badge(void *arg, const uint8_t node_id[6], const struct digest *digest,
                      bool follows, char ret_text[GOSSIP_BADGE_TEXT_BYTES]);
bool node_take_badge(void *arg, const char *text, const struct digest *digest, bool *ret_follows);
bool node_cold_member(void *arg, uint64_t id, struct mirror_holder *ret_holder);
/* node.c: whether the store has it; arg is the node. */
bool node_held(void *arg, const struct digest *digest);
/* node.c: false when the holder has no address that this node can use. */
bool node_convert_holder(const struct node *n, const struct gossip_holder *holder,
                         struct mirror_holder *ret_holder);

/* node_servers.c: listens on the three ports; for node_start. */
int node_start_servers(struct node *n, struct error *err);
/* "host:port", bracketed where it must be. */
void node_address_text(const struct host_port *address, char *ret_text, size_t bytes);

/* node_metrics.c: what GET /metrics answers. */
void node_write_metrics(const struct node *n, struct exposition *e);

/* config_writer.c: writes containerd's hosts.toml once a target of it answers. */
int config_writer_new(struct node *n, struct config_writer **ret_writer);
/* No write begins any more. One that is under way ends; what is left is freed by a callback, so let
 * the loop turn. NULL is fine. */
void config_writer_free(struct config_writer *w);
