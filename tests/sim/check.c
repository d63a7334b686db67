/* check.c - the invariants of gossip.md; each names its number there. */
#include "sim.h"

#include "gossip/key.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIOLATIONS_SHOWN 8
#define VERSIONS (1 << 18)
#define SETTLED_US 20000000 /* after a start, a stall or a heal */
#define OUT_MAX_US 5000000

/* The hash of every (owner, boot, version) that anybody was seen to hold. */
struct sim_versions {
    struct {
        uint64_t name, hash;
    } slots[VERSIONS];
    size_t count;
};

void sim_violation(struct sim *s, const char *format, ...)
{
    if (s->violations++ < VIOLATIONS_SHOWN) {
        va_list args;
        va_start(args, format);
        printf("  violation at %llu ms: ", (unsigned long long)sim_ms(s));
        vprintf(format, args);
        printf("\n");
        va_end(args);
    }
}

/* 2: equal (boot, version) means equal sets. */
static void check_version(struct sim *s, const struct gossip_member_view *v)
{
    if (!s->versions) {
        s->versions = calloc(1, sizeof(*s->versions));
        CHECK(s->versions);
    }
    uint64_t name = gossip_mix(v->id ^ gossip_mix(v->boot_ms ^ gossip_mix(v->version))) | 1;
    size_t at = name % VERSIONS;
    while (s->versions->slots[at].name && s->versions->slots[at].name != name) {
        at = (at + 1) % VERSIONS;
    }
    if (!s->versions->slots[at].name) {
        if (++s->versions->count > VERSIONS / 2) {
            return;
        }
        s->versions->slots[at].name = name;
        s->versions->slots[at].hash = v->set_hash;
    } else if (s->versions->slots[at].hash != v->set_hash) {
        sim_violation(s, "two sets of %012llx at version %u", (unsigned long long)v->id,
                      v->version);
    }
}

/* 1: (boot, version) never goes back at a receiver. */
static void check_order(struct sim *s, struct sim_node *n, const struct gossip_member_view *v)
{
    struct sim_seen *seen = NULL;
    for (size_t i = 0; i < n->seen_count && !seen; i++) {
        seen = n->seen[i].id == v->id ? &n->seen[i] : NULL;
    }
    if (!seen) {
        if (n->seen_count < SIM_NODES_MAX * 2) {
            n->seen[n->seen_count++] =
                (struct sim_seen){.id = v->id, .boot = v->boot_ms, .version = v->version};
        }
        return;
    }
    if (v->boot_ms < seen->boot || (v->boot_ms == seen->boot && v->version < seen->version)) {
        sim_violation(s, "node %u went back with %012llx: version %u after %u", n->number,
                      (unsigned long long)v->id, v->version, seen->version);
    }
    seen->boot = v->boot_ms;
    seen->version = v->version;
}

static struct sim_node *node_of(struct sim *s, uint64_t id)
{
    for (size_t i = 0; i < s->node_count; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->core && gossip_identity(n->core).id == id) {
            return n;
        }
    }
    return NULL;
}

static bool is_settled(const struct sim *s, const struct sim_node *n)
{
    return s->now_us - n->started_us > SETTLED_US && s->now_us - s->calm_us > SETTLED_US &&
           (n->stalled_until_us == 0 || s->now_us > n->stalled_until_us + SETTLED_US);
}

/* 5: a live reachable node is not excluded beyond a bound. */
static void check_chosen(struct sim *s, struct sim_node *n, const struct gossip_member_view *v)
{
    struct sim_node *owner = node_of(s, v->id);
    struct sim_seen *seen = NULL;
    for (size_t i = 0; i < n->seen_count && !seen; i++) {
        seen = n->seen[i].id == v->id ? &n->seen[i] : NULL;
    }
    if (!seen || !owner || owner->group != n->group || !is_settled(s, owner) || !is_settled(s, n)) {
        return;
    }
    s->pairs_seen++;
    if (v->selectable) {
        seen->out_since_us = 0;
        return;
    }
    s->pairs_out++;
    if (seen->out_since_us == 0) {
        seen->out_since_us = s->now_us;
    } else if (s->now_us - seen->out_since_us > OUT_MAX_US) {
        sim_violation(s, "node %u has not chosen the live node %u for long: %s, version %u",
                      n->number, owner->number,
                      v->state == GOSSIP_ALIVE     ? "alive"
                      : v->state == GOSSIP_SUSPECT ? "suspect"
                                                   : "dead",
                      v->version);
        seen->out_since_us = s->now_us;
    }
}

