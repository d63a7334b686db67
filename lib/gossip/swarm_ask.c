#include "gossip/swarm_state.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>

#define SKIP_MS 1000

static bool has_room(const struct gossip *g)
{
    return g->effects->answer_count < g->effects->answer_capacity;
}

/* --- arbiters that did not answer of late --- */

static bool is_skipped(const struct gossip *g, uint64_t id)
{
    for (size_t i = 0; i < GOSSIP_SKIPS; i++) {
        if (g->swarm->skips[i].id == id && g->now_ms < g->swarm->skips[i].until_ms) {
            return true;
        }
    }
    return false;
}

static void forgive(struct gossip_swarm *s, uint64_t id)
{
    for (size_t i = 0; i < GOSSIP_SKIPS; i++) {
        s->skips[i].id = s->skips[i].id == id ? 0 : s->skips[i].id;
    }
}

static void skip(struct gossip *g, uint64_t id)
{
    struct gossip_swarm *s = g->swarm;
    forgive(s, id);
    s->skips[s->next_skip].id = id;
    s->skips[s->next_skip].until_ms = g->now_ms + SKIP_MS;
    s->next_skip = (s->next_skip + 1) % GOSSIP_SKIPS;
}

/* --- the end of a question --- */

static void push(struct gossip *g, const struct gossip_answer *answer)
{
    struct gossip_swarm_stats *stats = &g->swarm->stats;
    g->effects->answers[g->effects->answer_count++] = *answer;
    stats->asks_granted += answer->kind == GOSSIP_SWARM_GRANT;
    stats->asks_offered += answer->kind == GOSSIP_SWARM_OFFER;
    stats->asks_waited += answer->kind == GOSSIP_SWARM_WAIT;
    stats->asks_unanswered += answer->kind == GOSSIP_SWARM_NONE;
}

static void ask_free(struct gossip_swarm *s, struct gossip_ask *a)
{
    map_remove(&s->asks, &a->by_number);
    list_remove(&a->link);
    free(a);
}

/* Only those whom this node can reach, as far as it knows; if they are none, later there may be. */
static void finish(struct gossip *g, struct gossip_ask *a, const struct gossip_answer *answer)
{
    struct gossip_answer mine = *answer;
    mine.count = 0;
    for (size_t i = 0; i < answer->count; i++) {
        struct gossip_holder holder;
        if (answer->offers[i].id != g->me->id &&
            gossip_member_holder(g, answer->offers[i].id, &holder)) {
            mine.offers[mine.count++] = answer->offers[i];
        }
    }
    if (mine.kind == GOSSIP_SWARM_OFFER && mine.count == 0) {
        mine.kind = GOSSIP_SWARM_WAIT;
        mine.retry_ms = LIMIT_SWARM_WAIT_MS;
    }
    push(g, &mine);
    ask_free(g->swarm, a);
}

/* --- asking --- */

static void due(struct gossip *g, struct gossip_ask *a, uint64_t at_ms)
{
    a->next_ms = at_ms;
    g->swarm->asks_ms = at_ms < g->swarm->asks_ms ? at_ms : g->swarm->asks_ms;
}

static void send(struct gossip *g, struct gossip_ask *a)
{
    /* The first may answer yet when the second is asked. */
    for (size_t i = 0; i < a->asked; i++) {
        struct gossip_packet p;
        gossip_packet_begin(&p, GOSSIP_CLASS_SWARM);
        gossip_want_write(&p.w, &a->want);
        gossip_swarm_send(g, &p, a->arbiters[i], NULL);
    }
    due(g, a,
        g->now_ms + LIMIT_SWARM_RETRY_MS < a->turn_ms ? g->now_ms + LIMIT_SWARM_RETRY_MS
                                                      : a->turn_ms);
}

