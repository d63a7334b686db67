/* cold_fixture.h - two nodes on loopback: a parent whose containerd downloads (played by the test,
 * in the files that containerd would write) and a follower; the arbiter's answers are the test's.
 * What test_cold.c, test_cold_ends.c and test_proof.c share. */
#pragma once

#include "registry/registry_fixture.h"

#include "gossip/key.h"
#include "registry/cold.h"
#include "store/downloads.h"

#define BLOB_BYTES (6 * DOWNLOADS_MIB)
#define TOTAL "6291456"
#define PARENT 0x010203040506
#define SILENT 0x010203040507 /* a member that takes connections and says nothing */
#define FAST 0x010203040508   /* a member at fast_at */
#define ANSWER_LOST ((enum gossip_swarm_answer_kind)99)
#define FIRST_BYTE "X-Spegel-Mirrored: true\r\nX-Spegel-Follow: " BADGE_FOLLOW "\r\n"
#define WHAT_IS_HELD "X-Spegel-Mirrored: true\r\nX-Spegel-Follow: " BADGE_HELD "\r\n"

struct rollout {
    struct loop *loop;
    struct site parent, follower;
    struct digest digest;
    char blob[BLOB_BYTES], body[BLOB_BYTES + 4096], target[160];
    struct place at_parent, at_follower; /* only their directories */
    struct download download;            /* the parent's */
    struct download own;                 /* the follower's: there, and empty, before it asks */
    struct blocking_client client;       /* of the follower */
    /* What the test answers to the follower's asks, in this order, the last one for ever. */
    enum gossip_swarm_answer_kind answers[8];
    size_t answer_count;
    uint64_t offers[8]; /* whom, 0: PARENT */
    uint16_t retry_ms;  /* of WAIT */
    int silent_fd;
    const union address *fast_at;
    /* What was asked and said. */
    struct gossip_want wants[32];
    size_t want_count;
    struct gossip_flight flights[64]; /* both sites' */
    const struct site *flight_of[64];
    size_t flight_count;
    unsigned unreachable;
    struct gossip_answer queued[8];
    const struct site *queued_for[8];
    size_t queued_count;
    struct defer tell;
    bool member_gone;
    unsigned committed; /* how often some download was said to be */
    unsigned wrong;     /* the same; and by whom, the last time */
    uint64_t giver, origin;
};

static struct rollout *the; /* callbacks know their site only */

static inline void tell(void *arg)
{
    struct rollout *r = arg;
    while (r->queued_count > 0) { /* telling may make them ask again */
        r->queued_count--;
        const struct gossip_answer answer = r->queued[r->queued_count];
        cold_answer(r->queued_for[r->queued_count]->cold, &answer);
    }
}

static inline void want(void *arg, const struct gossip_want *asked)
{
    const struct site *s = arg;
    struct rollout *r = the;
    struct gossip_answer answer = {.ask = asked->ask, .key = asked->key, .retry_ms = r->retry_ms};
    answer.kind = GOSSIP_SWARM_GRANT;
    if (s == &r->follower) {
        size_t n = r->want_count < r->answer_count ? r->want_count : r->answer_count - 1;
        assert_true(r->want_count < 32);
        r->wants[r->want_count++] = *asked;
        answer.kind = r->answers[n];
        answer.offers[0].id = r->offers[n] ? r->offers[n] : PARENT;
    }
    if (answer.kind == ANSWER_LOST) {
        return;
    }
    if (answer.kind == GOSSIP_SWARM_OFFER) {
        answer.count = 1;
    }
    assert_true(r->queued_count < 8);
    r->queued_for[r->queued_count] = s;
    r->queued[r->queued_count++] = answer;
    defer_start(r->loop, &r->tell);
}

static inline void want_end(void *arg, uint32_t ask)
{
    (void)arg;
    (void)ask;
}

static inline void flight(void *arg, const struct gossip_flight *said)
{
    assert_true(the->flight_count < 64);
    the->flight_of[the->flight_count] = arg;
    the->flights[the->flight_count++] = *said;
}

static inline const char *content_root(void *arg)
{
    return ((struct site *)arg)->dir;
}

static inline bool held(void *arg, const struct digest *digest)
{
    return inventory_blob(((struct site *)arg)->inventory, digest) != NULL;
}

static inline void committed(void *arg, const struct digest *digest)
{
    (void)arg;
    assert_true(digest_equal(digest, &the->digest));
    the->committed++;
}

static inline void wrong(void *arg, const struct digest *digest, uint64_t giver, uint64_t origin)
{
    assert_ptr_equal(arg, &the->follower);
    assert_true(digest_equal(digest, &the->digest));
    the->wrong++;
    the->giver = giver;
    the->origin = origin;
}

