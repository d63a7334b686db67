#include "gossip/opening.h"

#include "base/limits.h"

#include <errno.h>

static int open_at_once(struct gossip_opening *o, struct gossip_seal *seal,
                        const struct gossip_binding *binding, struct buf *bytes)
{
    struct gossip_header header;
    struct buf plain;
    const uint8_t *sealed = (const uint8_t *)bytes->data;
    size_t n = bytes->len - GOSSIP_SEAL_OVERHEAD_BYTES;
    buf_init(&plain, LIMIT_GOSSIP_SNAPSHOT_BYTES + 1);
    uint8_t *out = (uint8_t *)buf_reserve(&plain, n + 1);
    int error = out ? gossip_seal_peek(sealed, bytes->len, &header) : -ENOMEM;
    error = error ? error : gossip_seal_open(seal, &header, binding, sealed, bytes->len, out);
    if (error) {
        buf_done(&plain);
        return error;
    }
    buf_commit(&plain, n);
    buf_done(bytes);
    *bytes = plain;
    *o = (struct gossip_opening){.at = n, .end = n};
    return 0;
}

int gossip_opening_begin(struct gossip_opening *o, struct gossip_seal *seal,
                         const struct gossip_binding *binding, struct buf *bytes)
{
    struct gossip_stream *other;
    const uint8_t *sealed = (const uint8_t *)bytes->data;
    size_t key_at = 0;
    int error = gossip_stream_open(seal, binding, sealed, bytes->len, &key_at, &o->stream);
    if (error) {
        return error;
    }
    if (gossip_stream_open(seal, binding, sealed, bytes->len, &key_at, &other) == 0) {
        gossip_stream_free(other);
        gossip_opening_done(o);
        return open_at_once(o, seal, binding, bytes);
    }
    o->begin = o->at = GOSSIP_SEAL_HEADER_BYTES;
    o->end = bytes->len - GOSSIP_SEAL_TAG_BYTES;
    return 0;
}

int gossip_opening_piece(struct gossip_opening *o, struct buf *bytes, size_t *ret_bytes)
{
    size_t left = o->end - o->at;
    size_t n = left < GOSSIP_STREAM_PIECE_BYTES ? left : GOSSIP_STREAM_PIECE_BYTES;
    uint8_t *at = (uint8_t *)bytes->data + o->at;
    *ret_bytes = n;
    if (!o->stream) {
        return 0;
    }
    int error = gossip_stream_pass(o->stream, at, n, at);
    o->at += n;
    if (error || o->at < o->end) {
        return error ? error : -EINPROGRESS;
    }
    error = gossip_stream_verify(o->stream, (const uint8_t *)bytes->data + o->end);
    gossip_opening_done(o);
    return error;
}

void gossip_opening_done(struct gossip_opening *o)
{
    gossip_stream_free(o->stream);
    o->stream = NULL;
}
