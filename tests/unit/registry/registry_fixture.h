/* registry_fixture.h - a whole registry on loopback: real files in a directory of its own, a real
 * inventory, mirror and server. Several share one loop and mirror from each other. */
#pragma once

#include <signal.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "oci/manifest.h"
#include "registry/answer.h"
#include "scripted_peer.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define REPLY_BYTES (1024 * 1024)

struct site {
    struct loop *loop;
    char dir[64];
    struct blob_root root;
    struct filter *filter;
    struct inventory *inventory;
    struct metrics *metrics;
    struct auth *auth;
    struct cold *cold; /* NULL unless site_start_cold */
    struct mirror *mirror;
    struct registry *registry;
    struct server *server;
    struct site *holder; /* what the mirror's look-up gives; NULL: nobody */
    unsigned lookups;
    bool ready;
    struct conn *cluster_waits; /* asked for something slow of the cluster */
    unsigned cluster_gone;      /* and went away */
    char reply[REPLY_BYTES];
    struct blocking_client client;
};

static inline size_t site_lookup(void *arg, const struct digest *digest, const char *tag,
                                 struct mirror_holder *ret_holders, size_t max)
{
    struct site *s = arg;
    (void)digest;
    (void)tag;
    s->lookups++;
    if (!s->holder || max == 0) {
        return 0;
    }
    ret_holders[0] = (struct mirror_holder){.node_id = {1, 2, 3, 4, 5, 6}};
    ret_holders[0].address.in4 =
        (struct sockaddr_in){.sin_family = AF_INET,
                             .sin_port = htons(server_port(s->holder->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return 1;
}

/* Badges of the two kinds; what is real about them is in gossip/test_badge.c. */
#define BADGE_HELD "a member's badge for what is held"
#define BADGE_FOLLOW "a member's badge for what is in flight"

static inline bool site_write_badge(void *arg, const uint8_t node_id[6],
                                    const struct digest *digest, bool follows, char *ret_text)
{
    (void)arg;
    (void)node_id;
    (void)digest;
    (void)snprintf(ret_text, GOSSIP_BADGE_TEXT_BYTES, "%s", follows ? BADGE_FOLLOW : BADGE_HELD);
    return true;
}

static inline bool site_take_badge(void *arg, const char *text, const struct digest *digest,
                                   bool *ret_follows)
{
    (void)arg;
    (void)digest;
    *ret_follows = strcmp(text, BADGE_FOLLOW) == 0;
    return *ret_follows || strcmp(text, BADGE_HELD) == 0;
}

static inline void site_unreachable(void *arg, const uint8_t node_id[6])
{
    (void)arg;
    (void)node_id;
}

static inline const char *site_authorization(void *arg)
{
    return auth_header(((struct site *)arg)->auth);
}

static inline bool site_settled(void *arg)
{
    (void)arg;
    return true;
}

static inline bool site_ready(void *arg, struct buf *why)
{
    struct site *s = arg;
    (void)buf_printf(why, "\"listed\":%s", s->ready ? "true" : "false");
    return s->ready;
}

static inline int site_cluster(void *arg, const char *path, const char *auth, struct conn *c)
{
    struct site *s = arg;
    if (!auth) {
        return -EACCES;
    }
    if (!strcmp(path, "/cluster/v1/slow")) {
        s->cluster_waits = c; /* nobody answers it */
        return 0;
    }
    if (strcmp(path, "/cluster/v1/snapshot") != 0) {
        return !strcmp(path, "/cluster/v1/busy") ? -EAGAIN : -ENOENT;
    }
    struct buf fields;
    buf_init(&fields, 100);
    (void)buf_puts(&fields, "Content-Type: application/octet-stream\r\n");
    server_respond(c, 200, &fields, "sealed", 6);
    buf_done(&fields);
    return 0;
}

static inline void site_cluster_gone(void *arg, struct conn *c)
{
    struct site *s = arg;
    s->cluster_gone += c == s->cluster_waits;
}

static inline const char *site_node_id(void *arg)
{
    (void)arg;
    return "0123456789ab";
}

static inline void site_changed(void *arg, const struct inventory_change *change)
{
    (void)arg;
    (void)change;
}

/* `cold` may be NULL; else its content root is the site's directory. */
static inline void site_start_with(struct site *s, struct loop *loop, const char *filtered,
                                   const struct cold_config *cold,
                                   bool (*member)(void *arg, uint64_t id,
                                                  struct mirror_holder *ret_holder))
{
    struct error err;
    char path[128];
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    *s = (struct site){.loop = loop, .dir = "/tmp/spegel-registry-XXXXXX", .ready = true};
    assert_non_null(mkdtemp(s->dir));
    static const char *const folders[] = {"blobs", "blobs/sha256", "secret"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", s->dir, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    s->root.path = s->dir;
    assert_int_equal(filter_new(&filtered, filtered ? 1 : 0, NULL, 0, &s->filter, &err), 0);
    assert_int_equal(inventory_new(s->filter, site_changed, s, &s->inventory), 0);
    assert_int_equal(metrics_new(&s->metrics), 0);
    assert_int_equal(auth_new(loop, path, &s->auth, &err), 0);
    struct mirror_config mirror = {.resolve_timeout_ms = 20,
                                   .resolve_retries = 3,
                                   .lookup = site_lookup,
                                   .unreachable = site_unreachable,
                                   .authorization = site_authorization,
                                   .settled = site_settled,
                                   .badge = site_write_badge,
                                   .member = member,
                                   .arg = s};
    if (cold) {
        struct cold_config config = *cold;
        config.arg = s;
        assert_int_equal(cold_new(loop, &config, &s->cold), 0);
        mirror.cold = s->cold;
    }
    assert_int_equal(mirror_new(loop, &mirror, &s->mirror), 0);
    struct registry_config config = {.inventory = s->inventory,
                                     .filter = s->filter,
                                     .mirror = s->mirror,
                                     .cold = s->cold,
                                     .cold_exclude = s->filter,
                                     .metrics = s->metrics,
                                     .auth = s->auth,
                                     .ready = site_ready,
                                     .cluster = site_cluster,
                                     .cluster_gone = site_cluster_gone,
                                     .badge = site_take_badge,
                                     .node_id = site_node_id,
                                     .arg = s};
    assert_int_equal(registry_new(loop, &config, &s->registry), 0);
    const struct server_handler handler = {registry_request, registry_gone, s->registry};
    assert_int_equal(server_new(loop, &handler, &s->server), 0);
    assert_int_equal(server_listen(s->server, "127.0.0.1:0", &err), 0);
}

static inline void site_start(struct site *s, struct loop *loop, const char *filtered)
{
    site_start_with(s, loop, filtered, NULL, NULL);
}

static inline bool site_never(void *arg)
{
    (void)arg;
    return false;
}

static inline void site_stop(struct site *s)
{
    char command[128];
    server_free(s->server);
    registry_free(s->registry);
    mirror_free(s->mirror);
    cold_free(s->cold);
    auth_free(s->auth);
    metrics_free(s->metrics);
    inventory_free(s->inventory);
    filter_free(s->filter);
    (void)loop_run_until(s->loop, site_never, NULL, 50); /* what was cancelled ends */
    (void)snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
    assert_int_equal(system(command), 0);
}

/* --- what it holds --- */

static inline void site_path(const struct site *s, const struct digest *digest, char ret_path[160])
{
    char hex[DIGEST_HEX_BYTES];
    digest_format_hex(digest, hex);
    (void)snprintf(ret_path, 160, "%s/blobs/sha256/%s", s->dir, hex);
}

static inline void site_write(const struct site *s, const struct digest *digest, const char *bytes,
                              size_t n)
{
    char path[160];
    site_path(s, digest, path);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A blob of these bytes, on disk and in the inventory; its digest as text. */
static inline void site_add(struct site *s, const char *bytes, size_t n,
                            char ret_text[DIGEST_TEXT_BYTES])
{
    struct digest digest;
    digest_of(bytes, n, &digest);
    digest_format(&digest, ret_text);
    site_write(s, &digest, bytes, n);
    assert_int_equal(inventory_add_blob(s->inventory, &digest, (int64_t)n, &s->root), 0);
}

static inline struct digest digest_from(const char *text)
{
    struct digest digest;
    assert_int_equal(digest_parse(text, strlen(text), &digest), 0);
    return digest;
}

static inline void site_know_manifest(struct site *s, const char *json, const char *text)
{
    struct manifest m = {0};
    struct digest digest = digest_from(text);
    assert_int_equal(manifest_parse(json, strlen(json), &m, NULL), 0);
    assert_int_equal(inventory_set_manifest(s->inventory, &digest, &m), 0);
    manifest_done(&m);
}

static inline void site_image(struct site *s, const char *name, const char *text)
{
    struct error err;
    struct digest digest = digest_from(text);
    assert_int_equal(inventory_set_image(s->inventory, name, &digest, MANIFEST_TYPE, true, &err),
                     0);
}

/* --- asking it --- */

static inline void site_ask(struct site *s, const char *method, const char *target,
                            const char *fields)
{
    s->client = (struct blocking_client){0};
    client_start(&s->client, server_port(s->server), method, target, fields, s->reply,
                 REPLY_BYTES - 1);
    client_finish(&s->client, s->loop, 10000);
    s->reply[s->client.body_bytes] = 0;
}

static inline bool site_said(const struct site *s, const char *text)
{
    return strstr(s->client.head, text) != NULL;
}

static inline void site_metrics(const struct site *s, struct buf *ret_text)
{
    buf_init(ret_text, 1024 * 1024);
    struct exposition e = {.out = ret_text};
    metrics_write(s->metrics, &e);
    assert_false(e.failed);
}

static inline void assert_metric(const struct site *s, const char *line)
{
    struct buf text;
    site_metrics(s, &text);
    if (!strstr(text.data, line)) {
        fail_msg("no \"%s\" in\n%s", line, text.data);
    }
    buf_done(&text);
}
