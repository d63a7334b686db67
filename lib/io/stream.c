#include "io/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/watch.h"

#define READ_BYTES (16 * 1024)
#define READS_PER_TURN 16
#define WRITES_PER_TURN 16
#define OUT_BYTES_MAX (256 * 1024)

struct stream {
    struct loop *loop;
    struct stream_events events;
    void *arg;
    bool busy; /* stream_ready runs: stream_free leaves the memory to it */
    bool dead; /* stream_free was called meanwhile */

    struct sockaddr_un address;
    const char *name; /* of the socket within its directory */
    struct watch *watch;
    struct timer retry;
    struct defer again; /* stands in for `retry` when that finds no memory */
    uint32_t backoff_ms;

    int fd; /* -1: no connection */
    struct poll *poll;
    struct buf out;
    struct defer flush;
    struct defer dropped;
    struct error why; /* of the drop that `dropped` is to tell */
};

static void stream_close(struct stream *s)
{
    defer_stop(&s->flush);
    poll_free(s->poll);
    s->poll = NULL;
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    s->fd = -1;
    buf_done(&s->out);
}

static void stream_retry_in(struct stream *s, uint32_t delay_ms)
{
    if (timer_start(&s->retry, delay_ms) < 0) {
        defer_start(s->loop, &s->again);
    }
}

/* What every way down comes to. Nothing may touch the stream after it. */
static void stream_down(struct stream *s, bool was_up, const struct error *why)
{
    struct error copy = *why;
    stream_close(s);
    stream_retry_in(s, s->backoff_ms);
    s->backoff_ms *= 2;
    if (s->backoff_ms > LIMIT_GRPC_BACKOFF_MAX_MS) {
        s->backoff_ms = LIMIT_GRPC_BACKOFF_MAX_MS;
    }
    s->events.down(s->arg, was_up, &copy);
}

static void stream_dropped(void *arg)
{
    struct stream *s = arg;
    stream_down(s, true, &s->why);
}

void stream_drop(struct stream *s, const char *format, ...)
{
    if (s->fd < 0) {
        return;
    }
    stream_close(s);
    va_list args;
    va_start(args, format);
    s->why.code = -ECONNABORTED;
    (void)vsnprintf(s->why.text, sizeof(s->why.text), format, args);
    va_end(args);
    defer_start(s->loop, &s->dropped);
}

/* --- bytes --- */

/* 0; -ECANCELED when a callback freed the stream or dropped the connection; otherwise what is wrong
 * with it. */
static int stream_read(struct stream *s, struct error *why)
{
    char bytes[READ_BYTES];
    for (int turn = 0; turn < READS_PER_TURN; turn++) {
        ssize_t n = recv(s->fd, bytes, sizeof(bytes), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 0;
        }
        if (n < 0) {
            return error_set(why, -errno, "%s", strerror(errno));
        }
        if (n == 0) {
            return error_set(why, -ECONNRESET, "the server closed the connection");
        }
        s->events.received(s->arg, bytes, (size_t)n);
        if (s->fd < 0) {
            return -ECANCELED;
        }
    }
    return 0;
}

static int stream_write(struct stream *s, struct error *why)
{
    int events = POLL_READABLE | POLL_WRITABLE;
    for (int turn = 0; turn < WRITES_PER_TURN; turn++) {
        if (s->out.len == 0) {
            s->events.output(s->arg, &s->out);
            if (s->fd < 0) {
                return -ECANCELED;
            }
        }
        if (s->out.len == 0) {
            events = POLL_READABLE;
            break;
        }
        ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return error_set(why, -errno, "%s", strerror(errno));
        }
        if (n < 0) {
            break;
        }
        buf_consume(&s->out, (size_t)n);
    }
    int r = poll_set(s->poll, events);
    return r < 0 ? error_set(why, r, "watching the connection: %s", strerror(-r)) : 0;
}

