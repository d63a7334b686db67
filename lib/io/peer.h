/* peer.h - one GET or HEAD to a peer: its head parsed, its body moved as the caller can take it.
 *
 * libcurl makes the connection (a CONNECT_ONLY easy handle in the multi) and we speak HTTP/1.1 on
 * its socket ourselves, because libcurl's write callback costs twice the CPU of splice(2)
 * (architecture.md, "Moving bytes"). Nothing is read before it is asked for, so a slow reader slows
 * the peer. A connection whose exchange ended well is kept for the next one to the same address;
 * when a kept one turns out dead before any byte of a head, the request is sent again on a fresh
 * one.
 *
 * There are no time-outs in here: whoever waits knows how long. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/response.h"
#include "io/address.h"
#include "io/loop.h"
#include "io/multi.h"
#include "io/pipe_pool.h"

struct peer_pool;                                                    /* the kept connections */
int peer_pool_new(struct multi *multi, struct peer_pool **ret_pool); /* 0 or -ENOMEM */
void peer_pool_free(struct peer_pool *pool); /* every exchange must be closed; NULL is fine */
size_t peer_pool_idle(const struct peer_pool *pool);

struct peer_request {
    const union address *to;
    bool head;          /* HEAD instead of GET */
    const char *target; /* origin form, with its query */
    const char *fields; /* further header lines as http/head.h makes them; "" for none */
};

/* Both may close the exchange from inside. */
struct peer_events {
    /* The head is complete; it is valid until the exchange is closed. Once. */
    void (*head)(void *arg, const struct http_response *head);
    /* After peer_watch: there are bytes, the end, or an error to be had. */
    void (*readable)(void *arg);
    /* There will be no head: not connected, closed, garbage. Once, instead of head. Only
     * peer_close is allowed then. */
    void (*failed)(void *arg, int error);
    void *arg;
};

struct peer_exchange;
/* Copies the request. Events come from the loop, never from inside. 0, -ENOMEM, -EINVAL. */
int peer_start(struct peer_pool *pool, const struct peer_request *request,
               const struct peer_events *events, struct peer_exchange **ret_exchange);

/* After `head`. Bytes of the body left by Content-Length; INT64_MAX when none was given. */
int64_t peer_left(const struct peer_exchange *e);
/* Whether reading would give bytes now: 1, 0 not yet, or the error that reading would give. */
int peer_has_bytes(struct peer_exchange *e);
/* Bytes read (> 0), 0 at the end of the body, -EAGAIN nothing now, -ENODATA the peer closed before
 * the end, -ECONNRESET and the like. */
int64_t peer_read(struct peer_exchange *e, void *bytes, size_t n);
/* The same into a pipe, whose used_bytes it raises. -EAGAIN may also mean that the pipe is full:
 * only with an empty pipe does it say that nothing came. -EINVAL: splice is not to be had here, use
 * peer_read. */
int64_t peer_splice(struct peer_exchange *e, struct pipe_pair *pair, size_t max_bytes);
/* Whether `readable` is wanted; only after a read said -EAGAIN. */
void peer_watch(struct peer_exchange *e, bool wanted);

/* How much must have come before `readable` is called (SO_RCVLOWAT); 1 at first. The end and errors
 * are always told. It is a hint: the kernel may use less. */
void peer_set_low_water(struct peer_exchange *e, int bytes);

/* Frees it. The connection is kept if the body was read to its end, else closed at once. NULL is
 * fine. */
void peer_close(struct peer_exchange *e);
