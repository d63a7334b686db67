/* Whose bytes are relayed: one giver fails, another goes on at the offset. */
#include <errno.h>

#include "base/limits.h"
#include "registry/relay_internal.h"

static void on_source_readable(struct attempt *a);

static void relay_let_go(struct relay *r)
{
    attempt_free(r->source);
    r->source = NULL;
    r->skip_bytes = 0;
}

void relay_take_source(struct relay *r, struct attempt *winner)
{
    attempt_free(r->source);
    r->source = winner;
    winner->on_readable = on_source_readable;
    winner->arg = r;
    givers_add(&r->givers, &winner->holder);
}

static void relay_resume(struct relay *r, struct attempt *winner)
{
    relay_take_source(r, winner);
    r->mirror->counters.resumed++;
    conn_wake(r->body.conn);
}

static void on_race_won(struct race *race, struct attempt *winner)
{
    relay_resume(CONTAINER_OF(race, struct relay, race), winner);
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

void relay_source_failed(struct relay *r)
{
    struct mirror *m = r->mirror;
    struct digest key;
    m->counters.peer_errors++;
    mirror_key(r->query, &key);
    mirror_mark_failed(m, r->query, &key, &r->source->holder);
    m->config.unreachable(m->config.arg, r->source->holder.node_id);
    const struct mirror_holder lost = r->source->holder;
    relay_let_go(r);
    if (!r->guide || guide_lost(r->guide, &lost, &r->want) < 0) {
        relay_look_among_holders(r);
    }
}

/* Bytes that the old one gave while the new one was asked are not for our client again. */
static void on_guide_won(struct guide *g, struct attempt *winner)
{
    struct relay *r = g->arg;
    r->skip_bytes = r->want.first - winner->want.first;
    relay_resume(r, winner);
}

int64_t relay_skip(struct relay *r)
{
    char bytes[16 * 1024];
    int64_t n = 1;
    while (r->skip_bytes > 0 && n > 0) {
        int64_t some = (int64_t)sizeof(bytes);
        n = peer_read(r->source->exchange, bytes,
                      (size_t)(r->skip_bytes < some ? r->skip_bytes : some));
        r->skip_bytes -= n > 0 ? n : 0;
    }
    return n;
}

/* A much faster parent. Ours gives on until the first byte of that one is here. */
static void on_guide_better(struct guide *g)
{
    struct relay *r = g->arg;
    if (r->want.first <= r->want.last) {
        (void)guide_change(g, &r->want);
    }
}

static void on_guide_ended(struct guide *g, enum guide_end why)
{
    struct relay *r = g->arg;
    (void)why;
    r->guide = NULL;
    relay_let_go(r);
    relay_look_among_holders(r);
    conn_wake(r->body.conn);
}

/* First for bytes below the low-water mark, which wake nobody, then for a stall. */
void relay_wait_fired(void *arg)
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
        if (guide_stalled(r->guide, &r->want) < 0) {
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
void relay_watch_source(struct relay *r)
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

void relay_take_guide(struct relay *r, struct guide *guide)
{
    /* A source found among those who hold it all has no guide behind it. */
    if (guide && guide->parent) {
        r->guide = guide;
        guide->won = on_guide_won;
        guide->ended = on_guide_ended;
        guide->better = on_guide_better;
        guide->arg = r;
        guide->log = NULL;
    }
}
