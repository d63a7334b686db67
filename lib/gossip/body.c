/* body.c - sets and snapshots as they travel over HTTP, inside the envelope of seal.h.
 *
 *     set       format u8 | ALIVE message | keys u32 | key u64 ...
 *     snapshot  format u8 | members u32 | ALIVE message ... |
 *               keys u32 | (key u64 | holders, see holders.h) ...
 *
 * A holder is the number of an ALIVE above, from 0; each stands once for a key, and each key once.
 * take.c reads snapshots. */
#include "gossip/holders.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int append(struct buf *b, const void *bytes, size_t n)
{
    return buf_append(b, bytes, n);
}

static int append32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4];
    gossip_store32(bytes, v);
    return append(b, bytes, sizeof(bytes));
}

static int append64(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];
    gossip_store64(bytes, v);
    return append(b, bytes, sizeof(bytes));
}

static int append_alive(struct buf *b, const struct gossip *g, const struct gossip_member *m)
{
    uint8_t room[256];
    struct gossip_writer w;
    struct gossip_alive alive;
    gossip_alive_of(g, m, &alive);
    gossip_writer_init(&w, room, sizeof(room));
    return gossip_alive_write(&w, &alive) ? append(b, room, w.len) : -ENOBUFS;
}

int gossip_set_build(struct gossip *g, uint64_t owner, struct buf *b)
{
    const struct gossip_member *m = gossip_members_get(&g->members, owner);
    uint8_t format = GOSSIP_BODY_FORMAT;
    uint64_t key;
    size_t cursor = 0;
    if (!m || !gossip_member_is_live(m) || m->set_boot != m->boot || m->version == 0 ||
        m->families == 0) {
        return -ENOENT;
    }
    int error = append(b, &format, 1);
    error = error ? error : append_alive(b, g, m);
    error = error ? error : append32(b, m->count);
    while (error == 0 && gossip_index_column(g->index, m->slot, &cursor, &key)) {
        error = append64(b, key);
    }
    return error;
}

static bool in_snapshot(const struct gossip_member *m)
{
    return gossip_member_is_live(m) && m->families != 0;
}

/* One key with those of its holders that are in the snapshot. `number` is by slot, from 1, and
 * rises with it; `holders` and `bytes` have room for all members. */
struct key_writer {
    const uint16_t *number;
    size_t members;
    uint16_t *holders;
    uint8_t *bytes;
};

static size_t holders_in_snapshot(const struct gossip *g, uint64_t key, const struct key_writer *w)
{
    size_t all = gossip_index_all(g->index, key, w->holders), count = 0;
    for (size_t i = 0; i < all; i++) {
        uint16_t number = w->number[w->holders[i]];
        w->holders[count] = number;
        count += number != 0;
    }
    return count;
}

static int append_key(struct buf *b, const struct gossip *g, uint64_t key,
                      const struct key_writer *w, uint32_t *keys)
{
    size_t count = holders_in_snapshot(g, key, w);
    if (count == 0) {
        return 0;
    }
    (*keys)++;
    int error = append64(b, key);
    return error ? error : gossip_holders_append(b, w->holders, count, w->members, w->bytes);
}

int gossip_snapshot_build(struct gossip *g, struct buf *b)
{
    return gossip_snapshot_build_some(g, NULL, b);
}

int gossip_snapshot_build_some(struct gossip *g, const uint8_t *wanted, struct buf *b)
{
    uint8_t format = GOSSIP_BODY_FORMAT;
    uint16_t members = 0;
    uint32_t keys = 0;
    uint64_t key;
    size_t cursor = 0, slots = g->members.slots;
    uint16_t *number = calloc(slots, 2 * sizeof(*number));
    uint8_t *bytes = malloc(slots / 8 + 2);
    struct key_writer w = {
        .number = number, .holders = number ? number + slots : NULL, .bytes = bytes};
    int error = number && bytes ? append(b, &format, 1) : -ENOMEM;
    size_t members_at = b->len;
    error = error ? error : append32(b, 0);
    for (size_t slot = 0; slot < slots && error == 0; slot++) {
        const struct gossip_member *m = g->members.by_slot[slot];
        if (m && in_snapshot(m) && (!wanted || wanted[slot])) {
            error = append_alive(b, g, m);
            members++;
            number[slot] = m->set_boot == m->boot ? members : 0;
        }
    }
    w.members = members;
    size_t keys_at = b->len;
    error = error ? error : append32(b, 0);
    while (error == 0 && gossip_index_next(g->index, &cursor, &key)) {
        error = append_key(b, g, key, &w, &keys);
    }
    if (error == 0) {
        gossip_store32((uint8_t *)b->data + members_at, members);
        gossip_store32((uint8_t *)b->data + keys_at, keys);
    }
    free(number);
    free(bytes);
    return error;
}

int gossip_body_read_alive(struct gossip_reader *r, struct gossip_alive *ret_alive)
{
    uint8_t type;
    struct gossip_reader body;
    int got = gossip_read_message(r, &type, &body);
    if (got != 1 || type != GOSSIP_MSG_ALIVE) {
        return -EPROTO;
    }
    return gossip_alive_read(&body, ret_alive);
}

/* Whether a set at this version would be news about m. */
bool gossip_set_is_news(const struct gossip *g, const struct gossip_member *m,
                        const struct gossip_alive *a)
{
    return m && m != g->me && gossip_member_is_live(m) && m->boot == a->boot &&
           m->salt == a->salt && a->version > 0 && a->count <= LIMIT_GOSSIP_KEYS_PER_MEMBER &&
           (m->set_boot != m->boot || m->version < a->version ||
            (m->version == a->version && m->set_hash != a->hash));
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int gossip_set_apply(struct gossip *g, uint64_t owner, uint64_t teller, const uint8_t *bytes,
                     size_t n)
{
    struct gossip_reader r;
    struct gossip_alive a;
    gossip_reader_init(&r, bytes, n);
    if (gossip_read8(&r) != GOSSIP_BODY_FORMAT || gossip_body_read_alive(&r, &a) || a.id != owner) {
        return -EPROTO;
    }
    size_t count = gossip_read32(&r);
    if (r.failed || count != a.count || gossip_reader_left(&r) / 8 < count) {
        return -EPROTO;
    }
    gossip_hear_alive(g, &a, teller);
    struct gossip_member *m = gossip_members_get(&g->members, owner);
    if (!gossip_set_is_news(g, m, &a)) {
        return 0;
    }
    uint64_t *keys = malloc((count + 1) * sizeof(*keys));
    if (!keys) {
        return -ENOMEM;
    }
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) {
        keys[i] = gossip_read64(&r);
        hash ^= gossip_mix(keys[i]);
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    bool twice = false;
    for (size_t i = 1; i < count; i++) {
        twice = twice || keys[i] == keys[i - 1];
    }
    int error = hash != a.hash || twice ? -EBADMSG : 0;
    if (error) {
        g->stats.hash_mismatches++;
    } else {
        gossip_take_set(g, m, a.version, hash, keys, count);
    }
    free(keys);
    return error;
}
