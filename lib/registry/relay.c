#include "registry/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "registry/givers.h"
#include "registry/mirror_internal.h"

#define FLOWING_BYTES (64 * 1024) /* one read brought this much: more is right behind it */

struct relay {
    struct body body;
    struct mirror *mirror;
    const struct mirror_query *query;
    struct want want;       /* what is still to be taken: first moves */
    struct attempt *source; /* NULL while the next one is being looked for */
    struct race race;
    int error;    /* no holder is left, or the hash was wrong */
    bool waiting; /* write returned 0: our client reads and we have nothing */
    uint64_t waiting_since_ms;
    struct timer wait;

    bool copies; /* through `buffer` rather than a pipe */
    struct pipe_pair pipe;
    char *buffer; /* LIMIT_RELAY_COPY_BYTES, owned */
    size_t buffered_from, buffered_to;
    bool hashes;
    struct digester *digester; /* NULL: not hashed, or done */

    struct givers givers;
    struct guide *guide; /* NULL: not by the cold path, or that is over */

    void (*over)(void *arg, int status);
    void *arg;
};

/* --- holders: one fails, another goes on --- */

static void on_source_readable(struct attempt *a);

static void relay_take_source(struct relay *r, struct attempt *winner)
{
    attempt_free(r->source);
    r->source = winner;
    winner->on_readable = on_source_readable;
    winner->arg = r;
    givers_add(&r->givers, &winner->holder);
}

static void on_race_won(struct race *race, struct attempt *winner)
{
    struct relay *r = CONTAINER_OF(race, struct relay, race);
    relay_take_source(r, winner);
    r->mirror->counters.resumed++;
    conn_wake(r->body.conn);
}

static void on_race_lost(struct race *race)
{
    struct relay *r = CONTAINER_OF(race, struct relay, race);
    r->error = -EIO;
    conn_wake(r->body.conn);
}

static void relay_look_among_holders(struct relay *r)
{
    struct mirror_holder holders[RACE_HOLDERS];
    struct digest key;
    size_t known;
    mirror_key(r->query, &key);
    size_t count = mirror_holders(r->mirror, r->query, &key, holders, RACE_HOLDERS, &known);
    r->race = (struct race){.won = on_race_won, .lost = on_race_lost};
    if (race_start(&r->race, r->mirror, &r->want, holders, count) < 0) {
        r->error = -EIO;
    }
}

static void relay_source_failed(struct relay *r)
{
    struct mirror *m = r->mirror;
    struct digest key;
    m->counters.peer_errors++;
    mirror_key(r->query, &key);
    mirror_mark_failed(m, r->query, &key, &r->source->holder);
    m->config.unreachable(m->config.arg, r->source->holder.node_id);
    attempt_free(r->source);
    r->source = NULL;
    if (r->guide) {
        guide_stop(r->guide);
        guide_failed(r->guide, GOSSIP_FAULT_LOST);
        if (guide_start(r->guide, &r->want) == 0) {
            return;
        }
    }
    relay_look_among_holders(r);
}

static void on_guide_won(struct guide *g, struct attempt *winner)
{
    struct relay *r = g->arg;
    relay_take_source(r, winner);
    r->mirror->counters.resumed++;
    conn_wake(r->body.conn);
}

static void on_guide_ended(struct guide *g, enum guide_end why)
{
    struct relay *r = g->arg;
    (void)why;
    r->guide = NULL;
    attempt_free(r->source);
    r->source = NULL;
    relay_look_among_holders(r);
    conn_wake(r->body.conn);
}

/* First for bytes below the low-water mark, which wake nobody, then for a stall. */
static void relay_wait_fired(void *arg)
{
    struct relay *r = arg;
    if (!r->waiting || !r->source) {
        return;
    }
    uint64_t waited_ms = loop_now_ms(r->mirror->loop) - r->waiting_since_ms;
    uint64_t limit_ms = LIMIT_NO_PROGRESS_MS;
    if (waited_ms < LIMIT_RELAY_LINGER_MS) {
        limit_ms = LIMIT_RELAY_LINGER_MS;
    } else if (peer_has_bytes(r->source->exchange) != 0) {
        conn_wake(r->body.conn);
        return;
    } else {
        peer_set_low_water(r->source->exchange, 1);
    }
    if (waited_ms < limit_ms && timer_start(&r->wait, limit_ms - waited_ms) == 0) {
        return;
    }
    r->mirror->counters.stalled++;
    if (r->guide) { /* which goes on by itself, until bytes come */
        if (!r->guide->running && guide_stalled(r->guide, &r->want) < 0) {
            relay_source_failed(r);
        }
        return;
    }
    relay_source_failed(r);
    if (r->error) {
        conn_wake(r->body.conn);
    }
}

/* Fewer, larger portions of a body that has far to go: half the CPU of taking each packet. */
static void relay_watch_source(struct relay *r)
{
    bool far = peer_left(r->source->exchange) >= 2 * (int64_t)LIMIT_RELAY_LOW_WATER_BYTES;
    peer_set_low_water(r->source->exchange, far ? LIMIT_RELAY_LOW_WATER_BYTES : 1);
    peer_watch(r->source->exchange, true);
}

static void on_source_readable(struct attempt *a)
{
    struct relay *r = a->arg;
    r->waiting = false;
    conn_wake(r->body.conn);
}

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
    n = r->copies ? relay_fill_buffer(r) : relay_fill_pipe(r);
    if (n == -EINVAL && !r->copies) {
        int failed = relay_copy_from_now_on(r);
        return failed < 0 ? failed : relay_fill(r);
    }
    if (n > 0) {
        r->want.first += n;
        if (r->guide) {
            guide_flowing(r->guide, &r->source->holder, (size_t)n);
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
    /* A source found among those who hold it all has no guide behind it. */
    if (guide && guide->parent) {
        r->guide = guide;
        guide->won = on_guide_won;
        guide->ended = on_guide_ended;
        guide->arg = r;
        guide->log = NULL;
    }
    int64_t length = r->want.last - r->want.first + 1;
    server_respond_body(c, status, fields, length, &r->body);
    return 0;
}
