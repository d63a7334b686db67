#include "registry/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "registry/relay_internal.h"

#define FLOWING_BYTES (64 * 1024) /* one read brought this much: more is right behind it */

/* --- bytes in --- */

/* Bytes that came, or why none did; -EAGAIN: wait. */
static int64_t relay_fill_pipe(struct relay *r)
{
    int64_t n = peer_splice(r->source->exchange, &r->pipe, LIMIT_RELAY_PIPE_BYTES);
    if (n > 0) {
        r->mirror->counters.bytes_spliced += (uint64_t)n;
    }
    return n;
}

static int64_t relay_fill_buffer(struct relay *r)
{
    int64_t n;
    if (r->pipe.used_bytes > 0) { /* splice turned out not to work here */
        n = read(r->pipe.read_fd, r->buffer, LIMIT_RELAY_COPY_BYTES);
        CHECK(n > 0);
        r->pipe.used_bytes -= (size_t)n;
        r->buffered_from = 0;
        r->buffered_to = (size_t)n;
        return n;
    }
    n = peer_read(r->source->exchange, r->buffer, LIMIT_RELAY_COPY_BYTES);
    if (n <= 0) {
        return n;
    }
    r->buffered_from = 0;
    r->buffered_to = (size_t)n;
    if (r->digester) {
        r->mirror->counters.bytes_verified += (uint64_t)n;
        digester_update(r->digester, r->buffer, (size_t)n);
        if (r->want.first + n > r->want.last) {
            bool fits = givers_hash_fits(&r->givers, r->mirror, r->query, r->digester);
            r->digester = NULL;
            r->error = fits ? 0 : -EBADMSG;
            r->buffered_to = fits ? r->buffered_to : 0; /* not to be sent */
        }
        return r->error ? r->error : n;
    }
    r->mirror->counters.bytes_copied += (uint64_t)n;
    return n;
}

static int relay_copy_from_now_on(struct relay *r)
{
    if (!r->buffer && !(r->buffer = malloc(LIMIT_RELAY_COPY_BYTES))) {
        return -ENOMEM;
    }
    r->copies = true;
    return 0;
}

/* 1 there are bytes to send, 0 none yet, or the error that ends the body. */
static int relay_fill(struct relay *r)
{
    int64_t n = 0;
    if (r->error) {
        return r->error;
    }
    if (!r->source) {
        return 0;
    }
    n = relay_skip(r);
    if (n > 0) {
        n = r->copies ? relay_fill_buffer(r) : relay_fill_pipe(r);
    }
    if (n == -EINVAL && !r->copies) {
        int failed = relay_copy_from_now_on(r);
        return failed < 0 ? failed : relay_fill(r);
    }
    if (n > 0) {
        r->want.first += n;
        if (r->guide) {
            guide_flowing(r->guide, &r->want, r->source, (size_t)n);
        }
        return 1;
    }
    if (n == -EAGAIN) {
        relay_watch_source(r);
        return 0;
    }
    if (!r->error) {
        relay_source_failed(r);
    }
    return r->error;
}

/* --- bytes out --- */

static size_t relay_pending(const struct relay *r)
{
    return r->pipe.used_bytes + (r->buffered_to - r->buffered_from);
}

static int64_t relay_drain(struct relay *r, int fd, int64_t max_bytes)
{
    ssize_t n;
    if (r->buffered_to > r->buffered_from) {
        size_t some = r->buffered_to - r->buffered_from;
        some = (int64_t)some < max_bytes ? some : (size_t)max_bytes;
        n = send(fd, r->buffer + r->buffered_from, some, MSG_NOSIGNAL | MSG_DONTWAIT);
        r->buffered_from += n > 0 ? (size_t)n : 0;
    } else if (r->copies) {
        return relay_fill_buffer(r) > 0 ? relay_drain(r, fd, max_bytes) : -EIO;
    } else {
        size_t some = r->pipe.used_bytes;
        some = (int64_t)some < max_bytes ? some : (size_t)max_bytes;
        /* While it flows, packets are better filled up than sent short. */
        bool flowing = r->pipe.used_bytes >= FLOWING_BYTES && r->want.first <= r->want.last;
        n = splice(r->pipe.read_fd, NULL, fd, NULL, some,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (flowing ? SPLICE_F_MORE : 0));
        r->pipe.used_bytes -= n > 0 ? (size_t)n : 0;
        if (n < 0 && errno == EINVAL) {
            int failed = relay_copy_from_now_on(r);
            return failed < 0 ? failed : relay_drain(r, fd, max_bytes);
        }
    }
    return n < 0 ? -errno : n;
}

