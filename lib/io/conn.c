#include "io/server_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define READS_PER_TURN 4 /* while throwing input away */

static void conn_request(struct conn *c);

static void conn_move(struct conn *c, struct list *to)
{
    list_remove(&c->link);
    list_push_back(to, &c->link);
}

/* --- what epoll and the clock are asked for --- */

void conn_update_interest(struct conn *c)
{
    int events = POLL_READABLE;
    if (c->state == CONN_REQUESTED || c->state == CONN_RESPONDING) {
        /* Input that we do not read yet would be reported for ever. */
        events = c->input_waits ? POLL_ERROR : POLL_READABLE;
        if (c->state == CONN_RESPONDING && !c->waiting) {
            events |= POLL_WRITABLE;
        }
    }
    (void)poll_set(c->poll, events);
}

/* The timer is moved only forward; firing too early it is set again. So a connection that answers
 * thousands of requests a second touches the heap once in a while. */
void conn_set_deadline(struct conn *c, uint64_t delay_ms)
{
    c->deadline_ms = loop_now_ms(c->server->loop) + delay_ms;
    if (c->deadline_ms < c->timer.due_ms) {
        (void)timer_start(&c->timer, delay_ms); /* it is in the heap: no allocation */
    }
}

static void conn_timer(void *arg)
{
    struct conn *c = arg;
    struct server *s = c->server;
    uint64_t now_ms = loop_now_ms(s->loop);
    if (now_ms >= c->deadline_ms) {
        if (c->state == CONN_READING) {
            http_parser_started(c->parser) ? s->counters.slow_heads++ : s->counters.idle_closed++;
            conn_close(c);
            return;
        }
        if (c->state == CONN_DRAINING || respond_stalled(c)) {
            conn_close(c);
            return;
        }
    }
    uint64_t delay_ms = c->deadline_ms > now_ms ? c->deadline_ms - now_ms : 1;
    if (delay_ms > s->limits.idle_timeout_ms) {
        delay_ms = s->limits.idle_timeout_ms;
    }
    CHECK(timer_start(&c->timer, delay_ms) == 0); /* the heap has just lost an element */
}

/* --- input --- */

static void conn_bad_input(struct conn *c, int error)
{
    struct server_counters *n = &c->server->counters;
    if (error == -ENOMEM) {
        conn_close(c);
        return;
    }
    conn_move(c, &c->server->busy);
    c->state = CONN_REQUESTED;
    c->head_only = false;
    c->started_us = clock_now_us();
    c->deadline_ms = UINT64_MAX;
    switch (error) {
    case -E2BIG:
        n->head_too_large++;
        respond_error(c, 431, "UNSUPPORTED", "request header fields too large");
        break;
    case -ENAMETOOLONG:
        n->target_too_long++;
        respond_error(c, 414, "NAME_INVALID", "request target too long");
        break;
    case -EPROTONOSUPPORT:
        n->bad_requests++;
        respond_error(c, 505, "UNSUPPORTED", "HTTP version not supported");
        break;
    default:
        n->bad_requests++;
        respond_error(c, 400, "UNSUPPORTED", "not an HTTP/1.1 request");
    }
}

/* Feeds the parser; *ret_used of the n bytes belong to the head. True: it is complete. */
static bool conn_feed(struct conn *c, const char *bytes, size_t n, size_t *ret_used)
{
    bool started = http_parser_started(c->parser);
    int r = http_parser_feed(c->parser, bytes, n, ret_used);
    if (r < 0) {
        conn_bad_input(c, r);
    } else if (r == 0 && !started) {
        conn_move(c, &c->server->headless);
        conn_set_deadline(c, c->server->limits.head_timeout_ms);
    }
    return r == 1;
}

void conn_read(struct conn *c)
{
    if (c->in.len > 0) {
        return; /* older bytes come first; epoll will tell again */
    }
    char *scratch = c->server->scratch;
    ssize_t n = recv(c->fd, scratch, SERVER_READ_BYTES, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            conn_close(c);
        }
        return;
    }
    size_t used = 0;
    if (!conn_feed(c, scratch, (size_t)n, &used)) {
        return;
    }
    if (buf_append(&c->in, scratch + used, (size_t)n - used) < 0) {
        conn_close(c);
        return;
    }
    conn_request(c);
}

static void conn_feed_pipelined(struct conn *c)
{
    size_t used = 0;
    bool complete = conn_feed(c, c->in.data, c->in.len, &used);
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (used < c->in.len) {
        buf_consume(&c->in, used);
    } else {
        buf_done(&c->in);
    }
    if (complete) {
        conn_request(c);
    }
}

static void conn_request(struct conn *c)
{
    struct server *s = c->server;
    const struct http_request *request = http_parser_request(c->parser);
    c->state = CONN_REQUESTED;
    c->started_us = clock_now_us();
    c->deadline_ms = UINT64_MAX;
    c->last_response = !request->keep_alive;
    c->head_only = request->method == HTTP_METHOD_HEAD;
    conn_move(c, &s->busy);
    if (request->has_body) {
        /* Answered before it comes: with "Expect: 100-continue" it never will. */
        s->counters.with_body++;
        respond_error(c, 413, "UNSUPPORTED", "requests with a body are not supported");
        return;
    }
    c->in_handler = true;
    s->handler.request(s->handler.arg, c, request);
    c->in_handler = false;
    if (c->state == CONN_RESPONDING) {
        respond_run(c);
    }
}

