#include "gossip/swarm_state.h"

#include <errno.h>
#include <stdlib.h>

/* What is remembered of a part for how long after it was last heard. */
#define TENTATIVE_MS 3000 /* it was offered somebody and has not said that it took them */
#define GONE_MS 3000
/* Longer chains than any that an arbiter makes: what somebody says to be so is not believed. */
#define CHAIN_MAX 64
#define SWEEP_MS 1000

struct gossip_lease *gossip_lease_get(const struct gossip_swarm *s, uint64_t key)
{
    struct map_node *node = map_get(&s->leases, &key, sizeof(key));
    return node ? CONTAINER_OF(node, struct gossip_lease, by_key) : NULL;
}

struct gossip_lease *gossip_lease_make(struct gossip *g, uint64_t key)
{
    struct gossip_swarm *s = g->swarm;
    if (s->leases.count >= LIMIT_SWARM_LEASES) {
        s->stats.drop_cap++;
        return NULL;
    }
    struct gossip_lease *lease = calloc(1, sizeof(*lease));
    if (!lease) {
        g->stats.drop_memory++;
        return NULL;
    }
    lease->key = key;
    lease->since_ms = lease->swept_ms = g->now_ms;
    list_init(&lease->parts);
    if (map_insert(&s->leases, &lease->by_key, &lease->key, sizeof(lease->key))) {
        g->stats.drop_memory++;
        free(lease);
        return NULL;
    }
    list_push_back(&s->lease_list, &lease->link);
    if (s->sweep_ms == GOSSIP_NEVER_MS) {
        s->sweep_ms = g->now_ms + SWEEP_MS;
    }
    return lease;
}

struct gossip_part *gossip_part_get(const struct gossip_swarm *s, uint64_t key, uint64_t id)
{
    uint64_t place[2] = {key, id};
    struct map_node *node = map_get(&s->parts, place, sizeof(place));
    return node ? CONTAINER_OF(node, struct gossip_part, by_place) : NULL;
}

struct gossip_part *gossip_part_make(struct gossip *g, struct gossip_lease *lease, uint64_t id)
{
    struct gossip_swarm *s = g->swarm;
    if (s->parts.count >= LIMIT_SWARM_PARTICIPANTS) {
        s->stats.drop_cap++;
        return NULL;
    }
    struct gossip_part *p = calloc(1, sizeof(*p));
    if (!p) {
        g->stats.drop_memory++;
        return NULL;
    }
    p->place.key = lease->key;
    p->place.id = id;
    p->lease = lease;
    p->since_ms = p->heard_ms = p->grew_ms = g->now_ms;
    list_init(&p->in_lease);
    list_init(&p->sibling);
    list_init(&p->children);
    if (map_insert(&s->parts, &p->by_place, &p->place, sizeof(p->place))) {
        g->stats.drop_memory++;
        free(p);
        return NULL;
    }
    list_push_back(&lease->parts, &p->in_lease);
    lease->part_count++;
    return p;
}

bool gossip_part_follow(struct gossip_part *p, struct gossip_part *parent)
{
    bool fits = true;
    if (p->parent == parent) {
        return true;
    }
    if (p->parent) {
        list_remove(&p->sibling);
        p->parent->child_count--;
        p->parent = NULL;
    }
    unsigned steps = 0;
    for (const struct gossip_part *up = parent; up && fits; up = up->parent) {
        fits = up != p && steps++ < CHAIN_MAX;
    }
    if (parent && fits) {
        p->parent = parent;
        list_push_back(&parent->children, &p->sibling);
        parent->child_count++;
    }
    return fits;
}

void gossip_part_become(struct gossip_part *p, enum gossip_part_state state)
{
    p->lease->asking += (state == GOSSIP_PART_ASKING) - (size_t)(p->state == GOSSIP_PART_ASKING);
    p->state = (uint8_t)state;
}

static void part_free(struct gossip_swarm *s, struct gossip_part *p)
{
    gossip_part_become(p, GOSSIP_PART_GONE);
    gossip_part_follow(p, NULL);
    list_remove(&p->in_lease);
    p->lease->part_count--;
    map_remove(&s->parts, &p->by_place);
    free(p->answer);
    free(p);
}

/* Its time is over: forgotten, or kept as a name while somebody is said to receive from it. */
static void part_lapse(struct gossip *g, struct gossip_part *p)
{
    uint64_t unheard_ms = g->now_ms - p->heard_ms;
    if (unheard_ms >= TENTATIVE_MS && !p->confirmed && p->parent) {
        gossip_part_follow(p, NULL);
    }
    uint64_t kept_ms = p->state == GOSSIP_PART_ASKING ? TENTATIVE_MS
                       : p->state == GOSSIP_PART_GONE ? GONE_MS
                       : p->confirmed || p->leads     ? LIMIT_SWARM_LEASE_MS
                                                      : TENTATIVE_MS;
    if (unheard_ms < kept_ms) {
        return;
    }
    if (list_empty(&p->children)) {
        if (p->lease->leader == p->place.id) {
            p->lease->leader = 0;
        }
        part_free(g->swarm, p);
    } else if (p->state != GOSSIP_PART_GONE && p->state != GOSSIP_PART_NAMED) {
        gossip_part_become(p, GOSSIP_PART_GONE);
        gossip_part_follow(p, NULL);
        p->leads = false;
    }
}

void gossip_lease_sweep(struct gossip *g, struct gossip_lease *lease)
{
    lease->swept_ms = g->now_ms;
    LIST_EACH_SAFE (link, &lease->parts) {
        part_lapse(g, CONTAINER_OF(link, struct gossip_part, in_lease));
    }
}

static void lease_free(struct gossip_swarm *s, struct gossip_lease *lease)
{
    list_remove(&lease->link);
    map_remove(&s->leases, &lease->by_key);
    free(lease);
}

void gossip_leases_tick(struct gossip *g)
{
    struct gossip_swarm *s = g->swarm;
    if (g->now_ms < s->sweep_ms) {
        return;
    }
    LIST_EACH_SAFE (link, &s->lease_list) {
        struct gossip_lease *lease = CONTAINER_OF(link, struct gossip_lease, link);
        gossip_lease_sweep(g, lease);
        if (list_empty(&lease->parts)) {
            lease_free(s, lease);
        }
    }
    s->sweep_ms = list_empty(&s->lease_list) ? GOSSIP_NEVER_MS : g->now_ms + SWEEP_MS;
}

void gossip_leases_done(struct gossip_swarm *s)
{
    LIST_EACH_SAFE (link, &s->lease_list) {
        struct gossip_lease *lease = CONTAINER_OF(link, struct gossip_lease, link);
        LIST_EACH_SAFE (part_link, &lease->parts) {
            struct gossip_part *p = CONTAINER_OF(part_link, struct gossip_part, in_lease);
            free(p->answer);
            free(p);
        }
        free(lease);
    }
    map_done(&s->leases);
    map_done(&s->parts);
}
