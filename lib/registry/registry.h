/* registry.h - answering requests on the registry port: routes, access, local content, listings.
 *
 * The handler behind io/server.h. What this node holds is served from the store; what it lacks is
 * handed to mirror.h; everything about the cluster's own endpoints is asked of a callback. Rules:
 * distribution-spec, and architecture.md, "The life of a request". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/loop.h"
#include "io/server.h"
#include "oci/filter.h"
#include "registry/auth.h"
#include "registry/cold.h"
#include "registry/metrics.h"
#include "registry/mirror.h"
#include "store/inventory.h"

struct registry_config { /* everything pointed at outlives the registry */
    struct inventory *inventory;
    const struct filter *filter;
    struct mirror *mirror;
    struct cold *cold;                 /* NULL: no cold rollouts; else outlives it too */
    const struct filter *cold_exclude; /* references that stay out of them; set where cold is */
    struct metrics *metrics;
    struct auth *auth;
    /* True when ready; else appends to `why` what is missing, a JSON object's members. Also called
     * when ready, for what an operator may want to see in the body. */
    bool (*ready)(void *arg, struct buf *why);
    /* GET /cluster/v1/…: 0: c is answered there, now or later, unless cluster_gone says first that
     * its client is gone (of any conn); else it is answered here: -EACCES (403), -ENOENT (404),
     * other: 503. */
    int (*cluster)(void *arg, const char *path, const char *auth, struct conn *c);
    void (*cluster_gone)(void *arg, struct conn *c);
    /* May be NULL: nobody follows. Whether a peer's X-Spegel-Follow shows that it is a member which
     * can ask elsewhere for this digest (gossip/badge.h), and whether it takes a download under
     * way. To be asked once a request. */
    bool (*badge)(void *arg, const char *text, const struct digest *digest, bool *ret_follows);
    /* This node's id as X-Spegel-Node carries it. */
    const char *(*node_id)(void *arg);
    void *arg;
};

struct registry_counters {
    uint64_t bad_paths, bad_methods, unauthorized, filtered, over_stream_cap, withdrawn,
        wrong_manifests, ambiguous_tags, busy,
        bad_badges; /* taken for ordinary requests of a peer */
};

struct registry;
int registry_new(struct loop *loop, const struct registry_config *config,
                 struct registry **ret_registry);
void registry_free(struct registry *r); /* after server_free */

/* For server_new: arg is the registry. */
void registry_request(void *arg, struct conn *c, const struct http_request *request);
void registry_gone(void *arg, struct conn *c);

/* From SIGTERM on /readyz says no. */
void registry_set_leaving(struct registry *r);
/* And a little later no content is begun any more: peers are told to ask elsewhere, containerd goes
 * to the upstream. Probes and listings are still answered. */
void registry_set_draining(struct registry *r);

/* Unix seconds of the last request that came from containerd (User-Agent), 0 when none has. */
double registry_last_containerd_request(const struct registry *r);

const struct registry_counters *registry_counters(const struct registry *r);
