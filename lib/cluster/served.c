#include "cluster/served.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/limits.h"

#define ROOM_BYTES (32 * 1024)

struct answer {
    struct list link;
    struct served *served; /* NULL: there is none any more */
    struct gossip_serving *serving;
    struct conn *conn; /* until it is answered */
    struct body body;
    bool paused;     /* waits for the next millisecond */
    size_t from, to; /* of the room: sealed, not sent */
    uint8_t room[ROOM_BYTES];
};

static void answer_free(struct answer *a)
{
    list_remove(&a->link);
    gossip_serving_end(a->serving);
    free(a);
}

/* --- sending --- */

static void served_share_again(void *arg)
{
    struct served *s = arg;
    LIST_EACH_SAFE (link, &s->sending) {
        struct answer *a = CONTAINER_OF(link, struct answer, link);
        if (a->paused) {
            a->paused = false;
            conn_wake(a->body.conn);
        }
    }
}

/* How much more may be sealed now. */
static size_t served_share(struct served *s)
{
    uint64_t now_ms = loop_now_ms(s->loop);
    if (s->share_ms != now_ms) {
        s->share_ms = now_ms;
        s->share_bytes = LIMIT_GOSSIP_SEAL_BYTES_PER_MS;
    }
    return s->share_bytes;
}

/* More sealed bytes into the room: 1, 0 (later), negative. */
static int answer_fill(struct answer *a)
{
    if (!a->served) {
        return -ESHUTDOWN;
    }
    if (served_share(a->served) < ROOM_BYTES) {
        a->paused = true;
        int r = timer_running(&a->served->timer) ? 0 : timer_start(&a->served->timer, 1);
        return r < 0 ? r : 0;
    }
    ssize_t n = gossip_serving_read(a->serving, a->room, sizeof a->room);
    if (n <= 0) {
        return n < 0 ? (int)n : -EIO; /* more was asked for than there is */
    }
    a->served->share_bytes -= (size_t)n;
    a->from = 0;
    a->to = (size_t)n;
    return 1;
}

static int64_t answer_write(struct body *body, int fd, int64_t max_bytes)
{
    struct answer *a = CONTAINER_OF(body, struct answer, body);
    int r = a->from < a->to ? 1 : answer_fill(a);
    if (r <= 0) {
        return r;
    }
    size_t n = a->to - a->from;
    n = (int64_t)n < max_bytes ? n : (size_t)max_bytes;
    ssize_t sent = send(fd, a->room + a->from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return -errno;
    }
    a->from += (size_t)sent;
    return sent;
}

static void answer_done(struct body *body, int status)
{
    (void)status;
    answer_free(CONTAINER_OF(body, struct answer, body));
}

static void answer_refuse(struct conn *c, int error)
{
    struct buf fields;
    buf_init(&fields, 64);
    if (error != -ENOENT) {
        (void)buf_puts(&fields, "Retry-After: 1\r\n");
    }
    server_respond(c, error == -ENOENT ? 404 : 503, &fields, NULL, 0);
    buf_done(&fields);
}

static void answer_send(struct answer *a, size_t bytes)
{
    static const struct body_ops ops = {.write = answer_write, .done = answer_done};
    struct conn *c = a->conn;
    struct buf fields;
    buf_init(&fields, 256);
    list_remove(&a->link);
    list_push_back(&a->served->sending, &a->link);
    a->conn = NULL;
    a->body.ops = &ops;
    if (buf_puts(&fields, "Content-Type: application/octet-stream\r\n") < 0) {
        answer_refuse(c, -ENOMEM);
        answer_free(a);
    } else {
        server_respond_body(c, 200, &fields, (int64_t)bytes, &a->body);
    }
    buf_done(&fields);
}

/* --- from outside --- */

void served_init(struct served *s, struct loop *loop)
{
    *s = (struct served){.loop = loop};
    list_init(&s->waiting);
    list_init(&s->sending);
    timer_init(&s->timer, loop, served_share_again, s);
}

void served_done(struct served *s)
{
    LIST_EACH_SAFE (link, &s->waiting) {
        answer_free(CONTAINER_OF(link, struct answer, link));
    }
    LIST_EACH_SAFE (link, &s->sending) {
        struct answer *a = CONTAINER_OF(link, struct answer, link);
        list_remove(&a->link);
        a->served = NULL;
        if (a->paused) {
            conn_wake(a->body.conn);
        }
    }
    timer_stop(&s->timer);
}

int served_begin(struct served *s, struct gossip *core, const char *path, const char *auth,
                 struct conn *c)
{
    struct gossip_serving *serving;
    size_t bytes;
    int r = gossip_serve_begin(core, path, auth, &serving);
    if (r < 0) {
        return r;
    }
    r = gossip_serving_ready(serving, &bytes);
    struct answer *a = r == 0 || r == -EINPROGRESS ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        gossip_serving_end(serving);
        return r == 0 || r == -EINPROGRESS ? -ENOMEM : r;
    }
    a->served = s;
    a->serving = serving;
    a->conn = c;
    list_init(&a->link);
    list_push_back(&s->waiting, &a->link);
    return 0;
}

void served_look(struct served *s)
{
    LIST_EACH_SAFE (link, &s->waiting) {
        struct answer *a = CONTAINER_OF(link, struct answer, link);
        size_t bytes = 0;
        int r = gossip_serving_ready(a->serving, &bytes);
        if (r == 0) {
            answer_send(a, bytes);
        } else if (r != -EINPROGRESS) {
            answer_refuse(a->conn, r);
            answer_free(a);
        }
    }
}

void served_gone(struct served *s, struct conn *c)
{
    LIST_EACH_SAFE (link, &s->waiting) {
        struct answer *a = CONTAINER_OF(link, struct answer, link);
        if (a->conn == c) {
            answer_free(a);
        }
    }
}
