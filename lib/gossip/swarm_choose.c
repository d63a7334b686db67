#include "gossip/swarm_state.h"

#include <string.h>

/* Holders compared for one answer, beginning anywhere: there is near, idle company among them. */
#define HOLDERS_MAX 256
#define CHAIN_MAX 64
/* Of so many children one is as good as another; more only when there is nobody else. */
#define EASY_CHILDREN 2
/* Steps of load, which is four for each stream. */
#define EASY_LOAD 16
#define BUSY_LOAD 32
/* What a sibling must have more than a parent that stalls, to be worth a move. */
#define AHEAD_BYTES (8 * 1024 * 1024)
/* How many times faster somebody else must be to be worth a move. */
#define SLOW_RATIO 4

enum standing { STANDS, LEANS, FALLEN };

struct candidate {
    uint64_t id, rank, bytes, rate;
    uint8_t depth, load;
    bool holds, grows;
    bool wide; /* only one more who has to share */
};

struct search {
    const struct gossip *g;
    struct gossip_part *asker;
    const struct gossip_want *want;
    struct gossip_choice *choice;
    const char *zone;
    unsigned height; /* of what hangs on the asker */
    struct candidate best[GOSSIP_SWARM_OFFERS];
    size_t count;
    struct gossip_part *stalled_parent; /* may be tried on */
    struct candidate stalled;
    struct gossip_part *slow_parent; /* is there a faster one? */
};

static const struct gossip_member *member_of(const struct gossip *g, struct gossip_part *p)
{
    const struct gossip_member *m = p->slot < g->members.slots ? g->members.by_slot[p->slot] : NULL;
    if (!m || m->id != p->place.id) {
        m = gossip_members_get(&g->members, p->place.id);
        p->slot = m ? m->slot : 0;
    }
    return m;
}

static bool can_serve(const struct gossip *g, const struct gossip_member *m)
{
    return m && (m == g->me ? !g->leaving : m->selectable);
}

uint64_t gossip_part_quiet_ms(const struct gossip *g, struct gossip_part *p)
{
    const struct gossip_member *m = member_of(g, p);
    uint64_t heard_ms = m && m->heard_ms > p->heard_ms ? m->heard_ms : p->heard_ms;
    return m == g->me ? 0 : g->now_ms - heard_ms;
}

bool gossip_part_leads(const struct gossip *g, struct gossip_part *p)
{
    uint64_t quiet_ms = g->now_ms - p->heard_ms;
    if (!p->leads || p->revoked ||
        (p->state != GOSSIP_PART_WAITING && p->state != GOSSIP_PART_GROWING) ||
        quiet_ms >= LIMIT_SWARM_LEASE_MS || g->now_ms - p->grew_ms >= LIMIT_SWARM_LEASE_MS ||
        !can_serve(g, member_of(g, p))) {
        return false;
    }
    /* Its turn may come late when it fetches other parts of the same image first. */
    return p->bytes > p->granted_bytes || g->now_ms - p->granted_ms < LIMIT_SWARM_BEGIN_MS ||
           p->idle_ms + quiet_ms < LIMIT_SWARM_BEGIN_MS;
}

/* That it holds all of it now is also announced, and from then on the index knows best: an image
 * that is removed and pulled again soon is not to be had where it once was. */
static bool holds(const struct gossip *g, const struct gossip_part *p)
{
    return p->held_choice == g->swarm->choice ||
           (p->state == GOSSIP_PART_HELD && g->now_ms - p->heard_ms < LIMIT_SWARM_HELD_MS);
}

