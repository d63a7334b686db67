#include "gossip/swarm_state.h"

#include <stdlib.h>
#include <string.h>

/* A WANT that comes again within this time gets the answer it got before. */
#define SAME_ANSWER_MS 1000
#define SWEEP_MIN_MS 250
/* Those that wait are told to come so seldom that they are at most so many a second in all. */
#define RETRIES_PER_S 2000
#define RETRY_MAX_MS 2000
#define RATE_MIN_MS 500 /* between two looks at how far a copy has come */
#define RATES_MIN 3     /* and so many before the figure means anything */
#define ORDER_MS 100

static void revoke(struct gossip *g, struct gossip_part *p)
{
    if (p->leads && !p->revoked) {
        p->revoked = true;
        g->swarm->stats.revoked++;
    }
    if (p->lease->leader == p->place.id) {
        p->lease->leader = 0;
    }
}

static void stop_leading(struct gossip_part *p)
{
    p->leads = false;
    if (p->lease->leader == p->place.id) {
        p->lease->leader = 0;
    }
}

/* What the asker says about others. One that cannot reach the leader may itself be what is cut off,
 * so two must say it, or one to whom nobody else can be offered. */
static void hear_faults(struct gossip *g, struct gossip_part *asker, const struct gossip_want *want)
{
    for (size_t i = 0; i < want->failed_count; i++) {
        struct gossip_part *p = gossip_part_get(g->swarm, want->key, want->failed[i].id);
        bool lost = want->failed[i].fault == GOSSIP_FAULT_LOST;
        if (p && p->state == GOSSIP_PART_HELD && want->failed[i].fault == GOSSIP_FAULT_REFUSED) {
            gossip_part_become(p, GOSSIP_PART_GONE); /* unless the index knows better */
        }
        bool silent = want->failed[i].fault == GOSSIP_FAULT_STALLED && p &&
                      gossip_part_quiet_ms(g, p) >= LIMIT_SWARM_SILENT_MS;
        if (!p || p == asker || !(lost || silent)) {
            continue;
        }
        p->blamed_ms = g->now_ms;
        if (silent || (p->lost_by && p->lost_by != asker->place.id)) {
            revoke(g, p);
        }
        p->lost_by = lost ? asker->place.id : p->lost_by;
    }
}

static void grant(struct gossip *g, struct gossip_part *p, const struct gossip_want *want)
{
    struct gossip_lease *lease = p->lease;
    if (lease->leader && lease->leader != p->place.id) {
        struct gossip_part *old = gossip_part_get(g->swarm, lease->key, lease->leader);
        if (old) {
            revoke(g, old);
        }
    }
    gossip_part_follow(p, NULL);
    gossip_part_become(p, GOSSIP_PART_WAITING);
    p->leads = true;
    p->revoked = false;
    p->lost_by = p->blamed_ms = 0;
    p->bytes = p->granted_bytes = want->bytes;
    p->granted_ms = p->grew_ms = g->now_ms;
    p->idle_ms = UINT32_MAX;
    lease->leader = p->place.id;
}

/* False: no room to note whose child it becomes. */
static bool offer(struct gossip *g, struct gossip_part *p, const struct gossip_want *want,
                  uint64_t parent_id)
{
    struct gossip_part *parent = gossip_part_get(g->swarm, want->key, parent_id);
    parent = parent ? parent : gossip_part_make(g, p->lease, parent_id);
    if (!parent) {
        return false;
    }
    p->confirmed = p->confirmed && p->parent == parent;
    gossip_part_follow(p, parent);
    if (p->state != GOSSIP_PART_GROWING) {
        gossip_part_become(p, GOSSIP_PART_WAITING);
    }
    stop_leading(p);
    p->bytes = want->bytes;
    return true;
}

/* Those that wait come again in turn, not all at once. */
static uint16_t retry_ms(const struct gossip_part *p, uint32_t ask)
{
    uint64_t wait_ms = p->lease->asking * 1000 / RETRIES_PER_S;
    wait_ms = wait_ms > LIMIT_SWARM_WAIT_MS ? wait_ms : LIMIT_SWARM_WAIT_MS;
    wait_ms = wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS;
    return (uint16_t)(wait_ms * 3 / 4 + gossip_mix(p->place.id ^ ask) % (wait_ms / 2));
}

