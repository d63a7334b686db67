#include "io/server_internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>

#include "base/check.h"
#include "http/head.h"
#include "oci/problem.h"

/* --- the head --- */

/* RFC 9110, section 6.6.1: a server with a clock sends Date; its text changes once a second. */
static const char *date_text(struct server *s)
{
    uint64_t now_ms = loop_now_ms(s->loop);
    if (!*s->date || now_ms - s->date_at_ms >= 500) {
        static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        time_t now = time(NULL);
        struct tm t;
        (void)gmtime_r(&now, &t);
        (void)snprintf(s->date, sizeof(s->date), "%s, %02d %s %d %02d:%02d:%02d GMT",
                       days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour,
                       t.tm_min, t.tm_sec);
        s->date_at_ms = now_ms;
    }
    return s->date;
}

/* Writes the head into the server's buffer. content_length -1: none. */
static int write_head(struct conn *c, int status, const struct buf *fields, int64_t content_length)
{
    struct server *s = c->server;
    struct buf *head = &s->head;
    buf_clear(head);
    int r = http_head_status(head, status);
    if (r == 0 && fields && fields->len > 0) {
        r = buf_append(head, fields->data, fields->len);
    }
    r = r < 0 ? r : http_head_field(head, "Date", date_text(s));
    if (content_length >= 0) {
        r = r < 0 ? r : http_head_field_number(head, "Content-Length", content_length);
    }
    c->last_response |= s->draining;
    /* The parser has no complete request when we answer garbage; FIN follows then anyway. */
    if (c->last_response) {
        r = r < 0 ? r : http_head_field(head, "Connection", "close");
    } else if (http_parser_request(c->parser)->http_1_0) {
        r = r < 0 ? r : http_head_field(head, "Connection", "keep-alive");
    }
    return r < 0 ? r : http_head_end(head);
}

/* From here on the response is under way; whatever goes wrong is dealt with by respond_run. */
static void respond_begin(struct conn *c, int status, const struct buf *fields,
                          int64_t content_length)
{
    CHECK(c->state == CONN_REQUESTED);
    c->state = CONN_RESPONDING;
    c->status = status;
    c->sent_bytes = 0;
    c->blocked = c->waiting = false;
    c->broken = write_head(c, status, fields, content_length) < 0;
    c->head_bytes = c->server->head.len;
    c->out_offset = 0;
    c->body_left = 0;
    if (!c->in_handler) {
        defer_start(c->server->loop, &c->resume);
    }
}

static void count_sent(struct conn *c, size_t n)
{
    c->sent_bytes += n;
    c->written_bytes += n;
    c->server->counters.bytes_sent += n;
    c->deadline_ms = UINT64_MAX;
    c->blocked = false;
}

/* --- bytes from memory --- */

/* Sends head and bytes with one call and keeps what the socket does not take. */
static void send_or_keep(struct conn *c, const void *bytes, size_t n)
{
    const struct buf *head = &c->server->head;
    struct iovec parts[2] = {{.iov_base = head->data, .iov_len = head->len},
                             {.iov_base = (void *)bytes, .iov_len = n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n > 0 ? 2 : 1};
    ssize_t r = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r < 0 && errno != EAGAIN && errno != EINTR) {
        c->broken = true;
        return;
    }
    size_t sent = r > 0 ? (size_t)r : 0;
    count_sent(c, sent);
    if (sent == head->len + n) {
        return;
    }
    buf_init(&c->out, head->len + n);
    size_t of_head = sent < head->len ? sent : head->len;
    if (buf_append(&c->out, head->data + of_head, head->len - of_head) < 0 ||
        buf_append(&c->out, (const char *)bytes + (sent - of_head), n - (sent - of_head)) < 0) {
        c->broken = true;
    }
}

void server_respond(struct conn *c, int status, const struct buf *fields, const void *bytes,
                    size_t body_bytes)
{
    respond_begin(c, status, fields, (int64_t)body_bytes);
    if (!c->broken) {
        send_or_keep(c, bytes, c->head_only ? 0 : body_bytes);
    }
}

void server_respond_head(struct conn *c, int status, const struct buf *fields,
                         int64_t content_length)
{
    CHECK(c->head_only || content_length == 0 || status == 304);
    c->head_only = true;
    respond_begin(c, status, fields, content_length);
    if (!c->broken) {
        send_or_keep(c, NULL, 0);
    }
}

void server_respond_body(struct conn *c, int status, const struct buf *fields,
                         int64_t content_length, struct body *body)
{
    CHECK(content_length >= 0);
    respond_begin(c, status, fields, content_length);
    body->conn = c;
    c->body = body;
    c->body_left = c->head_only ? 0 : content_length;
    c->server->streams++;
    if (!c->broken) {
        const struct buf *head = &c->server->head;
        buf_init(&c->out, head->len);
        c->broken = buf_append(&c->out, head->data, head->len) < 0;
    }
}

void respond_error(struct conn *c, int status, const char *code, const char *message)
{
    struct buf fields, body;
    buf_init(&fields, 256);
    buf_init(&body, 1024);
    c->last_response = true;
    int r = http_head_field(&fields, "Content-Type", "application/json");
    r = r < 0 ? r : problem_write(&body, code, message, NULL);
    if (r < 0) {
        buf_clear(&body);
    }
    server_respond(c, status, &fields, body.data, body.len);
    buf_done(&fields);
    buf_done(&body);
    defer_stop(&c->resume);
    respond_run(c);
}

