/* serve.c - answering GET /cluster/v1/...: for holders of the cluster key only, sealed for the one
 * who asked. */
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

static int auth_open(struct gossip *g, const char *path, const char *text,
                     uint8_t ret_auth[GOSSIP_SEAL_OVERHEAD_BYTES])
{
    uint8_t nothing[1];
    struct gossip_header h;
    if (!text || strlen(text) != 2 * GOSSIP_SEAL_OVERHEAD_BYTES) {
        return -EACCES;
    }
    for (size_t i = 0; i < GOSSIP_SEAL_OVERHEAD_BYTES; i++) {
        int value = 0;
        for (size_t k = 0; k < 2; k++) {
            char c = text[2 * i + k];
            int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (digit < 0) {
                return -EACCES;
            }
            value = value * 16 + digit;
        }
        ret_auth[i] = (uint8_t)value;
    }
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = path, .len = strlen(path)};
    return gossip_seal_peek(ret_auth, GOSSIP_SEAL_OVERHEAD_BYTES, &h) ||
                   gossip_seal_open(g->seal, &h, &binding, ret_auth, GOSSIP_SEAL_OVERHEAD_BYTES,
                                    nothing)
               ? -EACCES
               : 0;
}

int gossip_serve(struct gossip *g, const char *path, const char *auth, struct buf *body)
{
    static const char snapshot[] = GOSSIP_PATH_PREFIX "snapshot", set[] = GOSSIP_PATH_PREFIX "set/";
    uint8_t request[GOSSIP_SEAL_OVERHEAD_BYTES];
    uint64_t owner = 0;
    struct buf plain;
    if (auth_open(g, path, auth, request)) {
        g->stats.serve_denied++;
        return -EACCES;
    }
    bool whole = strcmp(path, snapshot) == 0;
    if (!whole && (strncmp(path, set, sizeof(set) - 1) != 0 ||
                   gossip_id_parse(path + sizeof(set) - 1, &owner) != 0)) {
        return -ENOENT;
    }
    bool too_early = whole && !g->ready && g->now_ms - g->started_ms < UNREADY_MS;
    if (too_early ||
        !(whole ? may_build(g, &g->snapshot_free_ms, SNAPSHOT_EVERY_MS, SNAPSHOTS_AT_ONCE)
                : may_build(g, &g->set_free_ms, SET_EVERY_MS, SETS_AT_ONCE))) {
        g->stats.serve_busy++;
        return -EAGAIN;
    }
    buf_init(&plain, whole ? LIMIT_GOSSIP_SNAPSHOT_BYTES - GOSSIP_SEAL_OVERHEAD_BYTES
                           : LIMIT_GOSSIP_SET_BYTES - GOSSIP_SEAL_OVERHEAD_BYTES);
    int error = whole ? gossip_snapshot_build(g, &plain) : gossip_set_build(g, owner, &plain);
    if (error == 0) {
        struct gossip_binding binding = {.purpose = whole ? GOSSIP_FOR_SNAPSHOT : GOSSIP_FOR_SET,
                                         .bytes = request,
                                         .len = sizeof(request)};
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
