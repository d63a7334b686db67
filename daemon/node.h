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
    struct mirror *mirror;
    struct registry *registry;
    struct server *server, *metrics_server, *id_server;
    struct cluster *cluster;
    struct containerd *containerd; /* NULL where layouts are served */
    struct layout **layouts;
    size_t layout_count;
    struct config_writer *config_writer; /* NULL unless --write-configuration */
    struct timer load_timer;
    bool leaving;
};

/* 0, or negative errno with the sentence; then node_done frees what was made. */
int node_start(struct node *n, const struct registry_options *options, struct error *err);

/* Begins to leave: not ready, LEFT is said, no new connections; the loop stops when running streams
 * have ended or their time is over. */
void node_leave(struct node *n);

/* After the loop ended; NULL parts are fine. */
void node_done(struct node *n);

/* node_servers.c: listens on the three ports; for node_start. */
int node_start_servers(struct node *n, struct error *err);
/* "host:port", bracketed where it must be. */
void node_address_text(const struct host_port *address, char *ret_text, size_t bytes);

/* node_metrics.c: what GET /metrics answers. */
void node_write_metrics(const struct node *n, struct exposition *e);

/* config_writer.c: writes containerd's hosts.toml once this node answers through its target. */
int config_writer_new(struct node *n, struct config_writer **ret_writer);
void config_writer_free(struct config_writer *w);
