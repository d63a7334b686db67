#include "io/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/limits.h"
#include "http/head.h"
#include "io/peer_link.h"

enum exchange_state {
    EXCHANGE_CONNECTING,
    EXCHANGE_SENDING,
    EXCHANGE_HEAD, /* sent; the answer's head is awaited */
    EXCHANGE_BODY,
    EXCHANGE_FAILED,
};

struct peer_exchange {
    struct peer_pool *pool;
    struct peer_events events;
    enum exchange_state state;
    struct peer_link *link;
    bool link_was_kept; /* it may have died in the meantime: one more try */
    bool is_head;
    union address to;
    struct buf request; /* kept until the head is here, to be sent again */
    size_t sent_bytes, head_bytes;
    struct http_response_parser *parser;
    const struct http_response *response;
    char *early; /* body bytes that came with the head */
    size_t early_bytes, early_used_bytes;
    int64_t left_bytes;
    bool watching;
};

/* --- starting --- */

static void exchange_connect(struct peer_exchange *e);
static void exchange_send(struct peer_exchange *e);
static void exchange_receive_head(struct peer_exchange *e);

static int request_write(struct buf *out, const struct peer_request *request)
{
    char host[ADDRESS_TEXT_BYTES];
    address_format(&request->to->sa, host);
    if (request->target[0] != '/' || strpbrk(request->target, " \r\n")) {
        return -EINVAL;
    }
    return buf_printf(out,
                      "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: spegel\r\nAccept: */*\r\n%s\r\n",
                      request->head ? "HEAD" : "GET", request->target, host, request->fields);
}

static void exchange_fail(struct peer_exchange *e, int error)
{
    e->state = EXCHANGE_FAILED;
    peer_link_free(e->link);
    e->link = NULL;
    e->events.failed(e->events.arg, error);
}

/* A kept connection that died meanwhile says nothing about the peer: once, on a fresh one. */
static void exchange_broken(struct peer_exchange *e, int error)
{
    bool again = e->link_was_kept && e->head_bytes == 0;
    if (!again) {
        exchange_fail(e, error);
        return;
    }
    peer_link_free(e->link);
    e->link = NULL;
    e->link_was_kept = false;
    exchange_connect(e);
}

static void on_link_connected(void *arg, int error)
{
    struct peer_exchange *e = arg;
    if (error < 0) {
        exchange_fail(e, error);
        return;
    }
    e->state = EXCHANGE_SENDING;
    exchange_send(e);
}

static void on_link_ready(void *arg, int events)
{
    (void)events;
    struct peer_exchange *e = arg;
    switch (e->state) {
    case EXCHANGE_SENDING:
        exchange_send(e);
        break;
    case EXCHANGE_HEAD:
        exchange_receive_head(e);
        break;
    case EXCHANGE_BODY:
        if (e->watching) {
            e->events.readable(e->events.arg);
        } else {
            /* Watched on until it fires unwanted: most times it is wanted again before that. */
            (void)poll_set(e->link->poll, 0);
        }
        break;
    case EXCHANGE_CONNECTING:
    case EXCHANGE_FAILED:
        break;
    }
}

static void exchange_connect(struct peer_exchange *e)
{
    e->state = EXCHANGE_CONNECTING;
    e->sent_bytes = 0;
    int r = peer_link_new(e->pool, &e->to, on_link_connected, on_link_ready, e, &e->link);
    if (r < 0) {
        exchange_fail(e, r);
    }
}

int peer_start(struct peer_pool *pool, const struct peer_request *request,
               const struct peer_events *events, struct peer_exchange **ret_exchange)
{
    struct peer_exchange *e = calloc(1, sizeof(*e));
    if (!e) {
        return -ENOMEM;
    }
    *e = (struct peer_exchange){.pool = pool, .events = *events, .is_head = request->head};
    e->to = *request->to;
    buf_init(&e->request, LIMIT_HTTP_HEAD_BYTES);
    int r = request_write(&e->request, request);
    if (r == 0 && !(e->parser = http_response_parser_new())) {
        r = -ENOMEM;
    }
    if (r == 0) {
        e->link = peer_link_take(pool, &e->to);
        if (e->link) {
            e->link_was_kept = true;
            e->link->ready = on_link_ready;
            e->link->arg = e;
            e->state = EXCHANGE_SENDING;
            r = poll_set(e->link->poll, POLL_WRITABLE); /* so that no event comes from inside */
        } else {
            r = peer_link_new(pool, &e->to, on_link_connected, on_link_ready, e, &e->link);
        }
    }
    if (r < 0) {
        peer_close(e);
        return r;
    }
    *ret_exchange = e;
    return 0;
}

/* --- request out, head in --- */

static void exchange_send(struct peer_exchange *e)
{
    while (e->sent_bytes < e->request.len) {
        ssize_t n = send(e->link->fd, e->request.data + e->sent_bytes,
                         e->request.len - e->sent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            n = poll_set(e->link->poll, POLL_WRITABLE);
            if (n < 0) {
                exchange_fail(e, (int)n);
            }
            return;
        }
        if (n < 0) {
            exchange_broken(e, -errno);
            return;
        }
        e->sent_bytes += (size_t)n;
    }
    e->state = EXCHANGE_HEAD;
    int r = poll_set(e->link->poll, POLL_READABLE);
    if (r < 0) {
        exchange_fail(e, r);
    }
}