static inline bool member(void *arg, uint64_t id, struct mirror_holder *ret_holder)
{
    (void)arg;
    if ((id != PARENT && id != SILENT && (id != FAST || !the->fast_at)) || the->member_gone) {
        return false;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server_port(the->parent.server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (id == SILENT) {
        socklen_t n = sizeof address;
        assert_int_equal(getsockname(the->silent_fd, (struct sockaddr *)&address, &n), 0);
    }
    *ret_holder = (struct mirror_holder){.node_id = {1, 2, 3, 4, 5, (uint8_t)id}};
    ret_holder->address.in4 = id == FAST ? the->fast_at->in4 : address;
    return true;
}

static inline int set_up(void **state)
{
    static const struct cold_config cold = {.namespace = "k8s.io",
                                            .content_root = content_root,
                                            .held = held,
                                            .committed = committed,
                                            .wrong = wrong,
                                            .want = want,
                                            .want_end = want_end,
                                            .flight = flight};
    char text[DIGEST_TEXT_BYTES], path[128];
    struct rollout *r = the = calloc(1, sizeof *r);
    assert_non_null(r);
    assert_int_equal(loop_new(&r->loop), 0);
    defer_init(&r->tell, tell, r);
    site_start_with(&r->parent, r->loop, NULL, &cold, member);
    site_start_with(&r->follower, r->loop, NULL, &cold, member);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/ingest", (i ? &r->parent : &r->follower)->dir);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    (void)snprintf(r->at_parent.dir, sizeof r->at_parent.dir, "%s", r->parent.dir);
    (void)snprintf(r->at_follower.dir, sizeof r->at_follower.dir, "%s", r->follower.dir);
    for (int64_t i = 0; i < BLOB_BYTES; i++) {
        r->blob[i] = download_byte(i);
    }
    digest_of(r->blob, BLOB_BYTES, &r->digest);
    digest_format(&r->digest, text);
    (void)snprintf(r->target, sizeof r->target, "/v2/app/blobs/%s?ns=registry.lab", text);
    r->own = download_begin(&r->at_follower, "layer", &r->digest, TOTAL);
    r->answers[0] = GOSSIP_SWARM_OFFER;
    r->answer_count = 1;
    r->retry_ms = 20;
    r->silent_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(r->silent_fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(r->silent_fd, 8), 0);
    *state = r;
    return 0;
}

static inline int tear_down(void **state)
{
    struct rollout *r = *state;
    defer_stop(&r->tell);
    site_stop(&r->follower);
    site_stop(&r->parent);
    (void)close(r->silent_fd);
    (void)close(r->own.fd);
    loop_free(r->loop);
    free(r);
    return 0;
}

/* --- what happens --- */

static inline bool is_quiet(void *arg)
{
    (void)arg;
    return false;
}

static inline void run_for(struct rollout *r, unsigned ms)
{
    (void)loop_run_until(r->loop, is_quiet, NULL, ms);
}

/* Until the follower's question has been answered, and it said whom it follows. */
static inline bool follower_follows(void *arg)
{
    const struct rollout *r = arg;
    for (size_t i = 0; i < r->flight_count; i++) {
        if (r->flight_of[i] == &r->follower && r->flights[i].parent) {
            return true;
        }
    }
    return false;
}

static inline void run_until_it_follows(struct rollout *r)
{
    assert_true(loop_run_until(r->loop, follower_follows, r, 10000));
}

/* Of one parent, once. Where this process is not scheduled for LIMIT_NO_PROGRESS_MS, both sites
 * seem silent to each other: then the arbiter is asked again whether to stay, and says so. */
static inline void assert_asked_for_one_parent(const struct rollout *r)
{
    assert_true(r->want_count >= 1 && r->wants[0].failed_count == 0);
    for (size_t i = 1; i < r->want_count; i++) {
        enum gossip_swarm_fault fault = r->wants[i].failed[0].fault;
        assert_true(r->wants[i].failed_count == 1 && r->wants[i].failed[0].id == PARENT);
        assert_true(fault == GOSSIP_FAULT_STALLED || fault == GOSSIP_FAULT_SLOW);
    }
    assert_int_equal(cold_counters(r->follower.cold)->switched, 0);
}

/* The parent's containerd asks, is sent upstream, and begins. */
static inline void parent_begins(struct rollout *r, const char *total)
{
    r->download = download_begin(&r->at_parent, "layer", &r->digest, total);
    site_ask(&r->parent, "GET", r->target, "");
    assert_int_equal(r->parent.client.status, 404);
}

static inline void parent_grows(struct rollout *r, int64_t from, int64_t to)
{
    download_write(&r->download, from, (size_t)(to - from));
}

static inline void parent_commits(struct rollout *r)
{
    download_commit(&r->download);
    assert_int_equal(
        inventory_add_blob(r->parent.inventory, &r->digest, BLOB_BYTES, &r->parent.root), 0);
    cold_held(r->parent.cold, &r->digest);
}

static inline void own_is_gone(struct rollout *r)
{
    download_abort(&r->own);
    r->own.fd = -1;
}

static inline void follower_asks(struct rollout *r, const char *fields)
{
    r->client = (struct blocking_client){0};
    client_start(&r->client, server_port(r->follower.server), "GET", r->target, fields, r->body,
                 sizeof r->body);
}

static inline void follower_finishes(struct rollout *r)
{
    client_finish(&r->client, r->loop, 10000);
}

static inline void assert_whole(const struct rollout *r)
{
    assert_int_equal(r->client.status, 200);
    assert_int_equal(r->client.body_bytes, BLOB_BYTES);
    assert_memory_equal(r->body, r->blob, BLOB_BYTES);
}

static inline const struct gossip_flight *last_said(const struct rollout *r, const struct site *s)
{
    for (size_t i = r->flight_count; i-- > 0;) {
        if (r->flight_of[i] == s) {
            return &r->flights[i];
        }
    }
    return NULL;
}
