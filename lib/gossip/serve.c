/* serve.c - answering GET /cluster/v1/...: for holders of the cluster key only, sealed for the one
 * who asked. */
#include "gossip/state.h"

#include <errno.h>
#include <string.h>

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