/* What a copy rests on: itself, its parent's, or nothing. */
static enum standing standing_of(const struct gossip *g, struct gossip_part *p)
{
    if (!can_serve(g, member_of(g, p))) {
        return FALLEN;
    }
    if (holds(g, p) || gossip_part_leads(g, p)) {
        return STANDS;
    }
    switch (p->state) {
    case GOSSIP_PART_NAMED: /* others receive from it, and it will say so itself any moment */
        return g->now_ms - p->since_ms < LIMIT_SWARM_BEGIN_MS ? STANDS : FALLEN;
    case GOSSIP_PART_WAITING:
    case GOSSIP_PART_GROWING:
        return p->parent && g->now_ms - p->heard_ms < LIMIT_SWARM_LEASE_MS ? LEANS : FALLEN;
    default:
        return FALLEN;
    }
}

void gossip_part_judge(const struct gossip *g, struct gossip_part *p)
{
    struct gossip_part *chain[CHAIN_MAX], *up = p;
    uint32_t choice = g->swarm->choice;
    enum standing standing = LEANS;
    size_t n = 0;
    for (; up && up->choice != choice && n < CHAIN_MAX && standing == LEANS; up = up->parent) {
        chain[n++] = up;
        standing = standing_of(g, up);
    }
    bool judged = standing == LEANS && up && up->choice == choice;
    bool live = judged ? up->live : standing == STANDS;
    unsigned depth = judged ? up->depth + 1U : 0;
    for (; n > 0; depth++) {
        chain[--n]->choice = choice;
        chain[n]->live = live;
        chain[n]->depth = (uint8_t)(depth < UINT8_MAX ? depth : UINT8_MAX);
    }
}

static struct gossip_part *first_child(struct gossip_part *p)
{
    return list_empty(&p->children) ? NULL
                                    : CONTAINER_OF(p->children.next, struct gossip_part, sibling);
}

/* Marks `top`, and whoever receives from it, directly or through others. How deep that goes. */
static unsigned mark_below(struct gossip_part *top, uint32_t choice)
{
    struct gossip_part *p = top;
    unsigned depth = 0, height = 0;
    for (;;) {
        p->below = choice;
        if (first_child(p)) {
            p = first_child(p);
            depth++;
            height = depth > height ? depth : height;
            continue;
        }
        while (p != top && p->sibling.next == &p->parent->children) {
            p = p->parent;
            depth--;
        }
        if (p == top) {
            return height;
        }
        p = CONTAINER_OF(p->sibling.next, struct gossip_part, sibling);
    }
}

static int fault_of(const struct gossip_want *want, uint64_t id)
{
    for (size_t i = 0; i < want->failed_count; i++) {
        if (want->failed[i].id == id) {
            return (int)want->failed[i].fault;
        }
    }
    return -1;
}

static void insert(struct search *x, const struct candidate *c)
{
    if (x->count == GOSSIP_SWARM_OFFERS && c->rank >= x->best[x->count - 1].rank) {
        return;
    }
    size_t at = x->count < GOSSIP_SWARM_OFFERS ? x->count++ : x->count - 1;
    for (; at > 0 && x->best[at - 1].rank > c->rank; at--) {
        x->best[at] = x->best[at - 1];
    }
    x->best[at] = *c;
}

/* Lower is better. The tree grows level by level and two wide: depth costs moments, one write of
 * 1 MiB per hop, but a third child costs all below its parent a third of their rate where upstream
 * is as fast as the uplink; that is worse than another zone. So is a parent who feeds many with
 * other content: without this, whoever is a little ahead leads every blob of an image, and feeds
 * everybody. */
static uint64_t rank(const struct search *x, const struct gossip_member *m,
                     const struct candidate *c, unsigned children, bool doubtful)
{
    bool far = strcmp(m->zone, x->zone) != 0;
    bool deep = c->depth + 1U + x->height > LIMIT_SWARM_DEPTH;
    unsigned wide = children < EASY_CHILDREN ? 0 : children - EASY_CHILDREN + 1;
    uint64_t mib = c->bytes >> 20;
    wide += c->load / BUSY_LOAD;
    mib = mib < (1U << 28) ? mib : (1U << 28) - 1;
    return (uint64_t)doubtful << 62 | (uint64_t)deep << 61 | (uint64_t)(wide & 0x1f) << 56 |
           (uint64_t)far << 55 | (uint64_t)(c->load / EASY_LOAD) << 51 | (uint64_t)c->depth << 43 |
           (uint64_t)(children < EASY_CHILDREN ? children : 0) << 40 |
           ((UINT64_C(1) << 28) - 1 - mib) << 12 | (gossip_mix(c->id ^ x->asker->place.id) & 0xfff);
}