/* Throws away what the client still sends, so that closing does not turn into RST. */
static void conn_drain(struct conn *c)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(c->fd, c->server->scratch, SERVER_READ_BYTES, 0);
        if (n > 0) {
            c->drained_bytes += (size_t)n;
        }
        if (c->drained_bytes > LIMIT_DRAIN_BYTES || n == 0 ||
            (n < 0 && errno != EAGAIN && errno != EINTR)) {
            conn_close(c);
            return;
        }
        if (n < SERVER_READ_BYTES) {
            return;
        }
    }
}

static void conn_ready(void *arg, int events)
{
    struct conn *c = arg;
    switch (c->state) {
    case CONN_READING:
        conn_read(c);
        return;
    case CONN_REQUESTED:
    case CONN_RESPONDING:
        if (events & POLL_ERROR) {
            conn_close(c);
            return;
        }
        /* A pipelined request, or the client has shut down its writing, which is no reason not to
         * answer (RFC 9112, section 9.6). Either can wait. */
        c->input_waits |= (events & POLL_READABLE) != 0;
        if ((events & POLL_WRITABLE) && !defer_pending(&c->resume)) {
            respond_run(c);
        } else {
            conn_update_interest(c);
        }
        return;
    case CONN_DRAINING:
        conn_drain(c);
        return;
    case CONN_CLOSED:
        break;
    }
}

/* In the next turn: go on with a response, or with what came behind the last request. */
static void conn_resume(void *arg)
{
    struct conn *c = arg;
    if (c->state == CONN_RESPONDING) {
        respond_run(c);
    } else if (c->state == CONN_READING && c->in.len > 0) {
        conn_feed_pipelined(c);
    }
}

/* --- beginning and end --- */

int conn_new(struct server *s, int fd, const struct sockaddr *peer, struct host *host)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (!c) {
        return -ENOMEM;
    }
    c->server = s;
    c->fd = fd;
    c->local = host == NULL;
    memcpy(&c->peer, peer,
           peer->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    buf_init(&c->in, SERVER_READ_BYTES);
    defer_init(&c->resume, conn_resume, c);
    timer_init(&c->timer, s->loop, conn_timer, c);
    c->deadline_ms = loop_now_ms(s->loop) + s->limits.idle_timeout_ms;
    c->parser = http_parser_new();
    int r = c->parser ? timer_start(&c->timer, s->limits.idle_timeout_ms) : -ENOMEM;
    r = r < 0 ? r : poll_new(s->loop, fd, conn_ready, c, &c->poll);
    r = r < 0 ? r : poll_set(c->poll, POLL_READABLE);
    if (r < 0) {
        poll_free(c->poll);
        timer_stop(&c->timer);
        http_parser_free(c->parser);
        free(c);
        return r;
    }
    c->host = host;
    if (host) {
        host->connections++;
    }
    c->late = s->draining;
    s->late_connections += c->late;
    s->connections++;
    list_push_back(&s->headless, &c->link);
    return 0;
}

void conn_free(struct conn *c)
{
    CHECK(c->state == CONN_CLOSED);
    list_remove(&c->link);
    http_parser_free(c->parser);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

void conn_continue(struct conn *c)
{
    struct server *s = c->server;
    /* Its head may have gone out before anybody thought of draining. */
    if (c->last_response || s->draining) {
        conn_finish(c);
        return;
    }
    c->state = CONN_READING;
    c->input_waits = false;
    http_parser_next(c->parser);
    conn_move(c, &s->idle);
    conn_set_deadline(c, s->limits.idle_timeout_ms);
    conn_update_interest(c);
    if (c->in.len > 0) {
        defer_start(s->loop, &c->resume);
    }
}

void conn_finish(struct conn *c)
{
    buf_done(&c->in);
    c->state = CONN_DRAINING;
    if (shutdown(c->fd, SHUT_WR) < 0) {
        conn_close(c);
        return;
    }
    conn_set_deadline(c, c->server->limits.drain_ms);
    conn_update_interest(c);
}

void conn_close(struct conn *c)
{
    struct server *s = c->server;
    enum conn_state state = c->state;
    CHECK(state != CONN_CLOSED && !c->in_handler);
    c->state = CONN_CLOSED;
    poll_free(c->poll);
    c->poll = NULL;
    (void)close(c->fd);
    c->fd = -1;
    timer_stop(&c->timer);
    defer_stop(&c->resume);
    if (c->host && --c->host->connections == 0) {
        map_remove(&s->hosts, &c->host->node);
        free(c->host);
    }
    c->host = NULL;
    s->connections--;
    s->late_connections -= c->late;
    conn_move(c, &s->closed);
    defer_start(s->loop, &s->reap);
    if (state == CONN_REQUESTED) {
        s->handler.gone(s->handler.arg, c);
    } else if (state == CONN_RESPONDING) {
        respond_ended(c, -ECANCELED);
    }
    server_check_drained(s);
}

/* --- about a connection --- */

void conn_wake(struct conn *c)
{
    defer_start(c->server->loop, &c->resume);
}

bool conn_blocked(const struct conn *c)
{
    return c->blocked;
}

const struct sockaddr *conn_peer(const struct conn *c)
{
    return (const struct sockaddr *)(const void *)&c->peer;
}

bool conn_is_local(const struct conn *c)
{
    return c->local;
}

bool conn_is_half_closed(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

uint64_t conn_request_started_us(const struct conn *c)
{
    return c->started_us;
}

void conn_set_user(struct conn *c, void *user)
{
    c->user = user;
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

void conn_on_finished(struct conn *c,
                      void (*finished)(void *arg, struct conn *c, int status, uint64_t bytes),
                      void *arg)
{
    c->finished = finished;
    c->finished_arg = arg;
}
