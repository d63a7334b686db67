/* serve.c - answering GET /cluster/v1/...: for holders of the cluster key only, sealed for the one
 * who asked.
 *
 * begin: who asks, and may it be now? Then a build (build.h) for it, or that of a snapshot which is
 * young enough, under way or in use.
 *
 * builds: one is under way at a time, a slice a millisecond; the others wait behind it.
 *
 * read: sealed piece by piece, as the client takes it.
 *
 * A body lives as long as somebody reads it, and no longer than LIMIT_GOSSIP_SERVE_MS. */
#include "base/hex.h"
#include "gossip/state.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Building an answer keeps us from everything else: so many at once, and then no more than this a
 * second; whoever is turned away asks somebody else. */
#define SNAPSHOTS_AT_ONCE 2
#define SNAPSHOT_EVERY_MS 50
#define SETS_AT_ONCE 32
#define SET_EVERY_MS 5
/* Who has just begun and waits for a snapshot itself would pass on next to nothing. */
#define UNREADY_MS 500
/* Who is given what was begun this long ago asks for the changes since. */
#define SHARED_MS 500

struct gossip_serving {
    struct list link;           /* in core->servings */
    struct gossip *core;        /* NULL: there is none any more */
    struct gossip_build *build; /* NULL: it took too long */
    uint64_t expires_ms;
    enum gossip_purpose purpose;
    uint8_t request[GOSSIP_SEAL_OVERHEAD_BYTES + GOSSIP_ASK_BYTES]; /* sealed for exactly this */
    size_t request_bytes;
    struct gossip_stream *stream; /* NULL: nothing was read yet */
    uint8_t header[GOSSIP_SEAL_HEADER_BYTES];
    size_t at; /* of the envelope */
};

static bool may_build(const struct gossip *g, uint64_t *free_ms, uint64_t every_ms,
                      uint64_t at_once)
{
    uint64_t start_ms = *free_ms > g->now_ms ? *free_ms : g->now_ms;
    if (start_ms - g->now_ms > every_ms * (at_once - 1)) {
        return false;
    }
    *free_ms = start_ms + every_ms;
    return true;
}

/* What a request says of itself: an envelope, in hex, around what it asks. */
struct request {
    struct gossip_header header;
    uint8_t sealed[GOSSIP_SEAL_OVERHEAD_BYTES + GOSSIP_ASK_BYTES];
    size_t sealed_bytes;
    uint8_t ask[GOSSIP_ASK_BYTES];
    size_t ask_bytes;
};

static int request_open(struct gossip *g, const char *path, const char *text,
                        struct request *ret_request)
{
    struct request *r = ret_request;
    size_t n = text ? strlen(text) : 0;
    if (n % 2 || n / 2 < GOSSIP_SEAL_OVERHEAD_BYTES || n / 2 > sizeof(r->sealed)) {
        return -EACCES;
    }
    r->sealed_bytes = n / 2;
    r->ask_bytes = r->sealed_bytes - GOSSIP_SEAL_OVERHEAD_BYTES;
    if (hex_read(text, r->sealed_bytes, r->sealed)) {
        return -EACCES;
    }
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = path, .len = strlen(path)};
    return gossip_seal_peek(r->sealed, r->sealed_bytes, &r->header) ||
                   gossip_seal_open(g->seal, &r->header, &binding, r->sealed, r->sealed_bytes,
                                    r->ask)
               ? -EACCES
               : 0;
}

struct resource {
    enum gossip_purpose purpose;
    uint64_t owner; /* of a set */
};

static int resource_of(const char *path, struct resource *ret_resource)
{
    static const char set[] = GOSSIP_PATH_PREFIX "set/";
    *ret_resource = (struct resource){.purpose = GOSSIP_FOR_SET};
    if (strcmp(path, GOSSIP_PATH_PREFIX "snapshot") == 0) {
        ret_resource->purpose = GOSSIP_FOR_SNAPSHOT;
    } else if (strcmp(path, GOSSIP_PATH_PREFIX "exchange") == 0) {
        ret_resource->purpose = GOSSIP_FOR_EXCHANGE;
    } else if (strncmp(path, set, sizeof(set) - 1) != 0 ||
               gossip_id_parse(path + sizeof(set) - 1, &ret_resource->owner) != 0) {
        return -ENOENT;
    }
    return 0;
}

static bool is_busy(struct gossip *g, const struct resource *resource)
{
    size_t sets = 0, larger = 0;
    LIST_EACH (link, &g->builds) {
        const struct gossip_build *b = CONTAINER_OF(link, struct gossip_build, link);
        *(b->purpose == GOSSIP_FOR_SET ? &sets : &larger) += 1;
    }
    return resource->purpose == GOSSIP_FOR_SET
               ? sets >= SETS_AT_ONCE || !may_build(g, &g->set_free_ms, SET_EVERY_MS, SETS_AT_ONCE)
               : larger >= SNAPSHOTS_AT_ONCE ||
                     !may_build(g, &g->snapshot_free_ms, SNAPSHOT_EVERY_MS, SNAPSHOTS_AT_ONCE);
}

