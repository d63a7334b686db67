#include "registry/guide.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "oci/range.h"
#include "registry/blame.h"
#include "registry/mirror_internal.h"

static void guide_timer_fired(void *arg);
static void guide_try_next(struct guide *g);
static void guide_go_on(struct guide *g);

static void guide_failed(struct guide *g, enum gossip_swarm_fault fault)
{
    if (g->parent) {
        blame_add(&g->failed, g->parent, fault);
        g->parent = 0;
    }
}

static void guide_reviewed(struct cold_ask *ask, const struct gossip_answer *answer)
{
    struct guide *g = CONTAINER_OF(ask, struct guide, review);
    if (answer->kind == GOSSIP_SWARM_OFFER && !g->running && g->better &&
        answer->offers[0].id != g->parent && !blame_has(&g->failed, answer->offers[0].id)) {
        g->answer = *answer;
        g->answer.count = 1; /* the parent itself may be among the rest */
        g->next = 0;
        g->better(g);
    }
}

static void guide_review(struct guide *g, const struct want *want)
{
    struct gossip_want asked = g->failed;
    blame_add(&asked, g->parent, GOSSIP_FAULT_SLOW);
    asked.key = cold_flight_key(g->flight);
    asked.bytes = (uint64_t)want->first;
    g->review.answered = guide_reviewed;
    cold_ask_start(g->cold, &g->review, &asked);
}

void guide_flowing(struct guide *g, const struct want *want, const struct attempt *from,
                   size_t bytes)
{
    uint64_t now_ms = loop_now_ms(g->mirror->loop);
    cold_counters(g->cold)->bytes_followed += bytes;
    cold_flight_gave(g->flight, blame_id(from->holder.node_id), from->origin);
    if (g->kept) {
        g->want.first = want->first;
    } else if (g->running) {
        guide_stop(g);
        blame_forget_stalled(&g->failed);
        g->parent = blame_id(from->holder.node_id); /* another one may have been tried meanwhile */
        cold_flight_set_parent(g->flight, g->parent);
    } else if (now_ms - g->reviewed_ms >= LIMIT_SWARM_SLOW_MS) {
        g->reviewed_ms = now_ms;
        cold_ask_end(g->cold, &g->review);
        guide_review(g, want);
    }
}

/* --- ends --- */

void guide_stop(struct guide *g)
{
    if (g->cold) {
        cold_ask_end(g->cold, &g->review);
    }
    if (g->running) {
        g->running = false;
        g->kept = 0;
        cold_ask_end(g->cold, &g->ask);
        timer_stop(&g->timer);
        attempt_free(g->attempt);
        g->attempt = NULL;
    }
}

static void guide_end(struct guide *g, enum guide_end why)
{
    guide_stop(g);
    g->parent = 0;
    /* It is upstream's now, whatever the reason: nobody's child, and others may be sent here. */
    cold_flight_set_parent(g->flight, 0);
    g->ended(g, why);
}

/* --- asking --- */

/* Not beyond our patience. The timer is in the heap while the guide runs, or has just fired: there
 * is room for it. */
static void guide_wait(struct guide *g, uint64_t ms)
{
    uint64_t now_ms = loop_now_ms(g->mirror->loop);
    uint64_t left_ms = g->until_ms > now_ms ? g->until_ms - now_ms : 0;
    (void)timer_start(&g->timer, ms < left_ms ? ms : left_ms);
}

/* Where our client goes on: what it has of the content. */
static uint64_t guide_offset(const struct guide *g)
{
    int64_t first = 0, last = 0;
    if (g->want.fixed) {
        return (uint64_t)g->want.first;
    }
    bool part = g->want.query->range &&
                range_parse(g->want.query->range, INT64_MAX, &first, &last) == RANGE_PART;
    return part ? (uint64_t)first : 0;
}

static void guide_ask(struct guide *g)
{
    if (loop_now_ms(g->mirror->loop) >= g->until_ms) {
        cold_counters(g->cold)->out_of_patience++;
        guide_end(g, GUIDE_NOBODY);
        return;
    }
    struct gossip_want want = g->failed;
    want.key = cold_flight_key(g->flight);
    want.bytes = guide_offset(g);
    guide_wait(g, LIMIT_NO_PROGRESS_MS); /* for an answer that is lost */
    cold_ask_start(g->cold, &g->ask, &want);
}

