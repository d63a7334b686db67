/* take.c - a snapshot, taken over as many steps as it needs, so that none lasts long.
 *
 *     SUM      everything is read once: it must read right, and the sets be what their ALIVEs say
 *     MEET     its members are heard; those whose set would be news are to be filled
 *     FILL     keys go into the index
 *     SETTLE   the sets count from now on
 *
 * A set that changes meanwhile by other means is no longer ours to fill (gossip_take_not): its
 * column is cleared there, and what the snapshot says of it is passed over. */
#include "gossip/holders.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The work of one slice, in pairs of a key and a holder, which take a few nanoseconds each; other
 * things count as so many pairs. */
#define SLICE 60000
#define KEY_COSTS 20
#define MEMBER_COSTS 300
#define CLEAR_COSTS 20000

enum stage { SUM, MEET, FILL, SETTLE, DONE };

struct told {
    struct gossip_member *member; /* to be filled; NULL: not */
    bool failed;                  /* no room for it */
};

struct sum {
    uint64_t hash;
    uint32_t count;
};

struct gossip_take {
    struct gossip_open_fetch fetch;
    uint64_t teller;
    struct buf bytes;
    bool believing;
    enum stage stage;
    int error;
    size_t members, at;        /* of the members, or of the keys */
    struct gossip_reader keys; /* where the keys begin, from their number on */
    struct gossip_reader r;    /* and how far they were read */
    size_t key_count;
    struct told *told;
    struct gossip_alive *alive;
    struct sum *sums;
    uint16_t *slots; /* room for the holders of one key: their numbers, or slots */
};

static void take_done(struct gossip_take *t)
{
    buf_done(&t->bytes);
    free(t->told);
    free(t->alive);
    free(t->sums);
    free(t->slots);
}

static int take_read_members(struct gossip_take *t, const uint8_t *bytes, size_t n)
{
    struct gossip_reader r;
    gossip_reader_init(&r, bytes, n);
    uint8_t format = gossip_read8(&r);
    t->members = gossip_read32(&r);
    if (r.failed || format != GOSSIP_BODY_FORMAT || t->members > LIMIT_GOSSIP_MEMBERS ||
        t->members > gossip_reader_left(&r)) {
        return -EPROTO;
    }
    t->told = calloc(t->members + 1, sizeof(*t->told));
    t->alive = calloc(t->members + 1, sizeof(*t->alive));
    t->sums = calloc(t->members + 1, sizeof(*t->sums));
    t->slots = calloc(t->members + GOSSIP_HOLDERS_MORE, sizeof(*t->slots));
    if (!t->told || !t->alive || !t->sums || !t->slots) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < t->members; i++) {
        if (gossip_body_read_alive(&r, &t->alive[i])) {
            return -EPROTO;
        }
    }
    t->keys = t->r = r;
    t->key_count = gossip_read32(&t->r);
    return t->r.failed ? -EPROTO : 0;
}

/* --- one key --- */

static int sum_key(struct gossip_take *t, size_t *ret_cost)
{
    uint64_t mixed = gossip_mix(gossip_read64(&t->r));
    size_t count = 0;
    int error = gossip_holders_read(&t->r, t->members, t->slots, &count);
    for (size_t i = 0; i < count; i++) {
        t->sums[t->slots[i]].hash ^= mixed;
        t->sums[t->slots[i]].count++;
    }
    *ret_cost += count;
    return error;
}

static int compare_slots(const void *a, const void *b)
{
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return x < y ? -1 : x > y;
}

/* It was read before, so it reads right. */
static void fill_key(struct gossip *g, struct gossip_take *t, size_t *ret_cost)
{
    uint64_t key = gossip_read64(&t->r);
    size_t told = 0, count = 0;
    bool sorted = true;
    struct gossip_reader start = t->r;
    (void)gossip_holders_read(&t->r, t->members, t->slots, &told);
    for (size_t i = 0; i < told; i++) {
        const struct gossip_member *m = t->told[t->slots[i]].member;
        if (m) {
            sorted = sorted && (count == 0 || t->slots[count - 1] < m->slot);
            t->slots[count++] = m->slot;
        }
    }
    *ret_cost += told;
    if (!sorted) {
        qsort(t->slots, count, sizeof(t->slots[0]), compare_slots);
    }
    if (count == 0 || gossip_index_add_many(g->index, key, t->slots, count) == 0) {
        return;
    }
    (void)gossip_holders_read(&start, t->members, t->slots, &told);
    for (size_t i = 0; i < told; i++) {
        t->told[t->slots[i]].failed = true; /* no room, or the key stands there twice */
    }
}

/* --- the stages; each says what its part of the work cost, and goes on to the next --- */

static void next_stage(struct gossip_take *t, enum stage stage)
{
    t->stage = stage;
    t->at = 0;
    t->r = t->keys;
    (void)gossip_read32(&t->r);
}

static size_t sum_some(struct gossip_take *t)
{
    size_t cost = KEY_COSTS;
    if (t->at == t->key_count) {
        next_stage(t, MEET);
        return cost;
    }
    t->at++;
    t->error = sum_key(t, &cost);
    if (t->error || t->r.failed) {
        t->error = -EPROTO;
        t->stage = DONE; /* all of it must read right before any of it counts */
    }
    return cost;
}