static int64_t relay_write(struct body *body, int fd, int64_t max_bytes)
{
    struct relay *r = CONTAINER_OF(body, struct relay, body);
    int64_t moved = 0;
    r->waiting = false;
    while (moved < max_bytes) {
        if (relay_pending(r) == 0) {
            int more = r->want.first > r->want.last ? 0 : relay_fill(r);
            if (more <= 0) {
                if (moved > 0 || more < 0) {
                    return moved > 0 ? moved : more;
                }
                break;
            }
        }
        int64_t n = relay_drain(r, fd, max_bytes - moved);
        if (n < 0) {
            return moved > 0 ? moved : n;
        }
        moved += n;
    }
    if (moved == 0) {
        r->waiting = true;
        r->waiting_since_ms = loop_now_ms(r->mirror->loop);
        /* It may run for an earlier wait still, whose end is far off. */
        uint64_t due_ms = r->waiting_since_ms + LIMIT_RELAY_LINGER_MS;
        if ((!timer_running(&r->wait) || r->wait.due_ms > due_ms) &&
            timer_start(&r->wait, LIMIT_RELAY_LINGER_MS) < 0) {
            return -ENOMEM; /* nobody would notice a stall */
        }
    }
    return moved;
}

/* --- beginning and end --- */

static void relay_free(struct relay *r)
{
    if (r->guide) {
        guide_stop(r->guide);
    }
    race_stop(&r->race);
    timer_stop(&r->wait);
    pipe_pool_give(r->mirror->pipes, &r->pipe);
    digester_free(r->digester);
    free(r->buffer);
    free(r);
}

static void relay_done(struct body *body, int status)
{
    struct relay *r = CONTAINER_OF(body, struct relay, body);
    void (*over)(void *, int) = r->over;
    void *arg = r->arg;
    r->mirror->counters.cut_short += r->error != 0;
    /* Hashed bytes leave no marks: whether they arrive is containerd's affair. */
    if (!r->hashes && r->query->local_client) {
        givers_delivered(&r->givers, r->mirror, r->query,
                         status == 0 && r->want.last + 1 == r->want.total);
    }
    attempt_free(r->source);
    relay_free(r);
    over(arg, status);
}

int relay_start(struct mirror *m, struct conn *c, int status, const struct buf *fields,
                const struct mirror_query *query, struct attempt *source, bool hash,
                struct guide *guide, void (*over)(void *arg, int status), void *arg)
{
    static const struct body_ops ops = {.write = relay_write, .done = relay_done};
    struct relay *r = calloc(1, sizeof(*r));
    if (!r) {
        return -ENOMEM;
    }
    r->body.ops = &ops;
    r->mirror = m;
    r->query = query;
    r->want = source->want;
    r->pipe = (struct pipe_pair){-1, -1, 0, 0};
    r->over = over;
    r->arg = arg;
    timer_init(&r->wait, m->loop, relay_wait_fired, r);
    int failed = 0;
    if (hash) {
        r->hashes = true;
        r->digester = digester_new();
        failed = r->digester ? 0 : -ENOMEM;
    }
    if (failed == 0 && (hash || pipe_pool_take(m->pipes, &r->pipe) < 0)) {
        failed = relay_copy_from_now_on(r);
    }
    if (failed < 0) {
        relay_free(r);
        return failed;
    }
    relay_take_source(r, source);
    relay_take_guide(r, guide);
    int64_t length = r->want.last - r->want.first + 1;
    server_respond_body(c, status, fields, length, &r->body);
    return 0;
}