/* Whether it is where it is taken to be. One that was only named has yet to say so itself; and
 * while two arbiters answer, the second must not lead somebody in a circle that the first has
 * begun. */
static bool is_sure(const struct gossip_lease *lease, const struct gossip_part *p)
{
    return p->state != GOSSIP_PART_NAMED && (lease->is_first || p->confirmed || p->leads);
}

/* Nor those who have what is wrong from whoever gave it to the asker. */
static void pass_over_wrong(struct search *x)
{
    for (size_t i = 0; i < x->want->failed_count; i++) {
        if (x->want->failed[i].fault == GOSSIP_FAULT_WRONG) {
            struct gossip_part *p =
                gossip_part_get(x->g->swarm, x->want->key, x->want->failed[i].id);
            if (p) {
                (void)mark_below(p, x->g->swarm->choice);
            }
        }
    }
}

/* Somebody whose copy can be had: by this asker, too? */
static void consider(struct search *x, const struct gossip_member *m, struct gossip_part *p,
                     struct candidate *c)
{
    struct gossip_choice *choice = x->choice;
    bool own_parent = p && x->asker->parent == p;
    unsigned children = p ? p->child_count - own_parent : 0;
    int fault = fault_of(x->want, c->id);
    choice->live++;
    if (fault == GOSSIP_FAULT_STALLED && !c->holds && p->bytes <= x->want->bytes &&
        gossip_part_quiet_ms(x->g, p) < LIMIT_SWARM_SILENT_MS) {
        if (own_parent) {
            x->stalled_parent = p;
            x->stalled = *c;
        } else {
            c->rank = UINT64_MAX; /* better than nobody */
            insert(x, c);
        }
        return;
    }
    if (fault == GOSSIP_FAULT_SLOW && own_parent) {
        x->slow_parent = p;
    } else if (fault >= 0 && fault != GOSSIP_FAULT_SLOW) {
        choice->refused += fault == GOSSIP_FAULT_REFUSED && !c->holds;
        return;
    }
    if (children >= LIMIT_SWARM_CHILDREN || c->depth >= LIMIT_SWARM_DEPTH ||
        c->depth + 1U + x->height > 2 * LIMIT_SWARM_DEPTH ||
        (p && !c->holds && !is_sure(x->asker->lease, p))) {
        choice->full++;
        return;
    }
    c->load = p && p->rated_ms && !c->holds ? p->load : m->load;
    c->grows = c->holds || x->g->now_ms - p->grew_ms < LIMIT_SWARM_SILENT_MS;
    c->wide = children >= EASY_CHILDREN;
    c->rate = p && !c->holds ? gossip_part_rate(p) : x->asker->lease->best_rate;
    bool silent =
        p && !c->holds &&
        (p->blamed_ms > p->heard_ms || x->g->now_ms - p->heard_ms >= 2 * LIMIT_SWARM_SILENT_MS);
    bool slow = c->rate && c->rate * SLOW_RATIO < x->asker->lease->best_rate;
    c->rank = own_parent && !silent ? 0 : rank(x, m, c, children, silent || slow);
    insert(x, c);
}