/* A snapshot that somebody else is given; NULL: none. */
static struct gossip_build *shared(struct gossip *g)
{
    struct list *lists[] = {&g->builds, &g->built};
    for (size_t i = 0; i < 2; i++) {
        LIST_EACH (link, lists[i]) {
            struct gossip_build *b = CONTAINER_OF(link, struct gossip_build, link);
            if (b->purpose == GOSSIP_FOR_SNAPSHOT && !b->error &&
                g->now_ms - b->begun_ms < SHARED_MS) {
                return b;
            }
        }
    }
    return NULL;
}

static int find_build(struct gossip *g, const struct resource *resource,
                      const struct request *request, struct gossip_build **ret_build)
{
    bool is_snapshot = resource->purpose == GOSSIP_FOR_SNAPSHOT;
    bool too_early = is_snapshot && !g->ready && g->now_ms - g->started_ms < UNREADY_MS;
    struct gossip_build *b = is_snapshot && !too_early ? shared(g) : NULL;
    if (b) {
        *ret_build = b;
        return 0;
    }
    if (too_early || is_busy(g, resource)) {
        return -EAGAIN;
    }
    int error = resource->purpose == GOSSIP_FOR_EXCHANGE
                    ? gossip_exchange_begin(g, request->ask, request->ask_bytes,
                                            &request->header.sender, &b)
                    : gossip_build_new(resource->purpose, &b);
    if (error) {
        return error;
    }
    b->owner = resource->owner;
    b->begun_ms = g->now_ms;
    list_push_back(&g->builds, &b->link);
    *ret_build = b;
    return 0;
}

/* --- building --- */

static size_t bytes_in_use(const struct gossip *g)
{
    size_t n = 0;
    LIST_EACH (link, &g->built) {
        n += CONTAINER_OF(link, struct gossip_build, link)->plain.len;
    }
    return n;
}

/* The first of those waiting, as far as this millisecond's budget goes. */
static void build_some(struct gossip *g, size_t *budget)
{
    while (!list_empty(&g->builds) && *budget > 0) {
        struct gossip_build *b = CONTAINER_OF(g->builds.next, struct gossip_build, link);
        if (!b->begun) {
            size_t left = LIMIT_GOSSIP_SERVED_BYTES - bytes_in_use(g);
            b->plain.max = left < b->plain.max ? left : b->plain.max;
        }
        g->build = b;
        int error = gossip_build_slice(g, b, budget);
        if (error == -EINPROGRESS) {
            return;
        }
        g->build = NULL;
        list_remove(&b->link);
        list_push_back(&g->built, &b->link); /* what came to nothing too, until its users know */
    }
}

static void build_within_budget(struct gossip *g)
{
    if (g->build_ms != g->now_ms) {
        g->build_ms = g->now_ms;
        g->build_budget = GOSSIP_BUILD_SLICE;
    }
    build_some(g, &g->build_budget);
}

static void let_go(struct gossip_serving *s)
{
    struct gossip_build *b = s->build;
    s->build = NULL;
    gossip_stream_free(s->stream);
    s->stream = NULL;
    if (b && --b->users == 0) {
        s->core->build = s->core->build == b ? NULL : s->core->build;
        gossip_build_free(b);
    }
}

void gossip_serve_tick(struct gossip *g)
{
    build_within_budget(g);
    LIST_EACH (link, &g->servings) {
        struct gossip_serving *s = CONTAINER_OF(link, struct gossip_serving, link);
        if (g->now_ms >= s->expires_ms) {
            let_go(s);
        }
    }
}

void gossip_serve_free(struct gossip *g)
{
    LIST_EACH_SAFE (link, &g->servings) {
        struct gossip_serving *s = CONTAINER_OF(link, struct gossip_serving, link);
        let_go(s);
        list_remove(&s->link);
        s->core = NULL;
    }
    gossip_seen_done(&g->requests);
}

/* --- from outside --- */

