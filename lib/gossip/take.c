/* take.c - a snapshot, taken over as many steps as it needs, so that none lasts long.
 *
 *     OPEN     unsealed where it lies; nothing of it is looked at before the tag fits
 *     HEAR     (an exchange's answer) what stands before the snapshot
 *     READ     its members
 *     SUM      everything is read once: it must read right, and the sets be what their ALIVEs say
 *     MEET     its members are heard; those whose set would be news are to be filled
 *     FILL     keys go into the index
 *     SETTLE   the sets count from now on
 *
 * A set that changes meanwhile by other means is no longer ours to fill (gossip_take_not): its
 * column is cleared there, and what the snapshot says of it is passed over.
 *
 * size: one machine and its stages, each a function or two. */
#include "gossip/holders.h"
#include "gossip/opening.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The work of one slice, in pairs of a key and a holder, which take a few nanoseconds each; other
 * things count as so many pairs. */
#define SLICE 60000
#define KEY_COSTS 20
#define PIECE_COSTS 15000 /* GOSSIP_STREAM_PIECE_BYTES unsealed, at some 1 GB/s */
#define READ_COSTS 50
#define MEMBER_COSTS 300
#define CLEAR_COSTS 20000

enum stage { OPEN, HEAR, READ, SUM, MEET, FILL, SETTLE, DONE };

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
    struct gossip_opening opening;
    struct gossip_exchange exchange;
    bool believing;
    enum stage stage;
    int error;
    size_t begin, end;         /* of the bytes: what is to be read */
    size_t members, at;        /* of the bytes, the members, or the keys */
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
    gossip_opening_done(&t->opening);
    free(t->told);
    free(t->alive);
    free(t->sums);
    free(t->slots);
}

/* --- what comes before the keys --- */

static const uint8_t *bytes_at(const struct gossip_take *t, size_t at)
{
    return (const uint8_t *)t->bytes.data + at;
}

static int begin_reading(struct gossip_take *t)
{
    struct gossip_reader *r = &t->r;
    gossip_reader_init(r, bytes_at(t, t->begin), t->end - t->begin);
    uint8_t format = gossip_read8(r);
    t->members = gossip_read32(r);
    if (r->failed || format != GOSSIP_BODY_FORMAT || t->members > LIMIT_GOSSIP_MEMBERS ||
        t->members > gossip_reader_left(r)) {
        return -EPROTO;
    }
    t->told = calloc(t->members + 1, sizeof(*t->told));
    t->alive = calloc(t->members + 1, sizeof(*t->alive));
    t->sums = calloc(t->members + 1, sizeof(*t->sums));
    t->slots = calloc(t->members + GOSSIP_HOLDERS_MORE, sizeof(*t->slots));
    if (!t->told || !t->alive || !t->sums || !t->slots) {
        return -ENOMEM;
    }
    t->stage = READ;
    t->at = 0;
    return 0;
}

static int opened(struct gossip_take *t)
{
    if (t->fetch.kind != GOSSIP_FETCH_EXCHANGE) {
        return begin_reading(t);
    }
    t->stage = HEAR;
    return gossip_exchange_read(bytes_at(t, t->begin), t->end - t->begin, &t->exchange);
}

static int open_piece(struct gossip_take *t, size_t *ret_cost)
{
    size_t n = 0;
    int error = gossip_opening_piece(&t->opening, &t->bytes, &n);
    *ret_cost = PIECE_COSTS * n / GOSSIP_STREAM_PIECE_BYTES + 1;
    if (error) {
        return error == -EINPROGRESS ? 0 : error;
    }
    t->begin = t->opening.begin;
    t->end = t->opening.end;
    return opened(t);
}

static int hear_one(struct gossip *g, struct gossip_take *t, size_t *ret_cost)
{
    int got = gossip_exchange_hear_one(g, t->teller, &t->exchange.messages);
    *ret_cost = MEMBER_COSTS;
    if (got != 0) {
        return got < 0 ? got : 0;
    }
    t->believing = gossip_exchange_heard(g, t->teller, t->exchange.same);
    t->begin += t->exchange.snapshot_at;
    return begin_reading(t);
}

