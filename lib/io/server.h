/* server.h - inbound HTTP/1.1: listeners, connections, and bodies that flow as the client reads.
 *
 * Non-blocking sockets under poll.h's epoll, heads through http/request.h. One request at a time a
 * connection; pipelined ones wait in the socket. The handler answers each request exactly once,
 * now or later, with one of the server_respond functions. Caps and time-outs are those of
 * limits.h; every close after a response has begun is shutdown(SHUT_WR), a bounded drain, close:
 * closing with unread input sends RST, and RST kills containerd's pull.
 *
 * The server itself answers: 400 (garbage: with the literal "HTTP/1.1 400", see containerd.md §1),
 * 413 for a request with a body, 414, 431, 505; and closes slow heads and idle connections. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/error.h"
#include "http/request.h"
#include "io/loop.h"

struct server;
struct conn; /* one inbound connection; valid until its handler's `gone` or the response ended */

/* Where a body's bytes come from. The server calls; the body moves bytes straight into the socket.
 * Exactly one call of `done` ends its life, whatever happens. */
struct body;
struct body_ops {
    /* Move at most `max_bytes` into the non-blocking socket `fd`. Returns bytes moved (> 0);
     * 0: nothing to send at the moment, conn_wake will be called; -EAGAIN: the socket is full;
     * any other negative: the body is broken, the connection ends with FIN after what was sent. */
    int64_t (*write)(struct body *b, int fd, int64_t max_bytes);
    /* May be NULL. Asked before the head is sent, so that no 200 goes out for a body whose first
     * byte never comes (containerd.md, section 2): 1 bytes are at hand; 0 not yet, conn_wake will
     * be called; negative: broken; the client gets 404 with an empty body instead. */
    int (*ready)(struct body *b);
    /* The response is over: 0 all bytes were handed to the socket, -ECANCELED the client went away
     * (or the server closes), other: the error that `write` returned. The conn is no longer the
     * body's from here on. */
    void (*done)(struct body *b, int status);
};
struct body {
    const struct body_ops *ops;
    struct conn *conn; /* set by server_respond */
};

/* Tells the server that a body which returned 0 has bytes again, or an error to report. May be
 * called at any time between server_respond_body and done, never from inside write. */
void conn_wake(struct conn *c);

/* Whether the body waits on the client (the socket was full last time). The mirror's no-progress
 * clock runs only while this is false. */
bool conn_blocked(const struct conn *c);

struct server_handler {
    /* A request is complete. It stays valid until the connection's response is over. */
    void (*request)(void *arg, struct conn *c, const struct http_request *request);
    /* The client of a request not yet answered went away: forget `c`. Not called after a respond
     * function was. */
    void (*gone)(void *arg, struct conn *c);
    void *arg;
};

struct server_counters { /* totals since start */
    uint64_t accepted, evicted, refused_cap, bad_requests, head_too_large, target_too_long,
        with_body, slow_heads, idle_closed, stalled_clients, bytes_sent, accept_errors;
};

struct server_limits { /* all from limits.h unless a test sets others */
    uint32_t head_timeout_ms, idle_timeout_ms, stall_ms, drain_ms;
    size_t connections; /* at most a third of RLIMIT_NOFILE */
};

int server_new(struct loop *loop, const struct server_handler *handler, struct server **ret);
/* Stops listening and closes every connection at once (bodies end with -ECANCELED). */
void server_free(struct server *s);

/* Before the first server_listen. */
void server_set_limits(struct server *s, const struct server_limits *limits);

/* "host:port", ":port" or "[::]:port" (all addresses, IPv4 and IPv6), "[::1]:5000". May be called
 * several times. 0, -EINVAL, -EADDRINUSE, -EACCES …: err says which address. Host names are
 * resolved here, blocking: call it at start. */
int server_listen(struct server *s, const char *address, struct error *err);
/* The port of the first listener (useful with port 0), 0 when there is none. */
uint16_t server_port(const struct server *s);

/* SIGTERM: idle connections are closed, running responses end, and each response is its
 * connection's last. `drained` is called once, when no connection of before is left or after
 * max_ms, when the rest was cut. Until then new connections are still accepted, so that a probe
 * hears "not ready" and not nothing; they are not waited for, and the handler refuses what it will
 * not begin. From `drained` on nobody listens. */
void server_drain(struct server *s, uint64_t max_ms, void (*drained)(void *arg), void *arg);

const struct server_counters *server_counters(const struct server *s);
size_t server_connections(const struct server *s);
size_t server_streams(const struct server *s); /* bodies under way */

/* --- answering; `c` must have a request pending ---
 *
 * May be called from handler.request or later. No callback (write, done, finished) runs inside.
 * The server adds Date, Content-Length and, where needed, Connection. */
/* Fields beyond Content-Length, as "Name: value\r\n" lines made by http/head.h; may be empty. */
/* Whole bodies from memory: copied if the socket does not take them at once. For HEAD requests the
 * body is left out and its length still sent. */
void server_respond(struct conn *c, int status, const struct buf *fields, const void *bytes,
                    size_t body_bytes);
/* A HEAD's answer, or a 304: this Content-Length (-1: none), no body (for a GET the length must
 * then be 0, or -1 with a 304). */
void server_respond_head(struct conn *c, int status, const struct buf *fields,
                         int64_t content_length);
/* A body that flows: exactly content_length bytes (>= 0) are asked of it. The head is sent together
 * with its first bytes. Takes the body over: `done` will be called, whatever happens. */
void server_respond_body(struct conn *c, int status, const struct buf *fields,
                         int64_t content_length, struct body *body);

/* --- about a connection --- */
const struct sockaddr *conn_peer(const struct conn *c);
bool conn_is_local(const struct conn *c); /* from loopback or from one of this host's addresses */
/* The client has shut down its writing, as one does that went away: for those who keep it waiting.
 */
bool conn_is_half_closed(const struct conn *c);
uint64_t conn_request_started_us(const struct conn *c);
void conn_set_user(struct conn *c, void *user); /* cleared when the response is over */
void *conn_user(const struct conn *c);
/* Called when the response is over, for logs and metrics: status sent, body bytes sent (fewer than
 * promised: the client went away or the body broke). After the body's `done`; not after `gone`. */
void conn_on_finished(struct conn *c,
                      void (*finished)(void *arg, struct conn *c, int status, uint64_t bytes),
                      void *arg);
