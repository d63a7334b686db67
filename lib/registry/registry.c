#include "registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "http/head.h"
#include "oci/problem.h"
#include "registry/content.h"
#include "registry/feed.h"
#include "registry/record.h"

#define FIELDS_BYTES 4096

int registry_new(struct loop *loop, const struct registry_config *config,
                 struct registry **ret_registry)
{
    struct registry *r = calloc(1, sizeof *r);
    if (!r) {
        return -ENOMEM;
    }
    r->loop = loop;
    r->config = *config;
    list_init(&r->jobs);
    *ret_registry = r;
    return 0;
}

void registry_free(struct registry *r)
{
    if (r) {
        serve_done(r);
        free(r);
    }
}

/* --- what is asked, and by whom --- */

/* X-Spegel-Registry carries a URL; the registry is its host[:port]. Too long: none. */
static void registry_of_url(const char *url, char ret_name[REFERENCE_REGISTRY_BYTES])
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme ? scheme + 3 : url;
    size_t n = strcspn(host, "/");
    if (n < REFERENCE_REGISTRY_BYTES) {
        memcpy(ret_name, host, n);
        ret_name[n] = 0;
    }
}

static bool header_is(const char *value, const char *wanted)
{
    return value && !strcasecmp(value, wanted);
}

/* False: answered already. */
static bool registry_read_query(struct registry *r, struct conn *c, struct registry_query *q)
{
    const struct http_request *request = q->request;
    const char *ns = q->path.ns;
    char of_url[REFERENCE_REGISTRY_BYTES] = "";
    if (!ns[0] && request->spegel_registry) {
        registry_of_url(request->spegel_registry, of_url);
        ns = of_url;
    }
    if (!ns[0] && request->oci_namespace) {
        ns = request->oci_namespace;
    }
    if (ns[0] && !reference_is_registry(ns, strlen(ns))) {
        r->counters.bad_paths++;
        answer_problem(c, 400, "NAME_INVALID", "ns is not a registry", NULL);
        return false;
    }
    (void)snprintf(q->registry, sizeof q->registry, "%s", ns);
    q->from_peer = header_is(request->spegel_mirrored, "true");
    feed_read_badge(r, q);
    q->held_only = q->from_peer || header_is(request->spegel_mirror, "false");
    const char *id = r->config.node_id(r->config.arg);
    q->local_client = request->spegel_node ? header_is(request->spegel_node, id) : conn_is_local(c);
    if (request->user_agent && !strncmp(request->user_agent, "containerd/", 11)) {
        r->last_containerd_s = (double)clock_wall_ms() / 1000.0;
    }
    return true;
}

/* --- routes --- */

/* Whether nobody holding it is a reason to ask who is fetching it. Another mirror's requests are
 * not: it, or who waits for it, may be whom the arbiter names. */
static bool registry_goes_cold(const struct registry *r, const struct registry_query *q)
{
    return r->config.cold && q->local_client && q->path.kind != PATH_MANIFEST_TAG &&
           !filter_matches(r->config.cold_exclude, q->registry, q->path.repository, NULL);
}

void registry_miss(struct registry *r, struct conn *c, const struct registry_query *q)
{
    bool blob = q->path.kind == PATH_BLOB;
    bool tag = q->path.kind == PATH_MANIFEST_TAG;
    const char *code = blob ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN";
    if (q->held_only || (!tag && !q->path.digest_supported)) {
        answer_problem(c, 404, code, "not held by this node", "{\"attempts\":[]}");
        return;
    }
    struct request_record *record = conn_user(c);
    if (record) {
        record->source = METRICS_PEER;
        record->is_mirrored = true;
        (void)snprintf(record->registry_name, sizeof record->registry_name, "%s", q->registry);
    }
    struct mirror_query query = {
        .kind = blob ? MIRROR_BLOB : MIRROR_MANIFEST,
        .head = q->request->method == HTTP_METHOD_HEAD,
        .local_client = q->local_client,
        .registry = q->registry,
        .repository = q->path.repository,
        .tag = tag ? q->path.tag : NULL,
        .digest = q->path.digest,
        .range = content_range(q),
        .cold = registry_goes_cold(r, q),
    };
    mirror_answer(r->config.mirror, c, &query);
}