static void guide_unanswered(struct guide *g)
{
    cold_counters(g->cold)->unanswered++;
    if (g->parent) { /* it may still be good */
        guide_wait(g, LIMIT_NO_PROGRESS_MS);
    } else {
        guide_end(g, GUIDE_NOBODY);
    }
}

static uint64_t wait_ms(const struct gossip_answer *answer)
{
    uint64_t ms = answer->retry_ms > 0 ? answer->retry_ms : LIMIT_SWARM_WAIT_MS;
    return ms < LIMIT_COLD_WAIT_MAX_MS ? ms : LIMIT_COLD_WAIT_MAX_MS;
}

static void guide_answered(struct cold_ask *ask, const struct gossip_answer *answer)
{
    struct guide *g = CONTAINER_OF(ask, struct guide, ask);
    struct cold_counters *counters = cold_counters(g->cold);
    switch (answer->kind) {
    case GOSSIP_SWARM_GRANT:
        counters->granted++;
        guide_end(g, GUIDE_GRANTED);
        return;
    case GOSSIP_SWARM_WAIT:
        counters->waited++;
        guide_wait(g, wait_ms(answer));
        return;
    case GOSSIP_SWARM_NONE:
        guide_unanswered(g);
        return;
    case GOSSIP_SWARM_OFFER:
        break;
    }
    if (g->parent && answer->offers[0].id == g->parent) {
        counters->stayed++;
        guide_wait(g, LIMIT_NO_PROGRESS_MS);
        return;
    }
    g->answer = *answer;
    g->next = 0;
    guide_try_next(g);
}

/* The faster one is no better: the old one goes on, as it did meanwhile. */
static void guide_stay(struct guide *g, enum gossip_swarm_fault fault)
{
    uint64_t kept = g->kept;
    guide_failed(g, fault);
    guide_stop(g);
    g->parent = kept;
}

/* It is time to ask again, or the parent has been silent for long, or the answer is. */
static void guide_timer_fired(void *arg)
{
    struct guide *g = arg;
    if (g->kept) {
        guide_stay(g, GOSSIP_FAULT_STALLED);
        return;
    }
    if (g->ask.number) {
        cold_ask_end(g->cold, &g->ask);
        guide_unanswered(g);
        return;
    }
    if (g->parent) {
        blame_add(&g->failed, g->parent, GOSSIP_FAULT_STALLED);
    }
    guide_ask(g);
}

/* --- parents --- */

static void on_attempt_head(struct attempt *a)
{
    struct guide *g = a->arg;
    if (a->want.total > 0) {
        cold_flight_set_total(g->flight, a->want.total);
    }
}

static void on_attempt_ready(struct attempt *a)
{
    struct guide *g = a->arg;
    g->attempt = NULL;
    if (g->kept) {
        cold_counters(g->cold)->switched++;
        cold_flight_set_parent(g->flight, g->parent);
    }
    guide_stop(g);
    blame_forget_stalled(&g->failed);
    g->reviewed_ms = loop_now_ms(g->mirror->loop);
    cold_counters(g->cold)->followed++;
    g->won(g, a);
}

static void on_attempt_failed(struct attempt *a)
{
    struct guide *g = a->arg;
    struct mirror *m = g->mirror;
    enum attempt_fault fault = a->fault;
    mirror_note_attempt(g->log, &a->holder, a->outcome);
    if (fault == FAULT_UNREACHABLE) {
        m->config.unreachable(m->config.arg, a->holder.node_id);
    }
    attempt_free(a);
    g->attempt = NULL;
    cold_ask_end(g->cold, &g->ask);
    enum gossip_swarm_fault blamed =
        fault == FAULT_UNREACHABLE ? GOSSIP_FAULT_LOST : GOSSIP_FAULT_REFUSED;
    if (g->kept) {
        guide_stay(g, blamed);
    } else if (fault == FAULT_OURS) {
        guide_end(g, GUIDE_NOBODY);
    } else {
        guide_failed(g, blamed);
        guide_go_on(g);
    }
}

/* Whoever holds it all may be asked right away. Of the others the arbiter must say anew: it took
 * this node for a child of the one that failed, and may meanwhile have sent them here. */
static void guide_go_on(struct guide *g)
{
    bool others_fail_too = ++g->rounds > GOSSIP_SWARM_FAILED;
    if (g->next < g->answer.count && g->answer.offers[g->next].holds) {
        guide_try_next(g);
    } else if (others_fail_too) {
        guide_wait(g, LIMIT_COLD_AGAIN_MS);
    } else {
        guide_ask(g);
    }
}