/* The next arbiter's turn; `a` may be gone afterwards. */
static void turn(struct gossip *g, struct gossip_ask *a)
{
    struct gossip_answer answer = {.ask = a->want.ask, .key = a->want.key};
    if (!has_room(g)) {
        due(g, a, g->now_ms + 1);
        return;
    }
    while (a->asked < 2 && a->arbiters[a->asked]) {
        uint64_t id = a->arbiters[a->asked++];
        g->swarm->stats.second_arbiter += a->asked == 2;
        if (id != g->me->id) {
            a->turn_ms = g->now_ms + LIMIT_SWARM_ANSWER_MS;
            send(g, a);
            return;
        }
        if (gossip_arbiter_want(g, id, &a->want, &answer)) {
            finish(g, a, &answer);
            return;
        }
    }
    answer.kind = GOSSIP_SWARM_NONE;
    finish(g, a, &answer);
}

void gossip_ask_start(struct gossip *g, const struct gossip_want *want)
{
    struct gossip_swarm *s = gossip_swarm_of(g);
    CHECK(want->ask != 0 && want->failed_count <= GOSSIP_SWARM_FAILED);
    struct gossip_ask *a = s && s->asks.count < LIMIT_SWARM_ASKS ? calloc(1, sizeof(*a)) : NULL;
    int error = -ENOMEM;
    if (a) {
        a->want = *want;
        error = map_insert(&s->asks, &a->by_number, &a->want.ask, sizeof(a->want.ask));
        CHECK(error != -EEXIST);
    }
    if (error) {
        free(a);
        g->stats.drop_cap++;
        /* Nothing was answered yet in this step, and there is room for one in any. */
        struct gossip_answer none = {.ask = want->ask, .key = want->key, .kind = GOSSIP_SWARM_NONE};
        CHECK(has_room(g));
        g->effects->answers[g->effects->answer_count++] = none;
        if (s) {
            s->stats.asks_unanswered++;
        }
        return;
    }
    list_push_back(&s->ask_list, &a->link);
    s->stats.asks++;
    if (!g->me->tcp_only) { /* else no answer would arrive */
        gossip_swarm_arbiters(g, want->key, a->arbiters);
    }
    if (a->arbiters[1] && is_skipped(g, a->arbiters[0]) && !is_skipped(g, a->arbiters[1])) {
        uint64_t first = a->arbiters[0];
        a->arbiters[0] = a->arbiters[1];
        a->arbiters[1] = first;
    }
    turn(g, a);
}

static struct gossip_ask *find(const struct gossip *g, uint32_t ask)
{
    struct map_node *node = map_get(&g->swarm->asks, &ask, sizeof(ask));
    return node ? CONTAINER_OF(node, struct gossip_ask, by_number) : NULL;
}

void gossip_ask_end(struct gossip *g, uint32_t ask)
{
    struct gossip_ask *a = find(g, ask);
    if (a) {
        ask_free(g->swarm, a);
    }
}

void gossip_ask_answered(struct gossip *g, const struct gossip_answer *answer, uint64_t arbiter)
{
    struct gossip_ask *a = find(g, answer->ask);
    bool asked = false;
    for (size_t i = 0; a && i < a->asked; i++) {
        asked = asked || a->arbiters[i] == arbiter;
    }
    /* Late, foreign, or no room to say so: it will be asked again then. */
    if (asked && a->want.key == answer->key && has_room(g)) {
        forgive(g->swarm, arbiter);
        finish(g, a, answer);
    }
}

void gossip_asks_tick(struct gossip *g)
{
    struct gossip_swarm *s = g->swarm;
    if (g->now_ms < s->asks_ms) {
        return;
    }
    s->asks_ms = GOSSIP_NEVER_MS;
    LIST_EACH_SAFE (link, &s->ask_list) {
        struct gossip_ask *a = CONTAINER_OF(link, struct gossip_ask, link);
        if (g->now_ms < a->next_ms) {
            due(g, a, a->next_ms);
        } else if (g->now_ms < a->turn_ms) {
            send(g, a);
        } else {
            if (a->asked > 0) {
                skip(g, a->arbiters[a->asked - 1]);
            }
            turn(g, a);
        }
    }
}