static void registry_tag(struct registry *r, struct conn *c, const struct registry_query *q)
{
    size_t choices = 0;
    const struct inventory_blob *blob =
        inventory_tag(r->config.inventory, q->registry, q->path.repository, q->path.tag, &choices);
    if (blob) {
        serve_manifest(r, c, q, blob);
        return;
    }
    if (q->registry[0]) {
        registry_miss(r, c, q);
        return;
    }
    /* Without a registry a tag is answered only from here; several may have it: name them. */
    struct buf detail;
    buf_init(&detail, 16 * 1024);
    int failed = buf_puts(&detail, "{\"registries\":[");
    const char *names[32];
    size_t n = inventory_registries_of(r->config.inventory, q->path.repository, names, 32);
    for (size_t i = 0; i < n; i++) {
        failed |= buf_printf(&detail, "%s\"%s\"", i ? "," : "", names[i]);
    }
    failed |= buf_puts(&detail, "]}");
    r->counters.ambiguous_tags += choices > 1;
    answer_problem(c, 404, "MANIFEST_UNKNOWN",
                   choices > 1 ? "several registries here have it: choose one with ?ns="
                               : "unknown here; name the registry with ?ns= to ask the cluster",
                   failed ? NULL : detail.data);
    buf_done(&detail);
}

static void registry_content(struct registry *r, struct conn *c, const struct registry_query *q)
{
    const struct path *path = &q->path;
    bool tag = path->kind == PATH_MANIFEST_TAG;
    const char *code = path->kind == PATH_BLOB ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN";
    if (r->draining) {
        answer_unable(c, q, "this node is leaving");
        return;
    }
    if (q->registry[0] &&
        filter_matches(r->config.filter, q->registry, path->repository, tag ? path->tag : NULL)) {
        r->counters.filtered++;
        answer_problem(c, 404, code, "filtered", "{\"attempts\":[]}");
        return;
    }
    if (tag) {
        registry_tag(r, c, q);
        return;
    }
    registry_digest(r, c, q);
}

void registry_digest(struct registry *r, struct conn *c, const struct registry_query *q)
{
    const struct path *path = &q->path;
    const char *code = path->kind == PATH_BLOB ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN";
    const struct inventory_blob *blob =
        path->digest_supported ? inventory_blob(r->config.inventory, &path->digest) : NULL;
    if (!blob && !(q->follows && feed_answer(r, c, q))) {
        registry_miss(r, c, q);
    } else if (!blob) {
        return;
    } else if (blob->filtered) {
        r->counters.filtered++;
        answer_problem(c, 404, code, "filtered", "{\"attempts\":[]}");
    } else if (path->kind == PATH_MANIFEST_DIGEST) {
        serve_manifest(r, c, q, blob);
    } else {
        serve_blob(r, c, q, blob);
    }
}

static void registry_probe(struct registry *r, struct conn *c, bool readiness)
{
    struct buf json;
    buf_init(&json, 64 * 1024);
    int failed = buf_puts(&json, "{");
    bool ready = true;
    if (readiness) {
        ready = r->config.ready(r->config.arg, &json) && !r->leaving;
        failed |= r->leaving ? buf_puts(&json, ",\"leaving\":true") : 0;
    }
    failed |=
        buf_printf(&json, "%s\"ok\":%s}\n", json.len > 1 ? "," : "", ready ? "true" : "false");
    if (failed) {
        answer_no_memory(c);
    } else {
        answer_json(c, ready ? 200 : 503, NULL, &json);
    }
    buf_done(&json);
}

static void registry_cluster(struct registry *r, struct conn *c, const struct registry_query *q)
{
    int status = r->draining
                     ? -ESHUTDOWN
                     : r->config.cluster(r->config.arg, q->path.plain, q->request->spegel_auth, c);
    if (status == -EACCES) {
        answer_problem(c, 403, "DENIED", "not from a member of this cluster", NULL);
    } else if (status == -ENOENT) {
        answer_problem(c, 404, "UNSUPPORTED", "no such resource", NULL);
    } else if (status < 0) {
        answer_problem(c, 503, "TOOMANYREQUESTS", "not now", NULL);
    }
}

static void registry_ping(struct conn *c, enum path_kind kind)
{
    struct buf fields, json;
    buf_init(&fields, FIELDS_BYTES);
    buf_init(&json, 16);
    int failed = http_head_field(&fields, "Docker-Distribution-API-Version", "registry/2.0");
    if (kind == PATH_PING_BARE) {
        failed |= http_head_field(&fields, "Location", "/v2/");
    }
    failed |= buf_puts(&json, "{}");
    if (failed) {
        answer_no_memory(c);
    } else {
        answer_json(c, kind == PATH_PING_BARE ? 307 : 200, &fields, &json);
    }
    buf_done(&fields);
    buf_done(&json);
}

