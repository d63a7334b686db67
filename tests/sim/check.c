/* check.c - the invariants of gossip.md; each names its number there. */
#include "sim.h"

#include "gossip/state.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIOLATIONS_SHOWN 8
#define VERSIONS (1 << 20)
#define SETTLED_US 20000000 /* after a start, a stall or a heal */
#define OUT_MAX_MS 5000
#define GONE_US 200000000
#define STATS_EVERY_US 500000
/* The core's bucket, and what pings and their answers overdraw it by; and challenges beside it, two
 * seconds' worth of which may meet at the turn of a second. */
#define BURST_BYTES_MAX (LIMIT_GOSSIP_BUCKET_BYTES * 5 / 4 + 2 * LIMIT_GOSSIP_CHALLENGES_PER_S * 64)
#define INDEX_EVERY_US 1200000000 /* a walk over all of it */

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

bool sim_same_cluster(const struct sim_node *a, const struct sim_node *b)
{
    return a->group == b->group && (a->label == b->label || strcmp(a->label, b->label) == 0);
}

static bool is_settled(const struct sim *s, const struct sim_node *n)
{
    return s->now_us - n->started_us > SETTLED_US && s->now_us - s->calm_us > SETTLED_US &&
           (n->stalled_until_us == 0 || s->now_us > n->stalled_until_us + SETTLED_US) &&
           !n->udp_blocked && !n->leaving;
}

/* 5: a departed one never returns: whoever has been dead for longer than anybody takes to notice,
 * two minutes where there is no UDP, is chosen by nobody. */
static void check_gone(struct sim *s, struct sim_node *n, const struct gossip_member_view *v)
{
    for (size_t i = 0; i < s->node_count; i++) {
        const struct sim_node *gone = &s->nodes[i];
        if (gone->id == v->id && !gone->core && s->now_us - gone->ended_us > GONE_US) {
            sim_violation(s, "node %u would choose node %u, dead for %llu s", n->number,
                          gone->number, (unsigned long long)(s->now_us - gone->ended_us) / 1000000);
        }
    }
}

/* 5: a live reachable node is not excluded beyond a bound. Whose set was never fetched is not to be
 * chosen, and nothing is fetched without TCP. */
static void check_chosen(struct sim *s, struct sim_node *n, struct sim_seen *seen,
                         const struct gossip_member_view *v)
{
    struct sim_node *owner = sim_node_of(s, v->id);
    uint32_t now_ms = (uint32_t)sim_ms(s);
    if (!owner && v->selectable && is_settled(s, n) && s->now_us - n->unsure_us > SETTLED_US) {
        check_gone(s, n, v);
    }
    if (!owner || !sim_same_cluster(owner, n) || !is_settled(s, owner) || !is_settled(s, n) ||
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

/* 7: what was sent leaks out of a bucket of the allowed size at twice the allowed rate, so that no
 * stretch of any length may exceed it, weeks on as in the first second. Twice: pings, answers and
 * accusations are not held back, and may come to as much again as the rumours that are. Cold
 * rollouts have a cap of their own. */
static void check_bucket(struct sim *s, struct sim_node *n)
{
    uint64_t sent = n->life.bytes_out - n->life.class_bytes[GOSSIP_CLASS_SWARM];
    uint64_t leaked = 2 * LIMIT_GOSSIP_BUCKET_BYTES_PER_S * (s->now_us - n->bucket.us) / 1000000;
    uint64_t rate_s = (sent - n->bucket.sent) * 1000000 / (s->now_us - n->bucket.us);
    s->peak_bytes_s = rate_s > s->peak_bytes_s ? rate_s : s->peak_bytes_s;
    n->bucket.level += sent - n->bucket.sent;
    n->bucket.level = n->bucket.level > leaked ? n->bucket.level - leaked : 0;
    n->bucket.sent = sent;
    n->bucket.us = s->now_us;
    if (n->bucket.level > BURST_BYTES_MAX) {
        sim_violation(s, "node %u sent %llu bytes more than it may", n->number,
                      (unsigned long long)n->bucket.level);
        n->bucket.level = 0;
    }
}

/* 6: caps. Fetches are counted when there are more than before. */
void sim_check_queues(struct sim *s, const struct sim_node *n)
{
    const struct gossip *g = n->core;
    size_t rumours = g->rumour_count + g->changes.rumours, bytes = g->changes.bytes;
    uint32_t fetches = 0;
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES && s->effects.fetch_count > 0; i++) {
        fetches += g->fetches[i].id != 0;
    }
    s->rumours_max = rumours > s->rumours_max ? (uint32_t)rumours : s->rumours_max;
    s->change_bytes_max = bytes > s->change_bytes_max ? (uint32_t)bytes : s->change_bytes_max;
    s->fetches_max = fetches > s->fetches_max ? fetches : s->fetches_max;
    if (g->changes.rumours > LIMIT_GOSSIP_RUMOURS || g->rumour_count > g->members.count ||
        g->changes.by_name.count > LIMIT_GOSSIP_RUMOURS || bytes > LIMIT_GOSSIP_RUMOUR_BYTES ||
        s->effects.fetch_count > fetches) {
        sim_violation(s, "node %u: %zu rumours, %zu changes of %zu kept in %zu bytes, %u fetches",
                      n->number, g->rumour_count, g->changes.rumours, g->changes.by_name.count,
                      bytes, fetches);
    }
}

static void check_stats(struct sim *s, struct sim_node *n)
{
    struct gossip_stats *stats = &n->life;
    gossip_stats(n->core, stats);
    size_t members = (size_t)stats->alive + stats->suspect + stats->dead;
    sim_note_sizes(s, stats);
    s->behind_max = stats->behind > s->behind_max ? stats->behind : s->behind_max;
    if (members > s->ids) {
        sim_violation(s, "node %u: %zu members of %zu", n->number, members, s->ids);
    }
    check_bucket(s, n);
}

/* 7: an address at which nobody has proved to be gets at most three times what it seemed to send.
 */
void sim_check_amplified(struct sim *s, const struct sim_item *item)
{
    size_t bytes = 0;
    for (size_t i = 0; item->stolen && i < s->effects.send_count; i++) {
        bool back = gossip_addr_equal(&s->effects.sends[i].to, &item->from);
        bytes += back ? s->effects.sends[i].len : 0;
    }
    if (bytes > 3 * item->len) {
        sim_violation(s, "node %u answered %zu bytes with %zu", item->node, item->len, bytes);
    }
}

/* A few members at each step, in turn: all of them each time would be most of the run. */
void sim_check_step(struct sim *s, struct sim_node *n)
{
    struct gossip_member_view v;
    /* Who hears nobody over UDP judges nobody, and believes others who may hear nobody either. */
    n->unsure_us = n->core->udp == GOSSIP_UDP_OPEN ? n->unsure_us : s->now_us;
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
        if (s->now_us >= n->index_us) {
            n->index_us = s->now_us + INDEX_EVERY_US;
            sim_check_index(s, n, "now and then");
        }
    }
}

void sim_check_done(struct sim *s)
{
    free(s->versions);
}