static bool answer_new(struct gossip *g, struct gossip_part *p, const struct gossip_want *want,
                       struct gossip_answer *answer)
{
    struct gossip_swarm_stats *stats = &g->swarm->stats;
    struct gossip_choice choice;
    if (want->failed_count == 0 && p->lease->leader == p->place.id && gossip_part_leads(g, p)) {
        stats->granted++;
        answer->kind = GOSSIP_SWARM_GRANT;
        return true;
    }
    gossip_choose(g, p, want, &choice);
    if (choice.count > 0) {
        p->refused_ms = 0;
        stats->offered++;
        stats->stays += choice.stay;
        answer->kind = GOSSIP_SWARM_OFFER;
        answer->count = choice.count;
        memcpy(answer->offers, choice.offers, sizeof(answer->offers));
        return offer(g, p, want, choice.offers[0].id);
    }
    if (choice.refused && !p->refused_ms) {
        p->refused_ms = g->now_ms;
    }
    if (choice.full || (choice.refused && g->now_ms - p->refused_ms < LIMIT_SWARM_BEGIN_MS)) {
        gossip_part_follow(p, NULL);
        stop_leading(p);
        gossip_part_become(p, GOSSIP_PART_ASKING);
        stats->waits++;
        answer->kind = GOSSIP_SWARM_WAIT;
        answer->retry_ms = retry_ms(p, want->ask);
        return true;
    }
    p->refused_ms = 0;
    grant(g, p, want);
    stats->granted++;
    answer->kind = GOSSIP_SWARM_GRANT;
    return true;
}

bool gossip_arbiter_want(struct gossip *g, uint64_t asker, const struct gossip_want *want,
                         struct gossip_answer *ret_answer)
{
    struct gossip_swarm *s = gossip_swarm_of(g);
    if (!s) {
        return false;
    }
    struct gossip_lease *lease = gossip_lease_get(s, want->key);
    lease = lease ? lease : gossip_lease_make(g, want->key);
    struct gossip_part *p = lease ? gossip_part_get(s, want->key, asker) : NULL;
    p = p || !lease ? p : gossip_part_make(g, lease, asker);
    if (!p) {
        return false;
    }
    if (p->answer && p->answer->ask == want->ask && g->now_ms - p->answered_ms < SAME_ANSWER_MS) {
        *ret_answer = *p->answer;
        return true;
    }
    s->stats.wants++;
    p->heard_ms = g->now_ms;
    if (p->state == GOSSIP_PART_NAMED || p->state == GOSSIP_PART_GONE ||
        p->state == GOSSIP_PART_HELD) {
        gossip_part_become(p, GOSSIP_PART_ASKING);
        p->confirmed = false;
    }
    if (g->now_ms - lease->swept_ms >= SWEEP_MIN_MS) {
        gossip_lease_sweep(g, lease);
    }
    if (lease->order_ms == 0 || g->now_ms - lease->order_ms >= ORDER_MS) {
        uint64_t ids[2];
        gossip_swarm_arbiters(g, want->key, ids);
        lease->is_first = ids[0] == g->me->id;
        lease->order_ms = g->now_ms;
    }
    hear_faults(g, p, want);
    struct gossip_answer answer = {.ask = want->ask, .key = want->key};
    if (!answer_new(g, p, want, &answer)) {
        return false;
    }
    /* Without memory to keep it in, a repeated question is answered afresh, which is as good. */
    p->answer = p->answer ? p->answer : malloc(sizeof(*p->answer));
    if (p->answer) {
        *p->answer = answer;
        p->answered_ms = g->now_ms;
    }
    *ret_answer = answer;
    return true;
}

/* --- what members say about their own copies --- */

static bool is_late(const struct gossip *g, struct gossip_part *p, uint64_t sender,
                    uint32_t sequence)
{
    const struct gossip_member *m = gossip_members_get(&g->members, sender);
    uint64_t boot = m ? m->boot : 0;
    if (p->boot == boot && (int32_t)(sequence - p->sequence) <= 0) {
        return true;
    }
    p->boot = boot;
    p->sequence = sequence;
    return false;
}