static void stream_ready(void *arg, int events)
{
    struct stream *s = arg;
    struct error why = {0};
    s->busy = true;
    int r = 0;
    if (events & POLL_WRITABLE) {
        r = stream_write(s, &why);
    }
    /* A server that says why and hangs up makes the write fail: what it said is read all the same.
     */
    if (r != -ECANCELED && (r < 0 || (events & ~POLL_WRITABLE))) {
        struct error failure = {0};
        int read = stream_read(s, &failure);
        if (r == 0 || read == -ECANCELED) {
            r = read;
            why = failure;
        }
    }
    s->busy = false;
    if (s->dead) {
        free(s);
    } else if (r < 0 && r != -ECANCELED) {
        stream_down(s, true, &why);
    }
}

static void stream_flush_now(void *arg)
{
    stream_ready(arg, POLL_WRITABLE);
}

void stream_flush(struct stream *s)
{
    if (s->fd >= 0) {
        defer_start(s->loop, &s->flush);
    }
}

/* --- connecting --- */

/* On a unix socket connect ends at once: EAGAIN says that the server's backlog is full. */
static int stream_open(struct stream *s, struct error *why)
{
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        return error_set(why, -errno, "making a socket: %s", strerror(errno));
    }
    if (connect(s->fd, (const struct sockaddr *)&s->address, sizeof(s->address)) < 0) {
        return error_set(why, -errno, "connecting to %s: %s", s->address.sun_path, strerror(errno));
    }
    int r = poll_new(s->loop, s->fd, stream_ready, s, &s->poll);
    if (r == 0) {
        r = poll_set(s->poll, POLL_READABLE);
    }
    return r < 0 ? error_set(why, r, "watching the connection: %s", strerror(-r)) : 0;
}

static void stream_attempt(void *arg)
{
    struct stream *s = arg;
    struct error why = {0};
    if (stream_open(s, &why) < 0) {
        stream_down(s, false, &why);
        return;
    }
    buf_init(&s->out, OUT_BYTES_MAX);
    s->events.up(s->arg);
}

static void stream_directory_changed(void *arg, enum watch_kind kind, const char *name)
{
    struct stream *s = arg;
    if (!timer_running(&s->retry) || kind == WATCH_REMOVED ||
        (name && strcmp(name, s->name) != 0)) {
        return;
    }
    /* Between a server's bind and its listen it refuses: then the smallest back-off goes on. */
    s->backoff_ms = LIMIT_GRPC_BACKOFF_MIN_MS;
    stream_retry_in(s, 0);
}

static int stream_watch(struct stream *s)
{
    char directory[sizeof(s->address.sun_path)];
    size_t n = (size_t)(s->name - s->address.sun_path);
    memcpy(directory, s->address.sun_path, n);
    directory[n] = 0;
    return watch_new(s->loop, directory, stream_directory_changed, s, &s->watch);
}

int stream_new(struct loop *loop, const char *path, const struct stream_events *events, void *arg,
               struct stream **ret_stream)
{
    size_t n = strlen(path);
    if (path[0] != '/' || n >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return -EINVAL;
    }
    struct stream *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    *s = (struct stream){.loop = loop,
                         .events = *events,
                         .arg = arg,
                         .address.sun_family = AF_UNIX,
                         .backoff_ms = LIMIT_GRPC_BACKOFF_MIN_MS,
                         .fd = -1};
    memcpy(s->address.sun_path, path, n);
    s->name = strrchr(s->address.sun_path, '/') + 1;
    timer_init(&s->retry, loop, stream_attempt, s);
    defer_init(&s->again, stream_attempt, s);
    defer_init(&s->flush, stream_flush_now, s);
    defer_init(&s->dropped, stream_dropped, s);
    int r = stream_watch(s);
    if (r == 0) {
        r = timer_start(&s->retry, 0);
    }
    if (r < 0) {
        stream_free(s);
        return r;
    }
    *ret_stream = s;
    return 0;
}

void stream_free(struct stream *s)
{
    if (!s) {
        return;
    }
    timer_stop(&s->retry);
    defer_stop(&s->again);
    defer_stop(&s->dropped);
    stream_close(s);
    watch_free(s->watch);
    s->dead = true;
    if (!s->busy) {
        free(s);
    }
}

bool stream_is_up(const struct stream *s)
{
    return s->fd >= 0;
}

void stream_settled(struct stream *s)
{
    s->backoff_ms = LIMIT_GRPC_BACKOFF_MIN_MS;
}
