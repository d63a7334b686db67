/* server_internal.h - what the files of the HTTP server share; nobody else includes it.
 *
 *   listener.c  listening sockets, accepting, caps
 *   conn.c      one connection: reading, time-outs, ending
 *   respond.c   one response: head, bytes from memory, a body that flows
 *   server.c    the whole: lists of connections, counters, shutting down
 *
 *            bytes              handler.request         all sent, kept alive
 *   READING ───────► REQUESTED ────────────────► RESPONDING ───────► READING
 *      │                 │ gone                     │ else
 *      │ EOF, time-out   ▼                          ▼
 *      └─────────────► CLOSED ◄──────────────── DRAINING (FIN sent, input thrown away)
 */
#pragma once

#include <netinet/in.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "io/address.h"
#include "io/pacing.h"
#include "io/server.h"

#define SERVER_READ_BYTES (16 * 1024)

enum conn_state { CONN_READING, CONN_REQUESTED, CONN_RESPONDING, CONN_DRAINING, CONN_CLOSED };

/* How many connections a remote address has. */
struct host {
    struct map_node node;
    struct in6_addr address;
    size_t connections;
};

struct listener {
    struct list link;
    struct server *server;
    struct poll *poll;
    int fd;
    char host_congestion[PACING_NAME_BYTES]; /* from pacing_avoid */
};

struct conn {
    struct server *server;
    struct list link;  /* in one of the server's lists */
    struct host *host; /* NULL for local peers, which are not counted */
    enum conn_state state;
    int fd;
    struct poll *poll;
    int interest;
    struct http_parser *parser;
    struct timer timer;   /* always running; due at or before deadline_ms */
    uint64_t deadline_ms; /* UINT64_MAX: none */
    struct defer resume;  /* conn_resume: something to do in the next turn */
    struct buf in;        /* pipelined bytes that came with a request */
    struct sockaddr_in6 peer;

    bool local;
    bool late;          /* accepted while draining: not waited for */
    bool input_waits;   /* the socket had input (or EOF) while we were not reading */
    bool last_response; /* FIN after this one */
    bool in_handler;    /* handler.request is on the stack */
    bool head_only;     /* the response has no body */
    bool blocked;       /* sending goes on when the socket is writable */
    bool waiting;       /* the body had nothing last time */
    bool broken;        /* sending failed: the client is gone */

    /* the request and its response */
    uint64_t started_us;
    int status;
    uint64_t head_bytes, sent_bytes; /* of this response; sent: head included */
    struct buf out;                  /* what the socket has not taken of head and memory bodies */
    size_t out_offset;
    struct body *body;
    int64_t body_left;
    uint64_t written_bytes; /* into the socket since it was accepted */
    uint64_t stalled_since_ms, stalled_at_bytes;
    size_t drained_bytes;
    void *user;
    void (*finished)(void *arg, struct conn *c, int status, uint64_t bytes);
    void *finished_arg;
};

struct server {
    struct loop *loop;
    struct server_handler handler;
    struct server_limits limits;
    struct server_counters counters;
    struct list listeners;
    /* Connections by what may be taken from them when room is needed; oldest first. */
    struct list headless; /* no complete head yet */
    struct list idle;     /* between requests */
    struct list busy;     /* request, response or draining */
    struct list closed;   /* freed in the next turn: callers up the stack may still look */
    struct defer reap;
    size_t connections, streams;
    size_t late_connections; /* of those, the ones accepted while draining */
    struct map hosts;
    int reserve_fd;  /* given up to accept (and close) when descriptors run out */
    char *scratch;   /* SERVER_READ_BYTES, for reading */
    struct buf head; /* for writing a head */
    char date[40];
    uint64_t date_at_ms;
    bool draining;
    struct timer drain_timer;
    struct defer drain_begin, drain_over;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* conn.c */
int conn_new(struct server *s, int fd, const struct sockaddr *peer, struct host *host);
void conn_free(struct conn *c); /* closed ones only */
void conn_read(struct conn *c); /* READING only */
void conn_set_deadline(struct conn *c, uint64_t delay_ms);
void conn_update_interest(struct conn *c);
void conn_continue(struct conn *c); /* the response is over: the next request, or the end */
void conn_finish(struct conn *c);   /* FIN, drain, close */
void conn_close(struct conn *c);    /* at once; gone, or done and finished, are called */

/* respond.c */
void respond_run(struct conn *c); /* go on, as far as the socket and the budget allow */
void respond_ended(struct conn *c, int status); /* tells body and finished */
/* One of the server's own answers, with an OCI error body; FIN after it. */
void respond_error(struct conn *c, int status, const char *code, const char *message);
bool respond_stalled(struct conn *c); /* the client has taken nothing for too long */

/* listener.c */
void listener_free(struct listener *l);

/* server.c */
void server_make_room(struct server *s); /* closes the oldest headless, else idle connection */
void server_check_drained(struct server *s);