static bool has_no_body(const struct peer_exchange *e)
{
    return e->is_head || e->response->status == 204 || e->response->status == 304;
}

static void exchange_head_complete(struct peer_exchange *e, const char *rest, size_t rest_bytes)
{
    e->response = http_response_parser_get(e->parser);
    e->state = EXCHANGE_BODY;
    e->left_bytes = has_no_body(e)                     ? 0
                    : e->response->content_length >= 0 ? e->response->content_length
                                                       : INT64_MAX;
    buf_done(&e->request);
    if (rest_bytes > 0) {
        e->early = malloc(rest_bytes);
        if (!e->early) {
            exchange_fail(e, -ENOMEM);
            return;
        }
        memcpy(e->early, rest, rest_bytes);
        e->early_bytes = rest_bytes;
    }
    e->events.head(e->events.arg, e->response);
}

static void exchange_receive_head(struct peer_exchange *e)
{
    char *bytes = e->pool->scratch;
    ssize_t n = recv(e->link->fd, bytes, sizeof(e->pool->scratch), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        exchange_broken(e, n < 0 ? -errno : -ECONNRESET);
        return;
    }
    e->head_bytes += (size_t)n;
    size_t used = 0;
    int r = http_response_parser_feed(e->parser, bytes, (size_t)n, &used);
    if (r < 0) {
        exchange_fail(e, r);
    } else if (r > 0) {
        exchange_head_complete(e, bytes + used, (size_t)n - used);
    }
}

/* --- the body --- */

static size_t early_left(const struct peer_exchange *e)
{
    return e->early_bytes - e->early_used_bytes;
}

int64_t peer_left(const struct peer_exchange *e)
{
    return e->left_bytes;
}

int peer_has_bytes(struct peer_exchange *e)
{
    char byte;
    if (e->left_bytes == 0) {
        return 0;
    }
    if (early_left(e) > 0) {
        return 1;
    }
    ssize_t n = recv(e->link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    return n > 0 ? 1 : -ENODATA;
}

static size_t at_most(const struct peer_exchange *e, size_t n)
{
    return (int64_t)n < e->left_bytes ? n : (size_t)e->left_bytes;
}

/* What read(2) or splice(2) said, as peer_read says it. */
static int64_t took(struct peer_exchange *e, ssize_t n)
{
    if (n < 0) {
        return -errno;
    }
    if (n == 0) {
        return e->left_bytes == INT64_MAX ? 0 : -ENODATA;
    }
    if (e->left_bytes != INT64_MAX) {
        e->left_bytes -= n;
    }
    return n;
}

int64_t peer_read(struct peer_exchange *e, void *bytes, size_t n)
{
    CHECK(e->state == EXCHANGE_BODY);
    n = at_most(e, n);
    if (n == 0) {
        return 0;
    }
    if (early_left(e) > 0) {
        n = n < early_left(e) ? n : early_left(e);
        memcpy(bytes, e->early + e->early_used_bytes, n);
        e->early_used_bytes += n;
        return took(e, (ssize_t)n);
    }
    return took(e, recv(e->link->fd, bytes, n, MSG_DONTWAIT));
}

int64_t peer_splice(struct peer_exchange *e, struct pipe_pair *pair, size_t max_bytes)
{
    CHECK(e->state == EXCHANGE_BODY);
    size_t n = at_most(e, max_bytes);
    if (n == 0) {
        return 0;
    }
    int64_t r;
    if (early_left(e) > 0) {
        n = n < early_left(e) ? n : early_left(e);
        ssize_t wrote = write(pair->write_fd, e->early + e->early_used_bytes, n);
        e->early_used_bytes += wrote > 0 ? (size_t)wrote : 0;
        r = took(e, wrote);
    } else {
        r = took(e, splice(e->link->fd, NULL, pair->write_fd, NULL, n,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
    }
    if (r > 0) {
        pair->used_bytes += (size_t)r;
    }
    return r;
}

void peer_watch(struct peer_exchange *e, bool wanted)
{
    CHECK(e->state == EXCHANGE_BODY);
    e->watching = wanted;
    if (wanted) {
        (void)poll_set(e->link->poll, POLL_READABLE);
    }
}

void peer_set_low_water(struct peer_exchange *e, int bytes)
{
    struct peer_link *l = e->link;
    if (l->low_water_bytes != bytes &&
        setsockopt(l->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) == 0) {
        l->low_water_bytes = bytes;
    }
}

void peer_close(struct peer_exchange *e)
{
    if (!e) {
        return;
    }
    if (e->link) {
        /* An error's short body has mostly come with its head, whether anyone read it or not. */
        bool whole = e->state == EXCHANGE_BODY && e->left_bytes == (int64_t)early_left(e);
        if (whole && e->response->keep_alive && !e->response->chunked) {
            peer_set_low_water(e, 1);
            peer_link_keep(e->link);
        } else {
            peer_link_free(e->link);
        }
    }
    http_response_parser_free(e->parser);
    buf_done(&e->request);
    free(e->early);
    free(e);
}