static void registry_other(struct registry *r, struct conn *c, const struct registry_query *q)
{
    const char *plain = q->path.plain;
    if (!strcmp(plain, "/readyz")) {
        registry_probe(r, c, true);
    } else if (!strcmp(plain, "/livez") || !strcmp(plain, "/healthz")) {
        registry_probe(r, c, false);
    } else if (!strncmp(plain, "/cluster/v1/", 12)) {
        if (auth_allows(r->config.auth, q->request->authorization)) {
            registry_cluster(r, c, q);
        } else {
            r->counters.unauthorized++;
            answer_problem(c, 401, "UNAUTHORIZED", "authentication required", NULL);
        }
    } else {
        answer_problem(c, 404, "UNSUPPORTED", "no such path", NULL);
    }
}

/* The doubted node's part of the doubt rule: its copy is hashed where it lies. */
static void registry_copy_is_wrong(void *arg, const struct digest *digest)
{
    struct registry *r = arg;
    char text[DIGEST_TEXT_BYTES];
    digest_format(digest, text);
    log_error("a blob's file does not match its digest: withdrawn", LOG_STR("digest", text));
    r->counters.withdrawn++;
    inventory_condemn(r->config.inventory, digest);
}

static void registry_doubt(struct registry *r, const char *text)
{
    struct digest digest;
    if (digest_parse(text, strlen(text), &digest) < 0 ||
        !inventory_blob(r->config.inventory, &digest)) {
        return;
    }
    int fd = inventory_open(r->config.inventory, &digest);
    if (fd >= 0) {
        mirror_check_own(r->config.mirror, &digest, fd, registry_copy_is_wrong, r);
    }
}

static void registry_v2(struct registry *r, struct conn *c, struct registry_query *q)
{
    if (!auth_allows(r->config.auth, q->request->authorization)) {
        r->counters.unauthorized++;
        answer_problem(c, 401, "UNAUTHORIZED", "authentication required", NULL);
        return;
    }
    if (!registry_read_query(r, c, q)) {
        return;
    }
    if (q->request->spegel_doubt) {
        registry_doubt(r, q->request->spegel_doubt);
    }
    switch (q->path.kind) {
    case PATH_PING:
    case PATH_PING_BARE:
        registry_ping(c, q->path.kind);
        break;
    case PATH_MANIFEST_TAG:
    case PATH_MANIFEST_DIGEST:
    case PATH_BLOB:
        registry_content(r, c, q);
        break;
    case PATH_CATALOG:
        listing_catalog(r, c, q);
        break;
    case PATH_TAGS:
        listing_tags(r, c, q);
        break;
    case PATH_REFERRERS:
        listing_referrers(r, c, q);
        break;
    case PATH_OTHER:
    case PATH_UNKNOWN:
        answer_problem(c, 404, "UNSUPPORTED", "no such path", NULL);
        break;
    }
}

void registry_request(void *arg, struct conn *c, const struct http_request *request)
{
    struct registry *r = arg;
    record_new(r, c, request);
    struct registry_query q = {.request = request};
    struct error err;
    const char *code = "UNSUPPORTED";
    if (request->method == HTTP_METHOD_OTHER) {
        r->counters.bad_methods++;
        answer_problem(c, 405, "UNSUPPORTED", "only GET and HEAD: this registry is read-only",
                       NULL);
    } else if (path_parse(request->target, &q.path, &code, &err) < 0) {
        r->counters.bad_paths++;
        answer_problem(c, 400, code, err.text, NULL);
    } else if (q.path.kind == PATH_OTHER) {
        registry_other(r, c, &q);
    } else {
        registry_v2(r, c, &q);
    }
}

void registry_gone(void *arg, struct conn *c)
{
    struct registry *r = arg;
    serve_gone(r, c);
    feed_gone(r, c);
    mirror_gone(r->config.mirror, c);
    r->config.cluster_gone(r->config.arg, c);
    record_gone(c);
}

void registry_set_leaving(struct registry *r)
{
    r->leaving = true;
}

void registry_set_draining(struct registry *r)
{
    r->draining = true;
    feed_let_go(r);
    mirror_let_go(r->config.mirror);
}

double registry_last_containerd_request(const struct registry *r)
{
    return r->last_containerd_s;
}

const struct registry_counters *registry_counters(const struct registry *r)
{
    return &r->counters;
}
