/* serve.c - answering GET /cluster/v1/...: for holders of the cluster key only, sealed for the one
 * who asked. */
#include "gossip/hex.h"
#include "gossip/state.h"

#include <errno.h>
#include <string.h>

/* Building an answer keeps us from everything else: so many at once, and then no more than this a
 * second; whoever is turned away asks somebody else. */
#define SNAPSHOTS_AT_ONCE 2
#define SNAPSHOT_EVERY_MS 50
#define SETS_AT_ONCE 32
#define SET_EVERY_MS 5
/* Who has just begun and waits for a snapshot itself would pass on next to nothing. */
#define UNREADY_MS 500

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
    if (gossip_hex_read(text, r->sealed_bytes, r->sealed)) {
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
    bool too_early = resource->purpose == GOSSIP_FOR_SNAPSHOT && !g->ready &&
                     g->now_ms - g->started_ms < UNREADY_MS;
    return too_early ||
           !(resource->purpose == GOSSIP_FOR_SET
                 ? may_build(g, &g->set_free_ms, SET_EVERY_MS, SETS_AT_ONCE)
                 : may_build(g, &g->snapshot_free_ms, SNAPSHOT_EVERY_MS, SNAPSHOTS_AT_ONCE));
}

static int build(struct gossip *g, const struct resource *resource, const struct request *request,
                 struct buf *plain)
{
    switch (resource->purpose) {
    case GOSSIP_FOR_SNAPSHOT:
        return gossip_snapshot_build(g, plain);
    case GOSSIP_FOR_EXCHANGE:
        return gossip_exchange_build(g, request->ask, request->ask_bytes, request->header.sender.id,
                                     plain);
    default:
        return gossip_set_build(g, resource->owner, plain);
    }
}

int gossip_serve(struct gossip *g, const char *path, const char *auth, struct buf *body)
{
    struct request request;
    struct resource resource;
    struct buf plain;
    if (request_open(g, path, auth, &request)) {
        g->stats.serve_denied++;
        return -EACCES;
    }
    if (resource_of(path, &resource)) {
        return -ENOENT;
    }
    if (is_busy(g, &resource)) {
        g->stats.serve_busy++;
        return -EAGAIN;
    }
    buf_init(&plain, resource.purpose == GOSSIP_FOR_SET
                         ? LIMIT_GOSSIP_SET_BYTES - GOSSIP_SEAL_OVERHEAD_BYTES
                         : LIMIT_GOSSIP_SNAPSHOT_BYTES - GOSSIP_SEAL_OVERHEAD_BYTES);
    int error = build(g, &resource, &request, &plain);
    if (error == 0) {
        struct gossip_binding binding = {
            .purpose = resource.purpose, .bytes = request.sealed, .len = request.sealed_bytes};
        size_t n = plain.len + GOSSIP_SEAL_OVERHEAD_BYTES;
        uint8_t *out = (uint8_t *)buf_reserve(body, n);
        error = !out ? -ENOBUFS
                : gossip_seal_write(g->seal, &binding, (uint8_t *)plain.data, plain.len, out)
                    ? -ENOMEM
                    : 0;
        if (error == 0) {
            buf_commit(body, n);
            g->stats.served++;
        }
    }
    buf_done(&plain);
    return error;
}
