/* mirror_fixture.h - a mirror behind a real server, its holders scripted peers, its client a
 * blocking one: what test_mirror.c and test_mirror_faults.c share. */
#pragma once

#include <signal.h>

#include "base/limits.h"
#include "registry/mirror.h"
#include "scripted_peer.h"

#define PEERS 4
#define BLOB_BYTES (16 * 1024 * 1024) /* more than the sockets between buffer */
#define SMALL_BYTES 5000

struct mirror_fixture {
    struct loop *loop;
    struct server *server;
    struct mirror *mirror;
    struct mirror_config config;
    struct scripted_peer peers[PEERS];
    size_t peer_count; /* started */
    size_t known;      /* how many of them the look-up gives */
    uint64_t known_from_ms;
    unsigned lookups, unreachable[PEERS], gone;
    bool held, settled;
    struct mirror_query query; /* what any request stands for; HEAD and Range are its own */
    char *blob, *small, *body;
    char blob_digest[DIGEST_TEXT_BYTES], small_digest[DIGEST_TEXT_BYTES];
    struct blocking_client client;
    unsigned resolved;
    unsigned fail_nth; /* the allocation that fails, counted from the mirror's start on it */
};

static inline size_t fixture_lookup(void *arg, const struct digest *digest, const char *tag,
                                    struct mirror_holder *ret_holders, size_t max)
{
    struct mirror_fixture *f = arg;
    f->lookups++;
    assert_true((digest != NULL) != (tag != NULL));
    if (tag) {
        assert_string_equal(tag, "docker.io/library/app:v1");
    }
    if (clock_now_us() / 1000 < f->known_from_ms) {
        return 0;
    }
    size_t n = f->known < max ? f->known : max;
    for (size_t i = 0; i < n; i++) {
        ret_holders[i] = (struct mirror_holder){.node_id = {(uint8_t)i, 1, 2, 3, 4, 5}};
        ret_holders[i].address = f->peers[i].address;
    }
    return n;
}

static inline void fixture_unreachable(void *arg, const uint8_t node_id[6])
{
    struct mirror_fixture *f = arg;
    f->unreachable[node_id[0]]++;
}

static inline const char *fixture_authorization(void *arg)
{
    (void)arg;
    return "Basic dTpw";
}

static inline bool fixture_held(void *arg, const struct digest *digest)
{
    (void)digest;
    return ((struct mirror_fixture *)arg)->held;
}

static inline bool fixture_settled(void *arg)
{
    return ((struct mirror_fixture *)arg)->settled;
}

static inline void fixture_resolved(void *arg, double seconds)
{
    assert_true(seconds >= 0 && seconds < 10);
    ((struct mirror_fixture *)arg)->resolved++;
}

static inline void fixture_request(void *arg, struct conn *c, const struct http_request *request)
{
    struct mirror_fixture *f = arg;
    struct mirror_query query = f->query;
    query.head = request->method == HTTP_METHOD_HEAD;
    query.range = request->range;
    support_fail_allocation(f->fail_nth);
    mirror_answer(f->mirror, c, &query);
}

static inline void fixture_gone(void *arg, struct conn *c)
{
    struct mirror_fixture *f = arg;
    f->gone++;
    mirror_gone(f->mirror, c);
}

static inline void fixture_digest(const char *bytes, size_t n, char ret_text[DIGEST_TEXT_BYTES])
{
    struct digest digest;
    digest_of(bytes, n, &digest);
    digest_format(&digest, ret_text);
}

