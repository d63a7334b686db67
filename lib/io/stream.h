/* stream.h - a byte stream to a server on a unix socket, made again whenever it ends.
 *
 * The socket may not be there yet, may vanish and come back: attempts go on for ever, with a
 * back-off (LIMIT_GRPC_BACKOFF_*) that ends at once when the socket's file appears. There is one
 * connection at a time. Callbacks run from the loop only, never inside the functions below. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "io/loop.h"

struct stream;

struct stream_events { /* all are required; all may call the functions below, stream_free too */
    void (*up)(void *arg);
    void (*received)(void *arg, const void *bytes, size_t n);
    /* Appends what the peer is to get next, nothing when there is nothing. Asked again once that
     * is written. */
    void (*output)(void *arg, struct buf *out);
    /* The connection ended, or an attempt to make one failed: `was_up` says which. The next attempt
     * comes by itself. */
    void (*down)(void *arg, bool was_up, const struct error *why);
};

/* `path` and `events` are copied. The first attempt is made in the next turn of the loop. 0,
 * -EINVAL (path not absolute, or longer than a unix address takes), -ENOMEM. */
int stream_new(struct loop *loop, const char *path, const struct stream_events *events, void *arg,
               struct stream **ret_stream);
void stream_free(struct stream *s); /* NULL is fine; no callback runs after */

bool stream_is_up(const struct stream *s);

/* There may be something to write: `output` is asked in the next turn of the loop. */
void stream_flush(struct stream *s);

/* Ends the connection; `down` runs in the next turn with this sentence. Nothing happens when there
 * is none. */
__attribute__((format(printf, 2, 3))) void stream_drop(struct stream *s, const char *format, ...);

/* The connection proved useful: the next back-off begins from its smallest again. A server that
 * accepts and hangs up at once is thereby not hammered. */
void stream_settled(struct stream *s);