/* --- going on --- */

static void note_blocked(struct conn *c)
{
    c->blocked = true;
    if (c->deadline_ms == UINT64_MAX) {
        c->stalled_at_bytes = UINT64_MAX; /* looked up when the clock first runs out */
        c->stalled_since_ms = loop_now_ms(c->server->loop);
        conn_set_deadline(c, c->server->limits.stall_ms / 4 + 1);
    }
}

/* A slow reader of a large send buffer may not make it writable for minutes: what counts is whether
 * the peer acknowledges anything. */
bool respond_stalled(struct conn *c)
{
    if (c->state != CONN_RESPONDING) {
        return false;
    }
    int queued = 0;
    (void)ioctl(c->fd, SIOCOUTQ, &queued);
    uint64_t acknowledged = c->written_bytes - (uint64_t)queued;
    uint64_t now_ms = loop_now_ms(c->server->loop);
    if (acknowledged != c->stalled_at_bytes) {
        c->stalled_at_bytes = acknowledged;
        c->stalled_since_ms = now_ms;
    } else if (now_ms - c->stalled_since_ms >= c->server->limits.stall_ms) {
        c->server->counters.stalled_clients++;
        return true;
    }
    c->deadline_ms = now_ms + c->server->limits.stall_ms / 4 + 1;
    return false;
}

/* Whether an error that a body's write reports is that of our socket, not of its source. */
static bool client_is_gone(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

/* 1: all of c->out is sent; 0: the socket is full; negative: the client is gone. */
static int send_out(struct conn *c)
{
    while (c->out_offset < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_offset, c->out.len - c->out_offset,
                         MSG_NOSIGNAL | MSG_DONTWAIT | (c->body_left > 0 ? MSG_MORE : 0));
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        c->out_offset += (size_t)n;
        count_sent(c, (size_t)n);
    }
    return 1;
}

/* The body broke before a byte of the head was sent: the client can still get an honest answer. */
static void replace_by_404(struct conn *c, int error)
{
    struct body *body = c->body;
    c->body = NULL;
    c->server->streams--;
    body->ops->done(body, error);
    buf_done(&c->out);
    c->state = CONN_REQUESTED;
    c->in_handler = true; /* respond_begin: we go on by ourselves */
    server_respond(c, 404, NULL, NULL, 0);
    c->in_handler = false;
    respond_run(c);
}

/* The body may be asked for bytes: 1; else 0 (it will wake us), or it broke: negative. */
static int body_ready(struct conn *c)
{
    if (!c->body || !c->body->ops->ready || c->sent_bytes > 0 || c->body_left == 0) {
        return 1;
    }
    return c->body->ops->ready(c->body);
}

/* Few streams take long turns, which costs less; many take short ones, so that the loop comes round
 * in a few milliseconds whatever is going on. */
static int64_t turn_budget(const struct server *s)
{
    int64_t share = LIMIT_TURN_BYTES / (int64_t)s->streams;
    return share > LIMIT_TURN_MIN_BYTES ? share : LIMIT_TURN_MIN_BYTES;
}

/* 1: all sent; 0: later; negative: the body's error. */
static int send_body(struct conn *c)
{
    if (c->body_left == 0) {
        return 1;
    }
    int64_t budget = turn_budget(c->server);
    while (c->body_left > 0) {
        if (budget <= 0) {
            /* The others' turn. Ours comes again without asking epoll, to which a socket is
             * writable only while a third of its buffer is free. */
            defer_start(c->server->loop, &c->resume);
            return 0;
        }
        int64_t n =
            c->body->ops->write(c->body, c->fd, budget < c->body_left ? budget : c->body_left);
        if (n == -EAGAIN) {
            note_blocked(c);
            return 0;
        }
        if (n == 0) {
            c->waiting = true;
            return 0;
        }
        if (n < 0) {
            return (int)n;
        }
        CHECK(n <= c->body_left);
        c->body_left -= n;
        budget -= n;
        count_sent(c, (size_t)n);
    }
    return 1;
}

void respond_run(struct conn *c)
{
    if (c->broken) {
        conn_close(c);
        return;
    }
    c->waiting = false;
    int r = body_ready(c);
    if (r < 0) {
        replace_by_404(c, r);
        return;
    }
    if (r == 0) {
        c->waiting = true;
        conn_update_interest(c);
        return;
    }
    r = send_out(c);
    if (r < 0) {
        conn_close(c);
        return;
    }
    if (r == 0) {
        note_blocked(c);
    } else {
        r = send_body(c);
    }
    if (r == 0) {
        conn_update_interest(c);
        return;
    }
    if (r < 0 && client_is_gone(c)) {
        conn_close(c);
        return;
    }
    respond_ended(c, r < 0 ? r : 0);
    if (r < 0) {
        conn_finish(c); /* FIN, before Content-Length is reached: the client asks for the rest */
    } else {
        conn_continue(c);
    }
}

void respond_ended(struct conn *c, int status)
{
    struct body *body = c->body;
    c->body = NULL;
    c->blocked = c->waiting = false;
    buf_done(&c->out);
    if (body) {
        c->server->streams--;
        body->ops->done(body, status);
    }
    void (*finished)(void *arg, struct conn *c, int status, uint64_t bytes) = c->finished;
    c->finished = NULL;
    if (finished) {
        finished(c->finished_arg, c, c->status,
                 c->sent_bytes > c->head_bytes ? c->sent_bytes - c->head_bytes : 0);
    }
    c->user = NULL;
}