static void consider_holders(struct search *x)
{
    const struct gossip *g = x->g;
    struct gossip_index_walk walk;
    uint64_t spread = gossip_mix(x->want->key ^ x->asker->place.id);
    uint16_t slot;
    if (!gossip_index_walk(g->index, x->want->key, (uint32_t)spread, &walk)) {
        return;
    }
    for (size_t n = 0; n < HOLDERS_MAX && gossip_index_walk_next(&walk, &slot);) {
        const struct gossip_member *m = g->members.by_slot[slot];
        if (!can_serve(g, m)) {
            continue;
        }
        n++;
        struct gossip_part *p = gossip_part_get(g->swarm, x->want->key, m->id);
        if (p) {
            p->held_choice = g->swarm->choice; /* its turn comes with the others' */
        } else {
            struct candidate c = {.id = m->id, .bytes = UINT64_MAX, .holds = true};
            consider(x, m, NULL, &c);
        }
    }
}

static void consider_parts(struct search *x)
{
    const struct gossip *g = x->g;
    LIST_EACH (link, &x->asker->lease->parts) {
        struct gossip_part *p = CONTAINER_OF(link, struct gossip_part, in_lease);
        if (p->below == g->swarm->choice) {
            continue;
        }
        gossip_part_judge(g, p);
        if (p->live) {
            struct candidate c = {.id = p->place.id, .depth = p->depth, .holds = holds(g, p)};
            c.bytes = c.holds ? UINT64_MAX : p->bytes;
            consider(x, member_of(g, p), p, &c);
        }
    }
}

/* The fault lies above the asker's parent, unless somebody else has come much further and still
 * grows. */
static bool stays_with_stalled(const struct search *x)
{
    for (size_t i = 0; x->stalled_parent && i < x->count; i++) {
        if (x->best[i].grows && x->best[i].bytes > x->stalled.bytes + AHEAD_BYTES) {
            return false;
        }
    }
    return x->stalled_parent != NULL;
}

/* The first that is much faster than the asker's parent and has something to give; else x->count.
 */
static size_t faster(const struct search *x)
{
    uint64_t rate = gossip_part_rate(x->slow_parent);
    for (size_t i = 0; i < x->count && rate; i++) {
        const struct candidate *c = &x->best[i];
        if (c->id != x->slow_parent->place.id && c->grows && !c->wide &&
            c->rate >= rate * SLOW_RATIO && c->bytes > x->want->bytes + AHEAD_BYTES) {
            return i;
        }
    }
    return x->count;
}

static void put_first(struct search *x, size_t at)
{
    for (; at > 0 && at < x->count; at--) {
        struct candidate c = x->best[at];
        x->best[at] = x->best[at - 1];
        x->best[at - 1] = c;
    }
}

void gossip_choice_begin(const struct gossip *g)
{
    struct gossip_swarm *s = g->swarm;
    s->choice = s->choice == UINT32_MAX ? 1 : s->choice + 1;
}

void gossip_choose(const struct gossip *g, struct gossip_part *asker,
                   const struct gossip_want *want, struct gossip_choice *ret_choice)
{
    const struct gossip_member *m = member_of(g, asker);
    struct search x = {
        .g = g, .asker = asker, .want = want, .choice = ret_choice, .zone = m ? m->zone : ""};
    *ret_choice = (struct gossip_choice){0};
    gossip_choice_begin(g);
    x.height = mark_below(asker, g->swarm->choice);
    pass_over_wrong(&x);
    consider_holders(&x);
    consider_parts(&x);
    ret_choice->stay = stays_with_stalled(&x);
    if (x.stalled_parent) {
        x.count -= x.count == GOSSIP_SWARM_OFFERS;
        x.best[x.count++] = x.stalled;
        put_first(&x, ret_choice->stay ? x.count - 1 : 0);
    } else if (x.slow_parent && faster(&x) < x.count) {
        put_first(&x, faster(&x));
    }
    for (size_t i = 0; i < x.count; i++) {
        ret_choice->offers[i].id = x.best[i].id;
        ret_choice->offers[i].depth = x.best[i].depth;
        ret_choice->offers[i].holds = x.best[i].holds;
    }
    ret_choice->count = (uint8_t)x.count;
}
