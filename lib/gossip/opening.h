/* opening.h - a sealed body opened where it lies, a piece at a time. What is opened is not to be
 * looked at before all of it is. */
#pragma once

#include "gossip/seal.h"

#include "base/buf.h"

struct gossip_opening {           /* zeroed, then in place; the buffer is the caller's */
    struct gossip_stream *stream; /* NULL: opened */
    size_t at;
    size_t begin, end; /* of the buffer: where the plain body is */
};

/* Begins with a whole envelope. Where two keys of the ring have the id that it names, which is one
 * ring in a hundred or so, it is opened at once, since a wrong key would leave nothing to try the
 * other on. 0; what gossip_stream_open says; -EBADMSG, -ENOMEM. */
int gossip_opening_begin(struct gossip_opening *o, struct gossip_seal *seal,
                         const struct gossip_binding *binding, struct buf *bytes);
/* The next piece, and how long it was. -EINPROGRESS; 0: opened; -EBADMSG: not sealed for this. */
int gossip_opening_piece(struct gossip_opening *o, struct buf *bytes, size_t *ret_bytes);
void gossip_opening_done(struct gossip_opening *o); /* the buffer stays */
