#include "registry/cold.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "gossip/key.h"
#include "registry/cold_internal.h"

#define TICK_MS 250

static void cold_tick(void *arg);
static void cold_settle(void *arg);

int cold_new(struct loop *loop, const struct cold_config *config, struct cold **ret_cold)
{
    struct cold *c = calloc(1, sizeof *c);
    if (!c) {
        return -ENOMEM;
    }
    c->loop = loop;
    c->config = *config;
    list_init(&c->flights);
    list_init(&c->asks);
    copy_checks_init(&c->checks, loop);
    timer_init(&c->tick, loop, cold_tick, c);
    defer_init(&c->settle, cold_settle, c);
    *ret_cold = c;
    return 0;
}

static void flight_free(struct cold_flight *f)
{
    list_remove(&f->link);
    proof_settled(f);
    ingest_close(f->ingest);
    free(f);
}

void cold_free(struct cold *c)
{
    if (!c) {
        return;
    }
    CHECK(list_empty(&c->asks));
    LIST_EACH_SAFE (link, &c->flights) {
        struct cold_flight *f = CONTAINER_OF(link, struct cold_flight, link);
        CHECK(f->requests == 0 && list_empty(&f->children));
        flight_free(f);
    }
    copy_checks_done(&c->checks);
    timer_stop(&c->tick);
    defer_stop(&c->settle);
    ingests_free(c->ingests);
    free(c);
}

struct cold_counters *cold_counters(struct cold *c)
{
    return &c->counters;
}

/* --- questions --- */

void cold_ask_start(struct cold *c, struct cold_ask *ask, struct gossip_want *want)
{
    CHECK(ask->number == 0);
    c->last_ask = c->last_ask == UINT32_MAX ? 1 : c->last_ask + 1;
    ask->number = want->ask = c->last_ask;
    list_init(&ask->link);
    list_push_back(&c->asks, &ask->link);
    c->config.want(c->config.arg, want);
}

void cold_ask_end(struct cold *c, struct cold_ask *ask)
{
    if (ask->number) {
        c->config.want_end(c->config.arg, ask->number);
        list_remove(&ask->link);
        ask->number = 0;
    }
}

void cold_answer(struct cold *c, const struct gossip_answer *answer)
{
    LIST_EACH (link, &c->asks) {
        struct cold_ask *ask = CONTAINER_OF(link, struct cold_ask, link);
        if (ask->number == answer->ask) {
            list_remove(&ask->link);
            ask->number = 0;
            ask->answered(ask, answer);
            return;
        }
    }
}

/* --- telling the arbiters --- */

bool cold_flight_has_ingest(const struct cold_flight *f)
{
    enum ingest_state state = ingest_state(f->ingest);
    return state == INGEST_GROWING || state == INGEST_COMMITTED;
}

static void flight_say(struct cold_flight *f, enum gossip_flight_state state)
{
    struct cold *c = f->cold;
    uint64_t now_ms = loop_now_ms(c->loop);
    uint64_t grown_ms = c->grown_ms > f->began_ms ? c->grown_ms : f->began_ms;
    const struct gossip_flight said = {.key = f->key,
                                       .state = state,
                                       .parent = f->parent,
                                       .bytes = (uint64_t)f->size,
                                       .idle_ms = (uint32_t)(now_ms - grown_ms)};
    f->told = state;
    f->told_parent = f->parent;
    f->told_ms = now_ms ? now_ms : 1;
    c->config.flight(c->config.arg, &said);
}

/* Nothing is said before the arbiter was asked: it would take this node for one that fetches. */
static void flight_tell(struct cold_flight *f)
{
    uint64_t now_ms = loop_now_ms(f->cold->loop);
    bool has = cold_flight_has_ingest(f);
    enum gossip_flight_state state = has ? GOSSIP_FLIGHT_GROWING : GOSSIP_FLIGHT_WAITING;
    if (!f->ended && !f->quiet && f->told_ms &&
        (state != f->told || f->parent != f->told_parent ||
         now_ms - f->told_ms >= LIMIT_SWARM_RENEW_MS)) {
        flight_say(f, state);
    }
}

