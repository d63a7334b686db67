/* views.c - what nodes believe of one another, against what is so: invariants 3 and 4 of gossip.md,
 * and that the index itself holds what the records beside it sum up. */
#include "sim.h"

#include "gossip/state.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define ATTRIBUTIONS 200000 /* look-ups of one check */
#define LOOKED_UP 20000     /* and of one whether all is found, nodes by nodes */
#define OWNERS_OF 4         /* one key in so many is looked for at its owners */
#define WALKED_NODES 24     /* where views are to be equal, the index of so many is walked */

/* --- the index of one node, against its own records --- */

struct column { /* what the index names one slot for */
    uint64_t hash;
    uint32_t count;
};

/* 3: no key is attributed to an owner that never announced it: some of the keys, others each time.
 */
static void check_owners(struct sim *s, const struct sim_node *n, uint64_t key,
                         const uint16_t *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct gossip_member *m = n->core->members.by_slot[slots[i]];
        const struct sim_node *owner = m ? sim_node_of(s, m->id) : NULL;
        if (owner && m->set_boot == gossip_identity(owner->core).boot_ms &&
            !sim_keys_has(&owner->ever, key)) {
            sim_violation(s, "node %u has in its index what node %u never announced", n->number,
                          owner->number);
        }
    }
}

static void sum_columns(struct sim *s, const struct sim_node *n, struct column *columns,
                        uint16_t *slots)
{
    const struct gossip *g = n->core;
    struct gossip_index_scan scan = {0};
    uint64_t key;
    int got;
    (void)gossip_index_scan_resume(g->index, &scan);
    while ((got = gossip_index_scan_next(g->index, &scan, &key)) >= 0) {
        size_t count = got ? gossip_index_scan_all(&scan, slots) : 0;
        uint64_t hash = gossip_mix(key);
        if ((hash ^ s->now_us >> 10) % OWNERS_OF == 0) {
            check_owners(s, n, key, slots, count);
        }
        for (size_t i = 0; i < count; i++) {
            CHECK(slots[i] < g->members.slots);
            columns[slots[i]].hash ^= hash;
            columns[slots[i]].count++;
        }
    }
}

/* Of every slot: also of those departed, forgotten or free, which hold what was kept, or nothing.
 * A set that is just being taken has its keys already, its record not yet. */
void sim_check_index(struct sim *s, struct sim_node *n, const char *when)
{
    const struct gossip *g = n->core;
    struct column *columns = calloc(g->members.slots, sizeof(*columns));
    uint16_t *slots = calloc(g->members.slots, sizeof(*slots));
    CHECK(columns && slots);
    sum_columns(s, n, columns, slots);
    for (size_t slot = 0; slot < g->members.slots; slot++) {
        const struct gossip_member *m = g->members.by_slot[slot];
        uint64_t hash = m ? m->set_hash : 0;
        uint32_t count = m ? m->count : 0;
        if ((!m || !m->taking) && (columns[slot].count != count || columns[slot].hash != hash)) {
            sim_violation(s, "%s: node %u has %u keys of %012llx in its index, %u by its record%s",
                          when, n->number, columns[slot].count, (unsigned long long)(m ? m->id : 0),
                          count, columns[slot].count == count ? ", others" : "");
        }
    }
    free(columns);
    free(slots);
}

/* --- one node's index, against what another has and had --- */

/* So many of the owner's keys from anywhere on, and of those it ever had and has no more. */
static void check_pair(struct sim *s, struct sim_node *asker, struct sim_node *owner, size_t keys,
                       const char *when)
{
    const struct gossip_member *m = gossip_members_get(&asker->core->members, owner->id);
    const struct gossip_index *x = asker->core->index;
    const struct sim_keys *held = &owner->held, *ever = &owner->ever;
    size_t from = (size_t)gossip_mix(s->now_us ^ (uint64_t)asker->number << 32 ^ owner->number);
    for (size_t k = 0; m && k < keys && k < held->count; k++) {
        uint64_t key = held->keys[(from + k) % held->count];
        if (!gossip_index_has(x, key, m->slot)) {
            sim_violation(s, "%s: node %u does not find a key of node %u", when, asker->number,
                          owner->number);
            return;
        }
    }
    for (size_t k = 0; m && k < keys && k < ever->count; k++) {
        uint64_t key = ever->keys[(from + k) % ever->count];
        if (gossip_index_has(x, key, m->slot) && !sim_keys_has(held, key)) {
            sim_violation(s, "%s: node %u finds a key that node %u has no more", when,
                          asker->number, owner->number);
            return;
        }
    }
}