static inline int fixture_set_up(void **state)
{
    struct mirror_fixture *f = calloc(1, sizeof(*f));
    struct error err;
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does: splice raises it */
    assert_int_equal(loop_new(&f->loop), 0);
    f->config = (struct mirror_config){.resolve_timeout_ms = 20,
                                       .resolve_retries = 3,
                                       .lookup = fixture_lookup,
                                       .unreachable = fixture_unreachable,
                                       .authorization = fixture_authorization,
                                       .held = fixture_held,
                                       .settled = fixture_settled,
                                       .arg = f};
    assert_int_equal(mirror_new(f->loop, &f->config, &f->mirror), 0);
    mirror_on_resolved(f->mirror, fixture_resolved, f);
    const struct server_handler handler = {fixture_request, fixture_gone, f};
    assert_int_equal(server_new(f->loop, &handler, &f->server), 0);
    assert_int_equal(server_listen(f->server, "127.0.0.1:0", &err), 0);
    static char *blob; /* made once: the same for all tests */
    static char digest[DIGEST_TEXT_BYTES];
    if (!blob) {
        blob = scripted_content(BLOB_BYTES);
        fixture_digest(blob, BLOB_BYTES, digest);
    }
    f->blob = f->small = blob;
    f->body = malloc(BLOB_BYTES + 4096);
    memcpy(f->blob_digest, digest, sizeof(digest));
    fixture_digest(f->small, SMALL_BYTES, f->small_digest);
    f->query = (struct mirror_query){.kind = MIRROR_BLOB,
                                     .local_client = true,
                                     .registry = "docker.io",
                                     .repository = "library/app"};
    assert_int_equal(digest_parse(f->blob_digest, strlen(f->blob_digest), &f->query.digest), 0);
    *state = f;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct mirror_fixture *f = *state;
    server_free(f->server);
    mirror_free(f->mirror);
    loop_free(f->loop);
    for (size_t i = 0; i < f->peer_count; i++) {
        scripted_stop(&f->peers[i]);
    }
    free(f->body);
    free(f);
    return 0;
}

/* One more holder of the blob. */
static inline struct scripted_peer *fixture_add(struct mirror_fixture *f, enum script script,
                                                int64_t at)
{
    struct scripted_peer *p = &f->peers[f->peer_count++];
    scripted_start(p, script, f->blob, BLOB_BYTES);
    atomic_store(&p->at, at);
    f->known = f->peer_count;
    return p;
}

/* From now on requests and holders are about something small. */
static inline void fixture_go_small(struct mirror_fixture *f, bool manifest)
{
    f->query.kind = manifest ? MIRROR_MANIFEST : MIRROR_BLOB;
    assert_int_equal(digest_parse(f->small_digest, strlen(f->small_digest), &f->query.digest), 0);
    for (size_t i = 0; i < f->peer_count; i++) {
        f->peers[i].len = SMALL_BYTES;
        f->peers[i].digest = f->small_digest;
        f->peers[i].content_type = "application/vnd.oci.image.manifest.v1+json";
    }
}

static inline void fixture_start(struct mirror_fixture *f, const char *method, const char *fields)
{
    struct blocking_client old = f->client;
    f->client = (struct blocking_client){.abort_at = old.abort_at,
                                         .pause_at = old.pause_at,
                                         .pause_ms = old.pause_ms,
                                         .receive_buffer = old.receive_buffer};
    client_start(&f->client, server_port(f->server), method, "/v2/", fields, f->body,
                 BLOB_BYTES + 4096);
}

static inline void fixture_run(struct mirror_fixture *f, const char *method, const char *fields)
{
    fixture_start(f, method, fields);
    client_finish(&f->client, f->loop, 20000);
    f->client.abort_at = f->client.pause_at = 0;
}

static inline void fixture_get(struct mirror_fixture *f)
{
    fixture_run(f, "GET", "");
}

static inline void assert_whole_blob(const struct mirror_fixture *f)
{
    assert_int_equal(f->client.status, 200);
    assert_int_equal(f->client.content_length, BLOB_BYTES);
    assert_int_equal(f->client.body_bytes, BLOB_BYTES);
    assert_memory_equal(f->body, f->blob, BLOB_BYTES);
}

/* Cut with FIN, and what came is right as far as it goes. */
static inline void assert_cut_short(const struct mirror_fixture *f, int64_t at_least)
{
    assert_int_equal(f->client.status, 200);
    assert_false(f->client.reset);
    assert_in_range(f->client.body_bytes, at_least, BLOB_BYTES - 1);
}