void sim_check_step(struct sim *s, struct sim_node *n)
{
    struct gossip_member_view v;
    struct gossip_stats stats;
    size_t cursor = 0, members = 0;
    if (s->steps % 4) { /* all of it at every step would be most of the run */
        return;
    }
    while (gossip_members(n->core, &cursor, &v)) {
        members++;
        if (v.version) {
            check_version(s, &v);
            check_order(s, n, &v);
        }
        check_chosen(s, n, &v);
        if (v.selectable && v.state != GOSSIP_ALIVE && v.state != GOSSIP_SUSPECT) {
            sim_violation(s, "node %u would choose a dead node", n->number);
        }
    }
    gossip_stats(n->core, &stats);
    uint64_t life_ms = (s->now_us - n->started_us) / 1000;
    /* 6 and 7: caps, and the bucket; accusations are exempt, so twice the rate bounds it. */
    if (members > s->node_count * 4 || stats.rumours > LIMIT_GOSSIP_LOG_RECORDS + members + 1) {
        sim_violation(s, "node %u: %zu members, %u rumours", n->number, members, stats.rumours);
    }
    if (stats.bytes_out >
        LIMIT_GOSSIP_BUCKET_BYTES + 2 * LIMIT_GOSSIP_BUCKET_BYTES_PER_S * (life_ms + 1000) / 1000) {
        sim_violation(s, "node %u sent %llu bytes in %llu ms", n->number,
                      (unsigned long long)stats.bytes_out, (unsigned long long)life_ms);
    }
}

static uint64_t hash_of(const struct sim_keys *k)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < k->count; i++) {
        hash ^= gossip_mix(k->keys[i]);
    }
    return hash;
}

/* What is wrong with one node's view, or NULL. */
static const char *view_fault(struct sim *s, struct sim_node *n, uint64_t *ret_id)
{
    struct gossip_member_view v;
    size_t cursor = 0, right = 0, wanted = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        wanted += s->nodes[i].core && &s->nodes[i] != n && s->nodes[i].group == n->group;
    }
    while (gossip_members(n->core, &cursor, &v)) {
        struct sim_node *owner = node_of(s, v.id);
        bool there = owner && owner->group == n->group;
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
        if (v.keys != owner->held.count || v.set_hash != hash_of(&owner->held) || !v.selectable) {
            return "has another set of";
        }
        right++;
    }
    *ret_id = 0;
    return right == wanted ? NULL : "does not know all";
}

bool sim_views_equal(struct sim *s)
{
    uint64_t id;
    for (size_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].core && view_fault(s, &s->nodes[i], &id)) {
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
        const char *fault = s->nodes[i].core ? view_fault(s, &s->nodes[i], &id) : NULL;
        if (fault) {
            sim_violation(s, "%s: node %zu %s %012llx", when, i, fault, (unsigned long long)id);
        }
    }
    sim_check_attribution(s);
}

/* 3: no key is attributed to an owner that never announced it. */
void sim_check_attribution(struct sim *s)
{
    struct gossip_holder holders[64];
    for (size_t owner = 0; owner < s->node_count; owner++) {
        const struct sim_keys *keys = &s->nodes[owner].ever;
        for (size_t k = 0; k < keys->count; k += 1 + keys->count / 20) {
            for (size_t i = 0; i < s->node_count; i++) {
                size_t count = s->nodes[i].core
                                   ? gossip_lookup(s->nodes[i].core, keys->keys[k], holders, 64)
                                   : 0;
                for (size_t h = 0; h < count; h++) {
                    struct sim_node *holder = node_of(s, holders[h].id);
                    if (holder && !sim_keys_has(&holder->ever, keys->keys[k])) {
                        sim_violation(s, "node %zu believes node %u has what it never announced", i,
                                      holder->number);
                    }
                }
            }
        }
    }
}

void sim_check_done(struct sim *s)
{
    free(s->versions);
}