/* One that is passed over is named as failed, or else the arbiter would offer it for ever. */
static bool may_be_asked(struct guide *g, uint64_t id, struct mirror_holder *ret_holder)
{
    const struct mirror *m = g->mirror;
    if (blame_has(&g->failed, id)) {
        return false;
    }
    if (!m->config.member(m->config.arg, id, ret_holder)) {
        blame_add(&g->failed, id, GOSSIP_FAULT_LOST);
        return false;
    }
    if (blame_is_doubted(m, &g->want.query->digest, ret_holder)) {
        blame_add(&g->failed, id, GOSSIP_FAULT_REFUSED);
        return false;
    }
    return true;
}

static void guide_try_next(struct guide *g)
{
    struct mirror_holder holder;
    if (g->attempt) {
        cold_counters(g->cold)->switched++;
        attempt_free(g->attempt);
        g->attempt = NULL;
    }
    while (g->next < g->answer.count) {
        uint64_t id = g->answer.offers[g->next++].id;
        if (!may_be_asked(g, id, &holder)) {
            continue;
        }
        if (attempt_new(g->mirror, &holder, &g->want, &g->attempt) < 0) {
            g->attempt = NULL;
            mirror_note_attempt(g->log, &holder, "could not be asked");
            continue;
        }
        g->attempt->on_head = on_attempt_head;
        g->attempt->on_ready = on_attempt_ready;
        g->attempt->on_failed = on_attempt_failed;
        g->attempt->arg = g;
        g->parent = id;
        if (!g->kept) {
            cold_flight_set_parent(g->flight, id);
        }
        guide_wait(g, LIMIT_NO_PROGRESS_MS);
        return;
    }
    g->parent = 0;
    if (g->kept) {
        guide_stay(g, GOSSIP_FAULT_REFUSED);
    } else {
        guide_wait(g, LIMIT_COLD_AGAIN_MS);
    }
}

/* --- beginning --- */

static int guide_begin(struct guide *g, const struct want *want)
{
    g->want = *want;
    g->want.follows = true;
    g->ask.answered = guide_answered;
    timer_init(&g->timer, g->mirror->loop, guide_timer_fired, g);
    if (timer_start(&g->timer, LIMIT_SWARM_FIRST_BYTE_MS) < 0) {
        return -ENOMEM;
    }
    g->rounds = 0;
    g->until_ms = loop_now_ms(g->mirror->loop) + LIMIT_SWARM_FIRST_BYTE_MS;
    g->running = true;
    return 0;
}

int guide_start(struct guide *g, const struct want *want)
{
    CHECK(!g->running && g->won && g->ended);
    g->parent = 0;
    int r = guide_begin(g, want);
    if (r == 0) {
        blame_doubted(&g->failed, g->mirror, &g->want.query->digest);
        guide_ask(g);
    }
    return r;
}

int guide_change(struct guide *g, const struct want *want)
{
    CHECK(!g->running && g->parent);
    int r = guide_begin(g, want);
    if (r == 0) {
        g->kept = g->parent;
        guide_try_next(g);
    }
    return r;
}

/* The one that was to be kept until then gives nothing more: whoever is being tried is all there
 * is. False: nobody is. */
static bool guide_keeps_no_more(struct guide *g, const struct want *want)
{
    if (!g->running || !g->attempt) {
        return false;
    }
    if (g->kept) {
        g->kept = 0;
        g->want.first = want->first;
        cold_flight_set_parent(g->flight, g->parent);
    }
    return true;
}

int guide_stalled(struct guide *g, const struct want *want)
{
    if (g->kept) {
        blame_add(&g->failed, g->kept, GOSSIP_FAULT_STALLED);
    }
    if (g->running) {
        (void)guide_keeps_no_more(g, want);
        return 0;
    }
    CHECK(g->won && g->ended);
    int r = guide_begin(g, want);
    if (r == 0) {
        guide_timer_fired(g);
    }
    return r;
}

int guide_lost(struct guide *g, const struct mirror_holder *source, const struct want *want)
{
    blame_add(&g->failed, blame_id(source->node_id), GOSSIP_FAULT_LOST);
    if (guide_keeps_no_more(g, want)) {
        return 0;
    }
    guide_stop(g);
    return guide_start(g, want);
}