int gossip_serve_begin(struct gossip *g, const char *path, const char *auth,
                       struct gossip_serving **ret_serving)
{
    struct request request;
    struct resource resource;
    struct gossip_build *b = NULL;
    if (request_open(g, path, auth, &request)) {
        g->stats.serve_denied++;
        return -EACCES;
    }
    if (resource_of(path, &resource)) {
        return -ENOENT;
    }
    /* Each request once: whoever has read one could else keep us building answers. */
    if (gossip_seen_take(&g->requests, &request.header.sender, request.header.counter)) {
        g->stats.drop_replay++;
        return -EACCES;
    }
    bool full = g->serving_count == LIMIT_GOSSIP_SERVINGS;
    struct gossip_serving *s = full ? NULL : calloc(1, sizeof(*s));
    int error = full ? -EAGAIN : !s ? -ENOMEM : find_build(g, &resource, &request, &b);
    if (error) {
        g->stats.serve_busy += error == -EAGAIN;
        free(s);
        return error;
    }
    *s = (struct gossip_serving){.core = g,
                                 .build = b,
                                 .expires_ms = g->now_ms + LIMIT_GOSSIP_SERVE_MS,
                                 .purpose = resource.purpose,
                                 .request_bytes = request.sealed_bytes};
    memcpy(s->request, request.sealed, request.sealed_bytes);
    list_init(&s->link);
    list_push_back(&g->servings, &s->link);
    g->serving_count++;
    b->users++;
    build_within_budget(g);
    *ret_serving = s;
    return 0;
}

int gossip_serving_ready(const struct gossip_serving *s, size_t *ret_bytes)
{
    if (!s->core || !s->build) {
        return s->core ? -ETIMEDOUT : -ESHUTDOWN;
    }
    const struct gossip_build *b = s->build;
    LIST_EACH (link, &s->core->builds) {
        if (link == &b->link) {
            return -EINPROGRESS;
        }
    }
    if (!b->error) {
        *ret_bytes = b->plain.len + GOSSIP_SEAL_OVERHEAD_BYTES;
    }
    return b->error;
}

static int begin_reading(struct gossip_serving *s)
{
    struct gossip_binding binding = {
        .purpose = s->purpose, .bytes = s->request, .len = s->request_bytes};
    return gossip_stream_seal(s->core->seal, &binding, s->header, &s->stream);
}

/* The part of the envelope that s->at is in, as far as n goes. */
static ssize_t read_part(struct gossip_serving *s, uint8_t *out, size_t n)
{
    const struct buf *plain = &s->build->plain;
    size_t tag_at = GOSSIP_SEAL_HEADER_BYTES + plain->len;
    if (s->at == 0) {
        memcpy(out, s->header, sizeof(s->header));
        return GOSSIP_SEAL_HEADER_BYTES;
    }
    if (s->at == tag_at) {
        int error = gossip_stream_tag(s->stream, out);
        s->core->stats.served += error == 0;
        return error ? error : GOSSIP_SEAL_TAG_BYTES;
    }
    size_t left = tag_at - s->at;
    n = n < left ? n : left;
    n = n < GOSSIP_STREAM_PIECE_BYTES ? n : GOSSIP_STREAM_PIECE_BYTES;
    const uint8_t *in = (uint8_t *)plain->data + s->at - GOSSIP_SEAL_HEADER_BYTES;
    int error = gossip_stream_pass(s->stream, in, n, out);
    return error ? error : (ssize_t)n;
}

ssize_t gossip_serving_read(struct gossip_serving *s, uint8_t *out, size_t n)
{
    size_t bytes = 0;
    int error = gossip_serving_ready(s, &bytes);
    CHECK(error != -EINPROGRESS);
    CHECK(error || n >= GOSSIP_SERVING_READ_MIN_BYTES || n >= bytes - s->at);
    error = error || s->stream ? error : begin_reading(s);
    if (error || s->at == bytes) {
        return error;
    }
    ssize_t got = read_part(s, out, n);
    s->at += got > 0 ? (size_t)got : 0;
    return got;
}

void gossip_serving_end(struct gossip_serving *s)
{
    if (!s) {
        return;
    }
    if (s->core) {
        s->core->serving_count--;
        let_go(s);
    }
    list_remove(&s->link);
    free(s);
}

int gossip_serve(struct gossip *g, const char *path, const char *auth, struct buf *body)
{
    struct gossip_serving *s;
    size_t bytes = 0, budget = SIZE_MAX;
    int error = gossip_serve_begin(g, path, auth, &s);
    if (error) {
        return error;
    }
    build_some(g, &budget);
    error = gossip_serving_ready(s, &bytes);
    uint8_t *out = error ? NULL : (uint8_t *)buf_reserve(body, bytes);
    error = error || out ? error : -ENOBUFS;
    for (size_t at = 0; error == 0 && at < bytes;) {
        ssize_t got = gossip_serving_read(s, out + at, bytes - at);
        error = got < 0 ? (int)got : 0;
        at += got > 0 ? (size_t)got : 0;
    }
    if (error == 0) {
        buf_commit(body, bytes);
    }
    gossip_serving_end(s);
    return error;
}
