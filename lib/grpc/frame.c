#include "grpc/frame.h"

#include <errno.h>
#include <string.h>

/* A stream that once carried a large message should not hold on to its memory for ever. */
#define KEEP_BYTES (64 * 1024)

void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_BYTES], uint32_t n)
{
    prefix[0] = 0;
    prefix[1] = (uint8_t)(n >> 24);
    prefix[2] = (uint8_t)(n >> 16);
    prefix[3] = (uint8_t)(n >> 8);
    prefix[4] = (uint8_t)n;
}

void grpc_decoder_init(struct grpc_decoder *d, size_t message_max_bytes)
{
    *d = (struct grpc_decoder){0};
    buf_init(&d->message, message_max_bytes);
}

void grpc_decoder_done(struct grpc_decoder *d)
{
    buf_done(&d->message);
    d->prefix_bytes = 0;
}

static bool message_complete(const struct grpc_decoder *d)
{
    return d->prefix_bytes == GRPC_PREFIX_BYTES && d->message.len == d->message_bytes;
}

static int read_prefix(struct grpc_decoder *d, const uint8_t **bytes, size_t *n)
{
    size_t take = GRPC_PREFIX_BYTES - d->prefix_bytes;
    if (take > *n) {
        take = *n;
    }
    memcpy(d->prefix + d->prefix_bytes, *bytes, take);
    d->prefix_bytes += take;
    *bytes += take;
    *n -= take;
    if (d->prefix_bytes < GRPC_PREFIX_BYTES) {
        return 0;
    }
    if (d->prefix[0] != 0) {
        return -EPROTO;
    }
    d->message_bytes = (uint32_t)d->prefix[1] << 24 | (uint32_t)d->prefix[2] << 16 |
                       (uint32_t)d->prefix[3] << 8 | d->prefix[4];
    return d->message_bytes > d->message.max ? -EMSGSIZE : 0;
}

int grpc_decoder_read(struct grpc_decoder *d, const uint8_t **bytes, size_t *n)
{
    if (message_complete(d)) {
        d->prefix_bytes = 0;
        if (d->message.capacity > KEEP_BYTES) {
            buf_done(&d->message);
        }
        buf_clear(&d->message);
    }
    if (*n > 0 && d->prefix_bytes < GRPC_PREFIX_BYTES) {
        int r = read_prefix(d, bytes, n);
        if (r < 0) {
            return r;
        }
    }
    if (d->prefix_bytes < GRPC_PREFIX_BYTES) {
        return 0;
    }
    size_t take = d->message_bytes - d->message.len;
    if (take > *n) {
        take = *n;
    }
    int r = take ? buf_append(&d->message, *bytes, take) : 0;
    if (r < 0) {
        return r;
    }
    *bytes += take;
    *n -= take;
    return message_complete(d);
}

bool grpc_decoder_midway(const struct grpc_decoder *d)
{
    return d->prefix_bytes > 0 && !message_complete(d);
}