static void next_stage(struct gossip_take *t, enum stage stage);

static int read_member(struct gossip_take *t, size_t *ret_cost)
{
    *ret_cost = READ_COSTS;
    if (t->at < t->members) {
        return gossip_body_read_alive(&t->r, &t->alive[t->at++]) ? -EPROTO : 0;
    }
    t->keys = t->r;
    t->key_count = gossip_read32(&t->r);
    int error = t->r.failed ? -EPROTO : 0;
    next_stage(t, SUM);
    return error;
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

static int sum_some(struct gossip_take *t, size_t *ret_cost)
{
    *ret_cost = KEY_COSTS;
    if (t->at == t->key_count) {
        next_stage(t, MEET);
        return 0;
    }
    t->at++;
    return sum_key(t, ret_cost) || t->r.failed ? -EPROTO : 0;
}

/* All of it must read right before any of it counts. */
static size_t read_some(struct gossip *g, struct gossip_take *t)
{
    size_t cost = 1;
    t->error = t->stage == OPEN   ? open_piece(t, &cost)
               : t->stage == HEAR ? hear_one(g, t, &cost)
               : t->stage == READ ? read_member(t, &cost)
                                  : sum_some(t, &cost);
    t->stage = t->error ? DONE : t->stage;
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
        case OPEN:
        case HEAR:
        case READ:
        case SUM:
            cost += read_some(g, t);
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
static int begin(struct gossip *g, const struct gossip_open_fetch *fetch, uint64_t teller,
                 struct buf *bytes)
{
    struct gossip_take *t = g->take ? NULL : calloc(1, sizeof(*t));
    if (!t) {
        return g->take ? -EBUSY : -ENOMEM;
    }
    t->fetch = *fetch;
    t->teller = teller;
    t->bytes = *bytes;
    t->end = t->bytes.len;
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
                      struct buf *bytes)
{
    int error = begin(g, fetch, teller, bytes);
    if (error) {
        return error;
    }
    error = opened(g->take);
    if (error) {
        gossip_take_free(g);
    }
    return error;
}

int gossip_take_sealed(struct gossip *g, const struct gossip_open_fetch *fetch, struct buf *sealed)
{
    struct gossip_header h;
    struct gossip_binding binding = {
        .purpose = fetch->kind == GOSSIP_FETCH_EXCHANGE ? GOSSIP_FOR_EXCHANGE : GOSSIP_FOR_SNAPSHOT,
        .bytes = fetch->auth,
        .len = fetch->auth_bytes};
    int error = gossip_seal_peek((const uint8_t *)sealed->data, sealed->len, &h);
    error = error ? error : begin(g, fetch, h.sender.id, sealed);
    if (error) {
        return error;
    }
    g->take->stage = OPEN;
    error = gossip_opening_begin(&g->take->opening, g->seal, &binding, &g->take->bytes);
    if (error) {
        gossip_take_free(g);
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

static int apply(struct gossip *g, enum gossip_fetch_kind kind, uint64_t teller,
                 const uint8_t *bytes, size_t n)
{
    struct gossip_open_fetch fetch = {.kind = kind};
    struct buf copy;
    buf_init(&copy, n + 1);
    int error = buf_append(&copy, bytes, n);
    error = error ? error : gossip_take_begin(g, &fetch, teller, &copy);
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

int gossip_snapshot_apply(struct gossip *g, uint64_t teller, const uint8_t *bytes, size_t n)
{
    return apply(g, GOSSIP_FETCH_SNAPSHOT, teller, bytes, n);
}

int gossip_exchange_apply(struct gossip *g, uint64_t teller, const uint8_t *bytes, size_t n)
{
    return apply(g, GOSSIP_FETCH_EXCHANGE, teller, bytes, n);
}
