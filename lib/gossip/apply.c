/* apply.c - changes of others' sets, in order, all or nothing up to a hash that is known. */
#include "gossip/state.h"

#include <errno.h>

/* What follows the version held, up to one whose hash is known. */
struct run {
    struct gossip_change *changes[LIMIT_GOSSIP_OPS];
    size_t count;
    uint64_t hash; /* of the set, and its keys, after all of it */
    uint32_t keys;
};

/* Whether the set has the key after what was told so far. */
static bool has_after(const struct gossip *g, const struct gossip_member *m, const struct run *r,
                      size_t change, size_t op)
{
    uint64_t key = r->changes[change]->ops[op].key;
    for (;;) {
        while (op > 0) {
            const struct gossip_op *earlier = &r->changes[change]->ops[--op];
            if (earlier->key == key) {
                return !earlier->del;
            }
        }
        if (change == 0) {
            return gossip_index_has(g->index, key, m->slot);
        }
        op = r->changes[--change]->count;
    }
}

/* 1: there is a run, and it fits; 0: there is none; -EBADMSG: it does not fit on what is held. */
static int find_run(struct gossip *g, const struct gossip_member *m, struct run *r)
{
    size_t ops = 0;
    *r = (struct run){.hash = m->set_hash, .keys = m->count};
    while (r->count < LIMIT_GOSSIP_OPS) {
        struct gossip_change *next =
            gossip_changes_get(&g->changes, m->id, m->boot, m->version + 1 + (uint32_t)r->count);
        if (!next) {
            return 0;
        }
        r->changes[r->count++] = next;
        for (size_t i = 0; i < next->count; i++) {
            if (has_after(g, m, r, r->count - 1, i) == next->ops[i].del) {
                r->hash ^= gossip_mix(next->ops[i].key);
                r->keys = next->ops[i].del ? r->keys - 1 : r->keys + 1;
            }
        }
        ops += next->count;
        if (next->has_check) {
            return (uint32_t)r->hash == next->check && r->keys <= LIMIT_GOSSIP_KEYS_PER_MEMBER
                       ? 1
                       : -EBADMSG;
        }
        if (ops > 2 * LIMIT_GOSSIP_OPS) {
            break; /* more than fits a message: two that contradict each other */
        }
    }
    return -EBADMSG;
}

static int apply_one(struct gossip *g, struct gossip_member *m, const struct gossip_change *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct gossip_op *op = &c->ops[i];
        gossip_build_before(g, op->key, m->slot);
        int done = op->del ? gossip_index_remove(g->index, op->key, m->slot)
                           : gossip_index_add(g->index, op->key, m->slot);
        if (done < 0) {
            /* Half applied: forget all of it and start from nothing, so that the hash stays true.
             */
            g->stats.drop_memory++;
            m->count++; /* there is something to clear */
            gossip_drop_set(g, m);
            return done;
        }
        if (done == 1) {
            m->set_hash ^= gossip_mix(op->key);
            m->count = op->del ? m->count - 1 : m->count + 1;
        }
    }
    m->version = c->name.version;
    g->stats.ops_applied++;
    return 0;
}

/* Whatever of the kept changes follows on what is held. Changes that came before their predecessor
 * wait there. -EBADMSG: they do not fit. */
int gossip_apply_waiting(struct gossip *g, struct gossip_member *m)
{
    struct run run;
    int found;
    while ((found = find_run(g, m, &run)) == 1) {
        for (size_t i = 0; i < run.count; i++) {
            struct gossip_change *c = run.changes[i];
            if (apply_one(g, m, c)) {
                return -ENOMEM;
            }
            gossip_changes_pass_on(&g->changes, c, (uint32_t)m->set_hash, false);
        }
        gossip_wake_spreader(g);
    }
    if (found < 0) {
        g->stats.hash_mismatches++;
    }
    gossip_caught_up(g, m);
    return found;
}
