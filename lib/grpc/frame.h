/* frame.h - messages within a gRPC stream: a flag byte, a length of four bytes, the message
 * (gRPC's doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
 *
 * Compressed messages are refused: we never offer a compression, so none may arrive. Memory grows
 * with the bytes that have arrived, never with the length announced. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define GRPC_PREFIX_BYTES 5

/* Writes the prefix of a message of `n` bytes that is not compressed. */
void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_BYTES], uint32_t n);

struct grpc_decoder {
    uint8_t prefix[GRPC_PREFIX_BYTES];
    size_t prefix_bytes;    /* how much of it is there */
    uint32_t message_bytes; /* once the prefix is complete */
    struct buf message;
};

void grpc_decoder_init(struct grpc_decoder *d, size_t message_max_bytes);
void grpc_decoder_done(struct grpc_decoder *d);

/* Takes bytes from the front of *bytes (which moves on, and *n with it) up to the end of a message.
 * 1: a whole message is in d->message.data, d->message.len, valid until the next call; call again
 *    for the rest of the bytes. Its data may be NULL when its length is 0.
 * 0: all bytes were taken, more are needed.
 * -EPROTO (compressed, or a flag nobody knows), -EMSGSIZE (over the cap), -ENOMEM: the stream is
 * beyond repair; only grpc_decoder_done may follow. */
int grpc_decoder_read(struct grpc_decoder *d, const uint8_t **bytes, size_t *n);

/* Are there bytes of a message that is not complete? */
bool grpc_decoder_midway(const struct grpc_decoder *d);