static size_t meet_one(struct gossip *g, struct gossip_take *t)
{
    if (t->at == t->members) {
        next_stage(t, FILL);
        return 1;
    }
    struct told *told = &t->told[t->at];
    const struct gossip_alive *alive = &t->alive[t->at];
    const struct sum *sum = &t->sums[t->at];
    uint16_t number = (uint16_t)(++t->at);
    g->believing = t->believing;
    gossip_hear_alive(g, alive, t->teller);
    gossip_heard_in_bulk(g, alive->id);
    g->believing = false;
    struct gossip_member *m = gossip_members_get(&g->members, alive->id);
    if (!gossip_set_is_news(g, m, alive) || m->taking) { /* twice: the first counts */
        return MEMBER_COSTS;
    }
    if (sum->hash != alive->hash || sum->count != alive->count) {
        g->stats.hash_mismatches++;
        return MEMBER_COSTS;
    }
    size_t cost = m->count > 0 ? CLEAR_COSTS : MEMBER_COSTS;
    gossip_drop_set(g, m);
    told->member = m;
    m->taking = number;
    return cost;
}

static size_t fill_some(struct gossip *g, struct gossip_take *t)
{
    size_t cost = KEY_COSTS;
    if (t->at == t->key_count) {
        next_stage(t, SETTLE);
        return cost;
    }
    t->at++;
    fill_key(g, t, &cost);
    return cost;
}

static size_t settle_one(struct gossip *g, struct gossip_take *t)
{
    if (t->at == t->members) {
        t->stage = DONE;
        return 1;
    }
    const struct gossip_alive *alive = &t->alive[t->at];
    struct told *told = &t->told[t->at++];
    struct gossip_member *m = told->member;
    if (!m) {
        return 1;
    }
    if (told->failed || !gossip_member_is_live(m) || m->boot != alive->boot) {
        g->stats.drop_memory += told->failed;
        gossip_drop_set(g, m);
        return CLEAR_COSTS;
    }
    m->taking = 0;
    told->member = NULL;
    m->set_boot = m->boot;
    m->version = alive->version;
    m->set_hash = alive->hash;
    m->count = alive->count;
    g->stats.sets_applied++;
    gossip_settle(g, m);
    if (m->wanted && m->version >= m->wanted->version) {
        gossip_want_nothing(g, m);
    }
    return MEMBER_COSTS;
}

static void slice(struct gossip *g, struct gossip_take *t)
{
    for (size_t cost = 0; t->stage != DONE && cost < SLICE;) {
        switch (t->stage) {
        case SUM:
            cost += sum_some(t);
            break;
        case MEET:
            cost += meet_one(g, t);
            break;
        case FILL:
            cost += fill_some(g, t);
            break;
        case SETTLE:
            cost += settle_one(g, t);
            break;
        case DONE:
            break;
        }
    }
}

/* --- from outside --- */

void gossip_take_not(struct gossip *g, struct gossip_member *m)
{
    if (m->taking) {
        g->take->told[m->taking - 1].member = NULL;
        m->taking = 0;
    }
}

/* Takes the buffer over. */
static int begin(struct gossip *g, uint64_t teller, struct buf *bytes, size_t offset)
{
    struct gossip_take *t = g->take ? NULL : calloc(1, sizeof(*t));
    if (!t) {
        return g->take ? -EBUSY : -ENOMEM;
    }
    int error = take_read_members(t, (uint8_t *)bytes->data + offset, bytes->len - offset);
    if (error) {
        take_done(t);
        free(t);
        return error;
    }
    t->teller = teller;
    t->bytes = *bytes;
    buf_init(bytes, 0);
    g->take = t;
    return 0;
}

void gossip_take_free(struct gossip *g)
{
    if (g->take) {
        take_done(g->take);
        free(g->take);
        g->take = NULL;
    }
}

int gossip_take_begin(struct gossip *g, const struct gossip_open_fetch *fetch, uint64_t teller,
                      struct buf *bytes, size_t offset, bool believing)
{
    int error = begin(g, teller, bytes, offset);
    if (error == 0) {
        g->take->fetch = *fetch;
        g->take->believing = believing;
    }
    return error;
}

static void believe(struct gossip *g)
{
    LIST_EACH_SAFE (link, &g->suspects) {
        gossip_clear(g, CONTAINER_OF(link, struct gossip_doubt, suspected)->member);
    }
}

void gossip_take_tick(struct gossip *g)
{
    if (!g->take) {
        return;
    }
    slice(g, g->take);
    if (g->take->stage == DONE) {
        struct gossip_open_fetch fetch = g->take->fetch;
        bool taken = g->take->error == 0;
        if (taken && g->take->believing) {
            believe(g);
        }
        g->stats.snapshots_applied += taken;
        gossip_take_free(g);
        gossip_fetch_ended(g, &fetch, taken);
    }
}

int gossip_snapshot_apply(struct gossip *g, uint64_t teller, const uint8_t *bytes, size_t n)
{
    struct buf copy;
    buf_init(&copy, n + 1);
    int error = buf_append(&copy, bytes, n);
    error = error ? error : begin(g, teller, &copy, 0);
    buf_done(&copy);
    if (error) {
        return error;
    }
    while (g->take->stage != DONE) {
        slice(g, g->take);
    }
    error = g->take->error;
    g->stats.snapshots_applied += error == 0;
    gossip_take_free(g);
    return error;
}
