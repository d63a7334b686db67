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
    struct list jobs; /* manifests being read on the pool */
    double last_containerd_s;
    size_t streams; /* file bodies under way */
    bool leaving;
};

/* One request as the registry understands it. Pointers live as long as the request. */
struct registry_query {
    const struct http_request *request;
    struct path path;
    char registry[REFERENCE_REGISTRY_BYTES]; /* from ns, X-Spegel-Registry or OCI-Namespace */
    const char *registry_as_given;           /* echoed as OCI-Namespace; "" when absent */
    bool from_peer;                          /* serve what you hold, never proxy */
    bool local_client;                       /* this node's own containerd */
};

/* An OCI error body. `detail_json` may be NULL. */
void answer_problem(struct conn *c, int status, const char *code, const char *message,
                    const char *detail_json);
void answer_json(struct conn *c, int status, const struct buf *fields, const struct buf *json);
/* The fields every /v2/ answer about content starts with. 0 or -ENOMEM/-EINVAL. */
int answer_fields(struct buf *fields, const struct registry_query *q);
void answer_no_memory(struct conn *c);

/* serve.c: content held here. Answers, or hands over to the mirror when it turns out to be gone. */
void serve_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                const struct inventory_blob *blob);
void serve_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                    const struct inventory_blob *blob);
void serve_gone(struct registry *r, struct conn *c);
void serve_done(struct registry *r); /* forgets every job; conns are gone by then */

/* registry.c: not held here, 404 for peers, the mirror for others. */
void registry_miss(struct registry *r, struct conn *c, const struct registry_query *q);

/* listing.c */
void listing_catalog(struct registry *r, struct conn *c, const struct registry_query *q);
void listing_tags(struct registry *r, struct conn *c, const struct registry_query *q);
void listing_referrers(struct registry *r, struct conn *c, const struct registry_query *q);
