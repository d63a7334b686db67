/* body.c - sets and snapshots as they travel over HTTP, inside the envelope of seal.h: their
 * formats, and the smaller one taken. build.c builds both, take.c takes snapshots.
 *
 *     set       format u8 | ALIVE message | keys u32 | key u64 ...
 *     snapshot  format u8 | members u32 | ALIVE message ... |
 *               keys u32 | (key u64 | holders, see holders.h) ...
 *
 * A holder is the number of an ALIVE above, from 0; each stands once for a key, and each key once.
 */
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