void cold_flight_set_parent(struct cold_flight *f, uint64_t id)
{
    if (f->ended) {
        return;
    }
    f->parent = id;
    if (id == 0) {
        proof_gave(f, 0, 0);
    }
    if (!f->told_ms) {
        f->told = GOSSIP_FLIGHT_GONE; /* whatever it is, it is news */
        f->told_ms = 1;
    }
    flight_tell(f);
}

void cold_flight_gave(struct cold_flight *f, uint64_t giver, uint64_t origin)
{
    proof_gave(f, giver, origin);
}

void cold_flight_set_total(struct cold_flight *f, int64_t total_bytes)
{
    if (!f->ended && f->total < 0) {
        f->total = total_bytes;
        feed_flight_changed(f);
    }
}

uint64_t cold_flight_key(const struct cold_flight *f)
{
    return f->key;
}

/* --- from beginning to end --- */

struct cold_flight *cold_find(const struct cold *c, const struct digest *digest)
{
    LIST_EACH (link, &c->flights) {
        struct cold_flight *f = CONTAINER_OF(link, struct cold_flight, link);
        if (digest_equal(&f->digest, digest)) {
            return f;
        }
    }
    return NULL;
}

/* Nothing of it is left but what requests hold on to. */
static void flight_end(struct cold_flight *f, bool held)
{
    struct cold *c = f->cold;
    f->ended = true;
    list_remove(&f->link);
    c->flight_count--;
    c->counters.flights_held += held;
    c->counters.flights_gone += !held;
    if (f->told_ms && !f->quiet) {
        flight_say(f, held ? GOSSIP_FLIGHT_HELD : GOSSIP_FLIGHT_GONE);
    }
    feed_flight_ended(f, held ? 0 : -EIO);
    if (f->requests == 0) {
        flight_free(f);
    } else {
        ingest_close(f->ingest);
        f->ingest = NULL;
    }
}

/* Committed, and not held a while later: its pull failed, or it was removed at once. */
static bool flight_is_stale(const struct cold_flight *f)
{
    return ingest_state(f->ingest) == INGEST_COMMITTED &&
           loop_now_ms(f->cold->loop) - ingest_grown_ms(f->ingest) >= LIMIT_COLD_INGEST_MS;
}

static void flight_look(struct cold_flight *f)
{
    struct cold *c = f->cold;
    int64_t size = ingest_size(f->ingest), total = ingest_total(f->ingest);
    c->grown_ms = size > f->size ? loop_now_ms(c->loop) : c->grown_ms;
    f->size = size;
    f->total = total >= 0 ? total : f->total;
    if (!f->committed && ingest_state(f->ingest) == INGEST_COMMITTED) {
        f->committed = true;
        proof_settled(f);
        if (c->config.committed) {
            c->config.committed(c->config.arg, &f->digest);
        }
    }
    if (cold_flight_has_ingest(f)) {
        f->ingest_ms = loop_now_ms(c->loop);
        f->quiet = f->quiet && flight_is_stale(f);
    }
    proof_look(f);
}

static void flight_ingest_changed(void *arg)
{
    struct cold_flight *f = arg;
    if (ingest_state(f->ingest) == INGEST_GONE) {
        proof_unlinked(f);
        feed_flight_ended(f, -EIO);
        if (f->requests == 0) {
            flight_end(f, false);
            return;
        }
        ingest_reopen(f->ingest); /* containerd may begin anew while it is still asking */
    }
    flight_look(f);
    flight_tell(f);
    feed_flight_changed(f);
}

static bool flight_is_over(const struct cold_flight *f, uint64_t now_ms)
{
    if (f->requests > 0) {
        return false;
    }
    if (!cold_flight_has_ingest(f)) {
        return now_ms - f->ingest_ms >= LIMIT_SWARM_BEGIN_MS;
    }
    bool is_gone = flight_is_stale(f) && f->child_count == 0;
    return now_ms - ingest_grown_ms(f->ingest) >=
           (is_gone ? LIMIT_SWARM_BEGIN_MS : LIMIT_COLD_IDLE_MS);
}

/* Who asks without downloading (curl, say) has nothing to feed others from. */
static bool flight_has_nothing(const struct cold_flight *f, uint64_t now_ms)
{
    return !cold_flight_has_ingest(f) && now_ms - f->ingest_ms >= LIMIT_COLD_INGEST_MS;
}

