/* answer.h - the registry's answers that several of its files give. Private to registry/. */
#pragma once

#include "base/list.h"
#include "io/server.h"
#include "oci/path.h"
#include "registry/registry.h"

struct registry {
    struct loop *loop;
    struct registry_config config;
    struct registry_counters counters;
    struct list jobs; /* files being looked at on the pool (the first) or waiting for it */
    size_t job_count;
    double last_containerd_s;
    size_t streams;      /* file bodies under way */
    size_t peer_streams; /* of them to peers that could ask elsewhere */
    bool leaving, draining;
};

/* One request as the registry understands it; may be copied, `request` lives as long as the
 * connection's response. */
struct registry_query {
    const struct http_request *request;
    struct path path;
    char registry[REFERENCE_REGISTRY_BYTES]; /* from ns, X-Spegel-Registry or OCI-Namespace */
    bool follows;      /* a member that takes what is in flight here, too: registry_config.badge */
    bool yields;       /* a member that can ask elsewhere: the same, whatever it is for */
    bool from_peer;    /* X-Spegel-Mirrored: may be told to come later */
    bool held_only;    /* serve what you hold, never proxy */
    bool local_client; /* this node's own containerd */
};

/* An OCI error body. `detail_json` may be NULL. Without memory the status goes out alone. */
void answer_problem(struct conn *c, int status, const char *code, const char *message,
                    const char *detail_json);
void answer_json(struct conn *c, int status, const struct buf *fields, const struct buf *json);
/* The fields every /v2/ answer about content starts with. 0 or -ENOMEM/-EINVAL. */
int answer_fields(struct buf *fields, const struct registry_query *q);
void answer_no_memory(struct conn *c); /* 503; not for content, see answer_unable */
/* Content that is known here and cannot be given just now. Peers are told to come later; containerd
 * hammers a host that says 503 or 429, and on 404 goes on to the next (containerd.md, section 1).
 */
void answer_unable(struct conn *c, const struct registry_query *q, const char *why);

/* serve.c: content held here. Answers, or hands over to the mirror when it turns out to be gone. */
void serve_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                const struct inventory_blob *blob);
void serve_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                    const struct inventory_blob *blob);
void serve_gone(struct registry *r, struct conn *c);
/* Forgets every job; conns are gone by then. The one on the pool frees itself when the loop turns
 * again. */
void serve_done(struct registry *r);

/* registry.c: content by digest: held, in flight for those who follow, or a miss. */
void registry_digest(struct registry *r, struct conn *c, const struct registry_query *q);
/* registry.c: not held here, 404 for peers, the mirror for others. */
void registry_miss(struct registry *r, struct conn *c, const struct registry_query *q);

/* listing.c */
void listing_catalog(struct registry *r, struct conn *c, const struct registry_query *q);
void listing_tags(struct registry *r, struct conn *c, const struct registry_query *q);
void listing_referrers(struct registry *r, struct conn *c, const struct registry_query *q);
