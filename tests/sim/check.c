/* check.c - the invariants of gossip.md; each names its number there. */
#include "sim.h"

#include "gossip/key.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIOLATIONS_SHOWN 8
#define VERSIONS (1 << 20)
#define SETTLED_US 20000000 /* after a start, a stall or a heal */
#define OUT_MAX_MS 5000
#define STATS_EVERY_US 500000
#define ATTRIBUTIONS 200000 /* look-ups of one check */

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
            memset(s->versions, 0, sizeof(*s->versions)); /* weeks on: begin again */
            s->versions->count = 1;
            at = name % VERSIONS;
        }
        s->versions->slots[at].name = name;
        s->versions->slots[at].hash = v->set_hash;
    } else if (s->versions->slots[at].hash != v->set_hash) {
        sim_violation(s, "two sets of %012llx at version %u", (unsigned long long)v->id,
                      v->version);
    }
}

/* 1: (boot, version) never goes back at a receiver. */
static void check_order(struct sim *s, struct sim_node *n, struct sim_seen *seen,
                        const struct gossip_member_view *v)
{
    if (seen->version &&
        (v->boot_ms < seen->boot || (v->boot_ms == seen->boot && v->version < seen->version))) {
        sim_violation(s, "node %u went back with %012llx: version %u after %u", n->number,
                      (unsigned long long)v->id, v->version, seen->version);
    }
    seen->boot = v->boot_ms;
    seen->version = v->version;
    seen->hash = v->set_hash;
}

static bool is_same_cluster(const struct sim_node *a, const struct sim_node *b)
{
    return a->group == b->group && (a->label == b->label || strcmp(a->label, b->label) == 0);
}

static bool is_settled(const struct sim *s, const struct sim_node *n)
{
    return s->now_us - n->started_us > SETTLED_US && s->now_us - s->calm_us > SETTLED_US &&
           (n->stalled_until_us == 0 || s->now_us > n->stalled_until_us + SETTLED_US) &&
           !n->udp_blocked && !n->leaving;
}

/* 5: a live reachable node is not excluded beyond a bound. Whose set was never fetched is not to be
 * chosen, and nothing is fetched without TCP. */
static void check_chosen(struct sim *s, struct sim_node *n, struct sim_seen *seen,
                         const struct gossip_member_view *v)
{
    struct sim_node *owner = sim_node_of(s, v->id);
    uint32_t now_ms = (uint32_t)sim_ms(s);
    if (!owner || !is_same_cluster(owner, n) || !is_settled(s, owner) || !is_settled(s, n) ||
        (s->net.tcp_blocked && v->version == 0)) {
        seen->out_since_ms = 0;
        return;
    }
    s->pairs_seen++;
    if (v->selectable) {
        seen->out_since_ms = 0;
        return;
    }
    s->pairs_out++;
    if (seen->out_since_ms == 0 || now_ms - seen->seen_ms > OUT_MAX_MS) {
        seen->out_since_ms = now_ms; /* not looked at for long: it may have been in meanwhile */
    }
    uint32_t out_ms = now_ms - seen->out_since_ms;
    s->out_worst_ms = out_ms > s->out_worst_ms ? out_ms : s->out_worst_ms;
    if (out_ms > OUT_MAX_MS) {
        sim_violation(s, "node %u has not chosen the live node %u for long: %s, version %u",
                      n->number, owner->number,
                      v->state == GOSSIP_ALIVE     ? "alive"
                      : v->state == GOSSIP_SUSPECT ? "suspect"
                                                   : "dead",
                      v->version);
        seen->out_since_ms = now_ms;
    }
}

static struct sim_seen *seen_at(struct sim_node *n, size_t place, uint64_t id)
{
    if (place >= n->seen_capacity) {
        size_t capacity = n->seen_capacity ? n->seen_capacity : 32;
        while (capacity <= place) {
            capacity *= 2;
        }
        n->seen = realloc(n->seen, capacity * sizeof(*n->seen));
        CHECK(n->seen);
        memset(n->seen + n->seen_capacity, 0, (capacity - n->seen_capacity) * sizeof(*n->seen));
        n->seen_capacity = capacity;
    }
    struct sim_seen *seen = &n->seen[place];
    if (seen->id != id) { /* a place of somebody forgotten, used again */
        *seen = (struct sim_seen){.id = id};
    }
    return seen;
}

/* 6 and 7: caps, and the bucket; accusations are exempt, so twice the rate bounds it. */
static void check_stats(struct sim *s, struct sim_node *n)
{
    struct gossip_stats *stats = &n->life;
    uint64_t life_ms = (s->now_us - n->started_us) / 1000;
    gossip_stats(n->core, stats);
    size_t members = (size_t)stats->alive + stats->suspect + stats->dead;
    s->rumours_max = stats->rumours > s->rumours_max ? stats->rumours : s->rumours_max;
    s->fetches_max = stats->fetches_open > s->fetches_max ? stats->fetches_open : s->fetches_max;
    s->behind_max = stats->behind > s->behind_max ? stats->behind : s->behind_max;
    if (members > s->node_count * 4 || stats->rumours > LIMIT_GOSSIP_RUMOURS + members + 1) {
        sim_violation(s, "node %u: %zu members, %u rumours", n->number, members, stats->rumours);
    }
    /* Cold rollouts have a cap of their own. */
    if (stats->bytes_out - stats->class_bytes[GOSSIP_CLASS_SWARM] >
        LIMIT_GOSSIP_BUCKET_BYTES + 2 * LIMIT_GOSSIP_BUCKET_BYTES_PER_S * (life_ms + 1000) / 1000) {
        sim_violation(s, "node %u sent %llu bytes in %llu ms", n->number,
                      (unsigned long long)stats->bytes_out, (unsigned long long)life_ms);
    }
}

/* A few members at each step, in turn: all of them each time would be most of the run. */
void sim_check_step(struct sim *s, struct sim_node *n)
{
    struct gossip_member_view v;
    size_t looks = 8 + s->node_count / 64;
    if (s->steps % 4 == 0) {
        for (; looks > 0; looks--) {
            if (!gossip_members(n->core, &n->check_cursor, &v)) {
                n->check_cursor = 0;
                break;
            }
            struct sim_seen *seen = seen_at(n, n->check_cursor - 1, v.id);
            /* What it held when last looked at was checked then. */
            if (v.version && (v.version != seen->version || v.boot_ms != seen->boot ||
                              v.set_hash != seen->hash)) {
                check_version(s, &v);
                check_order(s, n, seen, &v);
            }
            check_chosen(s, n, seen, &v);
            seen->seen_ms = (uint32_t)sim_ms(s);
            if (v.selectable && v.state != GOSSIP_ALIVE && v.state != GOSSIP_SUSPECT) {
                sim_violation(s, "node %u would choose a dead node", n->number);
            }
        }
    }
    if (s->now_us - n->stats_us >= STATS_EVERY_US) {
        n->stats_us = s->now_us;
        check_stats(s, n);
    }
}

/* What is wrong with one node's view, or NULL. */
static const char *view_fault(struct sim *s, struct sim_node *n, size_t wanted, uint64_t *ret_id)
{
    struct gossip_member_view v;
    size_t cursor = 0, right = 0;
    while (gossip_members(n->core, &cursor, &v)) {
        struct sim_node *owner = sim_node_of(s, v.id);
        bool there = owner && is_same_cluster(owner, n);
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
        others += o->core && o != n && is_same_cluster(o, n);
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

void sim_check_done(struct sim *s)
{
    free(s->versions);
}
