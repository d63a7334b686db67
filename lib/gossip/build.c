#include "gossip/build.h"

#include "gossip/holders.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ABOUT_COSTS 30
#define ALIVE_COSTS 80
#define KEY_COSTS 30
#define PLACE_COSTS 8
#define NO_LIMIT SIZE_MAX

#define EARLY_PLACES ((size_t)LIMIT_GOSSIP_BUILD_EARLY * 2)

static int append32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4];
    gossip_store32(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

static int append64(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];
    gossip_store64(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

static int append_alive(struct buf *b, const struct gossip *g, const struct gossip_member *m)
{
    uint8_t room[256];
    struct gossip_writer w;
    struct gossip_alive alive;
    gossip_alive_of(g, m, &alive);
    gossip_writer_init(&w, room, sizeof(room));
    return gossip_alive_write(&w, &alive) ? buf_append(b, room, w.len) : -ENOBUFS;
}

int gossip_build_new(enum gossip_purpose purpose, struct gossip_build **ret_build)
{
    struct gossip_build *b = calloc(1, sizeof(*b));
    if (!b) {
        return -ENOMEM;
    }
    list_init(&b->link);
    b->purpose = purpose;
    buf_init(&b->plain,
             (purpose == GOSSIP_FOR_SET ? LIMIT_GOSSIP_SET_BYTES : LIMIT_GOSSIP_SNAPSHOT_BYTES) -
                 GOSSIP_SEAL_OVERHEAD_BYTES);
    *ret_build = b;
    return 0;
}

/* What only building takes. */
static void scratch_done(struct gossip_build *b)
{
    free(b->wanted);
    free(b->number);
    free(b->alive_end);
    free(b->holders);
    free(b->bytes);
    free(b->early);
    b->wanted = b->bytes = NULL;
    b->number = b->holders = NULL;
    b->alive_end = NULL;
    b->early = NULL;
}

void gossip_build_free(struct gossip_build *b)
{
    if (b) {
        list_remove(&b->link);
        scratch_done(b);
        buf_done(&b->plain);
        free(b);
    }
}

/* --- keys that came early --- */

static bool is_early(const struct gossip_build *b, uint64_t key)
{
    if (b->early_count == 0) {
        return false;
    }
    size_t at = gossip_mix(key) % EARLY_PLACES;
    while (b->early[at] && b->early[at] != key) {
        at = (at + 1) % EARLY_PLACES;
    }
    return key ? b->early[at] == key : b->early_zero;
}

static int note_early(struct gossip_build *b, uint64_t key)
{
    b->early = b->early ? b->early : calloc(EARLY_PLACES, sizeof(*b->early));
    if (!b->early || b->early_count == LIMIT_GOSSIP_BUILD_EARLY) {
        return b->early ? -ENOBUFS : -ENOMEM;
    }
    b->early_count++;
    b->early_zero = b->early_zero || key == 0;
    size_t at = gossip_mix(key) % EARLY_PLACES;
    while (b->early[at]) {
        at = (at + 1) % EARLY_PLACES;
    }
    b->early[at] = key;
    return 0;
}

/* --- one key --- */

/* With those of its holders that are in the snapshot: `count` slots are in b->holders. */
static int append_key(struct gossip_build *b, uint64_t key, size_t count)
{
    size_t told = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t slot = b->holders[i], number = slot < b->slots ? b->number[slot] : 0;
        b->holders[told] = number;
        told += number != 0;
    }
    if (told == 0) {
        return 0;
    }
    b->keys++;
    int error = append64(&b->plain, key);
    return error ? error : gossip_holders_append(&b->plain, b->holders, told, b->members, b->bytes);
}

static int append_key_of_set(struct gossip_build *b, uint64_t key, bool has)
{
    b->keys += has;
    return has ? append64(&b->plain, key) : 0;
}

/* --- while others change things --- */

static bool is_in(const struct gossip_build *b, uint16_t slot)
{
    return b->number ? slot < b->slots && b->number[slot] : slot == b->owner_slot;
}

/* Stands there without a set from now on: its ALIVE ends with version, count and hash. */
static void leave_out(struct gossip_build *b, uint16_t slot)
{
    if (!b->number) {
        b->error = -EAGAIN; /* the set was all that it is about */
        return;
    }
    b->number[slot] = 0;
    memset(b->plain.data + b->alive_end[slot] - 16, 0, 16);
}

void gossip_build_before(struct gossip *g, uint64_t key, uint16_t slot)
{
    struct gossip_build *b = g->build;
    if (!b || b->error || !is_in(b, slot)) {
        return;
    }
    if (b->stage != GOSSIP_BUILD_KEYS) {
        leave_out(b, slot);
        return;
    }
    if (gossip_index_scan_passed(g->index, &b->scan, key) || is_early(b, key)) {
        return;
    }
    if (note_early(b, key)) {
        leave_out(b, slot);
    } else if (b->number) {
        b->error = append_key(b, key, gossip_index_all(g->index, key, b->holders));
    } else {
        b->error = append_key_of_set(b, key, gossip_index_has(g->index, key, b->owner_slot));
    }
}

void gossip_build_clears(struct gossip *g, uint16_t slot)
{
    if (g->build && !g->build->error && is_in(g->build, slot)) {
        leave_out(g->build, slot);
    }
}

/* --- the stages --- */

static int begin_keys(const struct gossip *g, struct gossip_build *b)
{
    b->stage = GOSSIP_BUILD_KEYS;
    b->count_at = b->plain.len;
    int error = append32(&b->plain, 0);
    return error ? error : gossip_index_scan_resume(g->index, &b->scan) ? 0 : -EAGAIN;
}

static int begin_set(struct gossip *g, struct gossip_build *b)
{
    static const uint8_t format = GOSSIP_BODY_FORMAT;
    const struct gossip_member *m = gossip_members_get(&g->members, b->owner);
    if (!m || !gossip_member_is_live(m) || m->set_boot != m->boot || m->version == 0 ||
        m->families == 0) {
        return -ENOENT;
    }
    b->owner_slot = m->slot;
    int error = buf_append(&b->plain, &format, 1);
    error = error ? error : append_alive(&b->plain, g, m);
    return error ? error : begin_keys(g, b);
}

static int begin_members(struct gossip_build *b)
{
    static const uint8_t format = GOSSIP_BODY_FORMAT;
    b->stage = GOSSIP_BUILD_MEMBERS;
    b->at = 0;
    int error = buf_append(&b->plain, &format, 1);
    b->count_at = b->plain.len;
    return error ? error : append32(&b->plain, 0);
}

static int begin(struct gossip *g, struct gossip_build *b)
{
    b->begun = true;
    if (b->purpose == GOSSIP_FOR_SET) {
        return begin_set(g, b);
    }
    b->slots = b->slots ? b->slots : g->members.slots;
    b->number = calloc(b->slots, sizeof(*b->number));
    b->alive_end = calloc(b->slots, sizeof(*b->alive_end));
    /* Those who come meanwhile hold keys as well, though they are not in it. */
    b->holders = malloc(LIMIT_GOSSIP_MEMBERS * sizeof(*b->holders));
    b->bytes = malloc(b->slots / 8 + 2);
    if (!b->number || !b->alive_end || !b->holders || !b->bytes) {
        return -ENOMEM;
    }
    if (b->purpose == GOSSIP_FOR_EXCHANGE) {
        b->stage = GOSSIP_BUILD_ABOUT;
        b->count_at = GOSSIP_EXCHANGE_COUNT_AT;
        return 0;
    }
    return begin_members(b);
}

static int about_one(struct gossip *g, struct gossip_build *b)
{
    if (b->at == b->slots) {
        gossip_store32((uint8_t *)b->plain.data + b->count_at,
                       (uint32_t)(b->plain.len - b->count_at - 4));
        return begin_members(b);
    }
    const struct gossip_member *m = g->members.by_slot[b->at++];
    return m ? gossip_exchange_about(g, b, m) : 0;
}

static int member_one(struct gossip *g, struct gossip_build *b)
{
    if (b->at == b->slots) {
        gossip_store32((uint8_t *)b->plain.data + b->count_at, b->members);
        return begin_keys(g, b);
    }
    size_t slot = b->at++;
    const struct gossip_member *m = g->members.by_slot[slot];
    if (!m || !gossip_member_is_live(m) || m->families == 0 || (b->wanted && !b->wanted[slot])) {
        return 0;
    }
    int error = append_alive(&b->plain, g, m);
    b->alive_end[slot] = (uint32_t)b->plain.len;
    b->members++;
    b->number[slot] = m->set_boot == m->boot ? b->members : 0;
    return error;
}

/* 0, or -ENOENT at the end of all. */
static int key_one(struct gossip *g, struct gossip_build *b, bool *ret_may_pause, size_t *ret_cost)
{
    uint64_t key;
    int got = gossip_index_scan_next(g->index, &b->scan, &key);
    *ret_may_pause = got == 0;
    *ret_cost = PLACE_COSTS;
    if (got <= 0 || is_early(b, key)) {
        return got < 0 ? got : 0;
    }
    if (!b->number) {
        return append_key_of_set(b, key, gossip_index_scan_has(&b->scan, b->owner_slot));
    }
    size_t count = gossip_index_scan_all(&b->scan, b->holders);
    *ret_cost = KEY_COSTS + count;
    return append_key(b, key, count);
}

static int end(struct gossip_build *b)
{
    gossip_store32((uint8_t *)b->plain.data + b->count_at, b->keys);
    scratch_done(b);
    return 0;
}

static int slice(struct gossip *g, struct gossip_build *b, size_t *budget)
{
    bool may_pause = true;
    if (b->stage == GOSSIP_BUILD_KEYS && !gossip_index_scan_resume(g->index, &b->scan)) {
        return -EAGAIN;
    }
    while (*budget > 0 || !may_pause) {
        size_t cost = ABOUT_COSTS;
        int error = 0;
        if (b->stage == GOSSIP_BUILD_ABOUT) {
            error = about_one(g, b);
        } else if (b->stage == GOSSIP_BUILD_MEMBERS) {
            error = member_one(g, b);
            cost = ALIVE_COSTS;
        } else {
            error = key_one(g, b, &may_pause, &cost);
        }
        *budget -= cost < *budget ? cost : *budget;
        if (error) {
            return error == -ENOENT ? end(b) : error;
        }
    }
    return -EINPROGRESS;
}

int gossip_build_slice(struct gossip *g, struct gossip_build *b, size_t *budget)
{
    int error = b->error;
    if (!error && !b->begun) {
        error = begin(g, b);
    }
    error = error ? error : slice(g, b, budget);
    if (error && error != -EINPROGRESS) {
        b->error = error;
        scratch_done(b);
        buf_done(&b->plain);
    }
    return error;
}

/* --- all at once --- */

int gossip_build_whole(struct gossip *g, struct gossip_build *b, struct buf *ret_body)
{
    size_t budget = NO_LIMIT;
    b->plain.max = ret_body->max < b->plain.max ? ret_body->max : b->plain.max;
    int error = gossip_build_slice(g, b, &budget);
    error = error == -EINPROGRESS ? -EAGAIN : error;
    if (error == 0) {
        buf_done(ret_body);
        *ret_body = b->plain;
        buf_init(&b->plain, 0);
    }
    gossip_build_free(b);
    return error;
}

int gossip_snapshot_build(struct gossip *g, struct buf *ret_body)
{
    struct gossip_build *b;
    int error = gossip_build_new(GOSSIP_FOR_SNAPSHOT, &b);
    return error ? error : gossip_build_whole(g, b, ret_body);
}