static void cold_tick(void *arg)
{
    struct cold *c = arg;
    uint64_t now_ms = loop_now_ms(c->loop);
    (void)timer_start(&c->tick, TICK_MS); /* its place in the heap was freed just now */
    LIST_EACH_SAFE (link, &c->flights) {
        struct cold_flight *f = CONTAINER_OF(link, struct cold_flight, link);
        flight_look(f);
        if (c->config.held(c->config.arg, &f->digest)) {
            flight_end(f, true);
            continue;
        }
        if (flight_is_over(f, now_ms)) {
            flight_end(f, false);
            continue;
        }
        bool has_nothing = f->parent && flight_has_nothing(f, now_ms);
        if (!f->quiet && f->told_ms && (has_nothing || flight_is_stale(f))) {
            flight_say(f, GOSSIP_FLIGHT_GONE);
            f->quiet = true;
            feed_refuse_waiting(f);
        }
        flight_tell(f);
        feed_flight_changed(f);
    }
    if (list_empty(&c->flights)) {
        timer_stop(&c->tick);
    }
}

/* The content root may become known late, and be another one after containerd came back. */
static struct ingests *cold_ingests(struct cold *c)
{
    const char *root = c->config.content_root(c->config.arg);
    if (c->ingests && (!strcmp(root, c->root) || c->flight_count > 0)) {
        return c->ingests;
    }
    ingests_free(c->ingests);
    c->ingests = NULL;
    if (*root && strlen(root) < sizeof c->root &&
        ingests_new(c->loop, root, c->config.namespace, &c->ingests) == 0) {
        (void)snprintf(c->root, sizeof c->root, "%s", root);
    }
    return c->ingests;
}

struct cold_flight *cold_flight_join(struct cold *c, const struct digest *digest)
{
    struct cold_flight *f = cold_find(c, digest);
    if (f) {
        f->requests++;
        return f;
    }
    struct ingests *ingests = cold_ingests(c);
    if (!ingests || c->flight_count >= LIMIT_SWARM_FLIGHTS) {
        c->counters.over_cap += ingests != NULL;
        return NULL;
    }
    f = calloc(1, sizeof *f);
    if (!f || (!timer_running(&c->tick) && timer_start(&c->tick, TICK_MS) < 0) ||
        ingest_open(ingests, digest, flight_ingest_changed, f, &f->ingest) < 0) {
        free(f);
        return NULL;
    }
    if (!cold_flight_has_ingest(f)) {
        c->counters.no_ingest++;
        ingest_close(f->ingest);
        free(f);
        return NULL;
    }
    f->cold = c;
    f->digest = *digest;
    f->key = gossip_key_digest(digest->bytes);
    f->requests = 1;
    f->total = -1;
    f->began_ms = f->ingest_ms = loop_now_ms(c->loop);
    list_init(&f->children);
    list_init(&f->link);
    list_push_back(&c->flights, &f->link);
    c->flight_count++;
    c->counters.flights++;
    flight_look(f);
    if (f->size > 0) {
        proof_gave(f, 0, 0);
    }
    return f;
}

void cold_flight_leave(struct cold_flight *f)
{
    CHECK(f->requests > 0);
    f->requests--;
    if (f->requests == 0 && f->ended) {
        flight_free(f);
    } else if (f->requests == 0) {
        f->ingest_ms = loop_now_ms(f->cold->loop); /* from now on it has its time to begin */
    }
}

static void cold_settle(void *arg)
{
    struct cold *c = arg;
    LIST_EACH_SAFE (link, &c->flights) {
        struct cold_flight *f = CONTAINER_OF(link, struct cold_flight, link);
        if (f->held) {
            flight_look(f);
            flight_end(f, true);
        }
    }
}

/* The store is in the middle of something: what waits for the blob is answered a little later. */
void cold_held(struct cold *c, const struct digest *digest)
{
    struct cold_flight *f = c->flight_count > 0 ? cold_find(c, digest) : NULL;
    if (f) {
        f->held = true;
        defer_start(c->loop, &c->settle);
    }
}

void cold_containerd_lost(struct cold *c)
{
    LIST_EACH_SAFE (link, &c->flights) {
        struct cold_flight *f = CONTAINER_OF(link, struct cold_flight, link);
        flight_look(f);
        if (f->requests == 0) {
            flight_end(f, c->config.held(c->config.arg, &f->digest));
        }
    }
}