/* All pairs of a small cluster with all of their keys, some of both of a large one: others each
 * time, and without taking from the chance that the story is made of. */
static void check_found(struct sim *s, const char *when)
{
    size_t askers = s->node_count < WALKED_NODES ? s->node_count : WALKED_NODES;
    size_t first = (size_t)gossip_mix(s->now_us);
    size_t keys = 1 + LOOKED_UP / 2 / (askers * s->node_count);
    for (size_t a = 0; a < askers; a++) {
        struct sim_node *asker = &s->nodes[(first + a) % s->node_count];
        if (!asker->core) {
            continue;
        }
        sim_check_index(s, asker, when);
        for (size_t o = 0; o < s->node_count; o++) {
            struct sim_node *owner = &s->nodes[o];
            if (owner->core && sim_same_cluster(asker, owner)) {
                check_pair(s, asker, owner, keys, when);
            }
        }
    }
}

/* --- all of them --- */

/* What is wrong with one node's view, or NULL. */
static const char *view_fault(struct sim *s, struct sim_node *n, size_t wanted, uint64_t *ret_id)
{
    struct gossip_member_view v;
    size_t cursor = 0, right = 0;
    while (gossip_members(n->core, &cursor, &v)) {
        struct sim_node *owner = sim_node_of(s, v.id);
        bool there = owner && sim_same_cluster(owner, n);
        *ret_id = v.id;
        if (!there) {
            if (v.selectable) {
                return "would choose one that is not there";
            }
            continue;
        }
        if (v.state != GOSSIP_ALIVE) {
            return "does not know alive";
        }
        if (v.boot_ms != gossip_identity(owner->core).boot_ms) {
            return "knows an earlier life of";
        }
        if (v.keys != owner->held.count || v.set_hash != owner->held.hash || !v.selectable) {
            return "has another set of";
        }
        right++;
    }
    *ret_id = 0;
    return right == wanted ? NULL : "does not know all";
}

/* How many others a node should know. */
static size_t others_of(struct sim *s, const struct sim_node *n)
{
    size_t others = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        const struct sim_node *o = &s->nodes[i];
        others += o->core && o != n && sim_same_cluster(o, n);
    }
    return others;
}

bool sim_views_equal(struct sim *s)
{
    uint64_t id;
    for (size_t k = 0; k < s->node_count; k++) {
        /* Where it was not equal a moment ago it is most likely not equal now. */
        size_t i = (s->faulty + k) % s->node_count;
        struct sim_node *n = &s->nodes[i];
        if (n->core && view_fault(s, n, others_of(s, n), &id)) {
            s->faulty = i;
            return false;
        }
    }
    return true;
}

/* 4: after quiescence or heal, all connected live views are equal, and right. */
void sim_check_views_equal(struct sim *s, const char *when)
{
    for (size_t i = 0; i < s->node_count; i++) {
        uint64_t id = 0;
        struct sim_node *n = &s->nodes[i];
        const char *fault = n->core ? view_fault(s, n, others_of(s, n), &id) : NULL;
        if (fault) {
            sim_violation(s, "%s: node %zu %s %012llx", when, i, fault, (unsigned long long)id);
        }
    }
    check_found(s, when);
    sim_check_attribution(s);
}

/* 3: no key is attributed to an owner that never announced it. */
void sim_check_attribution(struct sim *s)
{
    struct gossip_holder holders[64];
    size_t askers = s->node_count < 20 ? s->node_count : 20;
    size_t keys_of_each = 1 + ATTRIBUTIONS / 20 / (s->node_count * askers);
    for (size_t owner = 0; owner < s->node_count; owner++) {
        const struct sim_keys *keys = &s->nodes[owner].ever;
        for (size_t k = 0; k < keys->count; k += 1 + keys->count / keys_of_each) {
            for (size_t a = 0; a < askers; a++) {
                size_t i = s->node_count <= askers ? a : sim_random(s) % s->node_count;
                size_t count = s->nodes[i].core
                                   ? gossip_lookup(s->nodes[i].core, keys->keys[k], holders, 64)
                                   : 0;
                for (size_t h = 0; h < count; h++) {
                    struct sim_node *holder = sim_node_of(s, holders[h].id);
                    if (holder && !sim_keys_has(&holder->ever, keys->keys[k])) {
                        sim_violation(s, "node %zu believes node %u has what it never announced", i,
                                      holder->number);
                    }
                }
            }
        }
    }
}