static void lead(struct gossip *g, struct gossip_part *p, bool grew)
{
    struct gossip_lease *lease = p->lease;
    gossip_part_follow(p, NULL);
    if (!p->leads) {
        p->leads = true;
        p->revoked = false;
        p->granted_ms = p->grew_ms = g->now_ms;
        p->granted_bytes = 0;
    } else if (grew && p->revoked) {
        p->revoked = false; /* it was wrongly taken for lost */
        p->lost_by = 0;
    }
    struct gossip_part *leader =
        lease->leader ? gossip_part_get(g->swarm, lease->key, lease->leader) : NULL;
    if (gossip_part_leads(g, p) && (!leader || !gossip_part_leads(g, leader))) {
        lease->leader = p->place.id;
    }
}

static void follow(struct gossip *g, struct gossip_part *p, uint64_t parent_id)
{
    struct gossip_part *parent = gossip_part_get(g->swarm, p->place.key, parent_id);
    parent = parent ? parent : gossip_part_make(g, p->lease, parent_id);
    stop_leading(p);
    gossip_part_follow(p, parent); /* no parent, a loop: nobody's, and not offered */
}

/* Of copies that stand still nothing is learnt: that is a stall, and there are rules for those. */
static void measure(struct gossip *g, struct gossip_part *p, uint64_t bytes)
{
    uint64_t passed_ms = g->now_ms - p->rated_ms;
    if (p->rated_ms && passed_ms < RATE_MIN_MS) {
        return;
    }
    if (p->rated_ms && p->rated_bytes && bytes > p->rated_bytes) {
        uint64_t rate = (bytes - p->rated_bytes) * 1000 / passed_ms;
        p->rate = p->rates ? (p->rate + rate) / 2 : rate;
        p->rates = p->rates < RATES_MIN ? (uint8_t)(p->rates + 1) : RATES_MIN;
        if (p->rates == RATES_MIN && p->rate > p->lease->best_rate) {
            p->lease->best_rate = p->rate;
        }
    }
    p->rated_ms = g->now_ms;
    p->rated_bytes = bytes;
}

uint64_t gossip_part_rate(const struct gossip_part *p)
{
    return p->rates == RATES_MIN ? p->rate : 0;
}

static void grow(struct gossip *g, struct gossip_part *p, const struct gossip_renew *renew)
{
    bool grew = renew->bytes != p->bytes;
    measure(g, p, renew->bytes);
    gossip_part_become(p, renew->state == GOSSIP_FLIGHT_GROWING ? GOSSIP_PART_GROWING
                                                                : GOSSIP_PART_WAITING);
    p->grew_ms = grew ? g->now_ms : p->grew_ms;
    p->granted_bytes = renew->bytes < p->granted_bytes ? renew->bytes : p->granted_bytes;
    p->bytes = renew->bytes;
    p->idle_ms = renew->idle_ms;
    p->load = renew->load;
    p->confirmed = true;
    if (renew->parent) {
        follow(g, p, renew->parent);
    } else {
        lead(g, p, grew);
    }
}

void gossip_arbiter_renew(struct gossip *g, uint64_t sender, const struct gossip_renew *renew)
{
    bool over = renew->state == GOSSIP_FLIGHT_HELD || renew->state == GOSSIP_FLIGHT_GONE;
    struct gossip_swarm *s = gossip_swarm_of(g);
    struct gossip_lease *lease = s ? gossip_lease_get(s, renew->key) : NULL;
    if (s && !lease && !over) {
        lease = gossip_lease_make(g, renew->key);
        s->stats.adopted += lease != NULL;
    }
    struct gossip_part *p = lease ? gossip_part_get(s, renew->key, sender) : NULL;
    if (lease && !p && !over) {
        p = gossip_part_make(g, lease, sender);
    }
    if (!p || is_late(g, p, sender, renew->sequence)) {
        return;
    }
    p->heard_ms = g->now_ms;
    if (!over) {
        s->stats.renewed++;
        grow(g, p, renew);
        return;
    }
    s->stats.given_up += renew->state == GOSSIP_FLIGHT_GONE;
    gossip_part_become(p, renew->state == GOSSIP_FLIGHT_GONE ? GOSSIP_PART_GONE : GOSSIP_PART_HELD);
    p->confirmed = true;
    gossip_part_follow(p, NULL);
    stop_leading(p);
}
