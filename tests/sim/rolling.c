/* rolling.c - a rolling restart: what comes back is found again in time, and no set travels twice.
 *
 * check.c leaves out what happens to a node in its first 20 s; here exactly that is judged. */
#include "sim.h"

#include "gossip/state.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define AWAY_MS 3000
#define BETWEEN_MS 2000 /* from the start of some until the next leave */
#define LOOK_EVERY_MS 20
#define BATCHES_WATCHED 4 /* for as long as check.c does not look at them */

/* --- which sets came over HTTP --- */

struct sim_taken {
    struct sim_keys sets; /* one number for an owner and the hash of its set */
    uint64_t life_us;     /* of the process that they came to */
};

static struct sim_keys *taken_by(struct sim *s, const struct sim_node *n)
{
    struct sim_taken *t = &s->taken[n->number];
    if (t->life_us != n->started_us) {
        t->life_us = n->started_us;
        t->sets.count = 0;
    }
    return &t->sets;
}

static uint64_t name_of(uint64_t owner, uint64_t hash)
{
    return gossip_mix(gossip_mix(owner) ^ hash);
}

/* The newest snapshot that was built says which sets are in it: those that changed or went while it
 * was built are not. */
static void note_snapshot(struct sim_keys *sets, const struct gossip *server)
{
    const struct gossip_build *snapshot = NULL;
    struct gossip_reader r;
    LIST_EACH (link, &server->built) {
        const struct gossip_build *b = CONTAINER_OF(link, struct gossip_build, link);
        snapshot = b->purpose == GOSSIP_FOR_SNAPSHOT && !b->error ? b : snapshot;
    }
    CHECK(snapshot);
    gossip_reader_init(&r, (const uint8_t *)snapshot->plain.data, snapshot->plain.len);
    (void)gossip_read8(&r);
    for (uint32_t left = gossip_read32(&r); left > 0; left--) {
        struct gossip_alive alive;
        CHECK(gossip_body_read_alive(&r, &alive) == 0);
        if (alive.version) {
            sim_keys_add(sets, name_of(alive.id, alive.hash));
        }
    }
}

void sim_note_taken(struct sim *s, const struct sim_node *asker, const struct sim_node *server,
                    const char *path)
{
    struct sim_keys *sets = taken_by(s, asker);
    const char *id_text = strstr(path, "/set/");
    if (!id_text) {
        note_snapshot(sets, server->core);
        return;
    }
    uint64_t id = strtoull(id_text + strlen("/set/"), NULL, 16);
    const struct gossip_member *m = gossip_members_get(&server->core->members, id);
    uint64_t name = m ? name_of(id, m->set_hash) : 0;
    if (m && sim_keys_has(sets, name)) {
        sim_violation(s, "node %u was given the set of %012llx twice", asker->number,
                      (unsigned long long)id);
    }
    if (m) {
        sim_keys_add(sets, name);
    }
}

/* All hold all sets: whatever the first lives fetch is too much. */
static void begin_taken(struct sim *s)
{
    s->taken = calloc(s->node_count, sizeof(*s->taken));
    CHECK(s->taken);
    for (size_t i = 0; i < s->node_count; i++) {
        struct sim_keys *sets = taken_by(s, &s->nodes[i]);
        for (size_t k = 0; k < s->node_count; k++) {
            sim_keys_add(sets, name_of(s->nodes[k].id, s->nodes[k].held.hash));
        }
    }
}

static void end_taken(struct sim *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        free(s->taken[i].sets.keys);
    }
    free(s->taken);
    s->taken = NULL;
}

/* --- who is found --- */

struct batch {
    size_t first, end; /* nodes that were started together */
    uint64_t start_ms;
    bool *found; /* of each of them by each node */
};

static bool asks(const struct sim *s, size_t asker, size_t owner)
{
    const struct sim_node *n = &s->nodes[asker];
    return asker != owner && n->core && !n->leaving;
}

/* Samples how long after its start each of them was first found at each other node. */
static void look(struct sim *s, struct batch *b)
{
    for (size_t owner = b->first; owner < b->end; owner++) {
        const struct sim_node *o = &s->nodes[owner];
        for (size_t i = 0; i < s->node_count; i++) {
            bool *found = &b->found[(owner - b->first) * s->node_count + i];
            if (!*found && asks(s, i, owner) && sim_finds(s, i, o->own_key, o->id)) {
                *found = true;
                sim_sample(&s->visibility, sim_ms(s) - b->start_ms);
            }
        }
    }
}

static void run_and_look(struct sim *s, struct batch *b, uint64_t ms)
{
    for (; ms > 0; ms -= LOOK_EVERY_MS) {
        sim_run(s, LOOK_EVERY_MS);
        look(s, b);
    }
}

/* 5 s after the start of a batch: everybody finds each of it and of those shortly before, and each
 * of it finds everybody. */
static void judge(struct sim *s, const struct batch *b)
{
    size_t before = (BATCHES_WATCHED - 1) * (b->end - b->first);
    for (size_t owner = 0; owner < s->node_count; owner++) {
        const struct sim_node *o = &s->nodes[owner];
        bool watched = owner < b->end && owner + before >= b->first;
        if (!o->core || o->leaving) {
            continue;
        }
        for (size_t i = watched ? 0 : b->first; i < (watched ? s->node_count : b->end); i++) {
            if (asks(s, i, owner) && !sim_finds(s, i, o->own_key, o->id)) {
                sim_violation(s, "node %zu does not find node %zu, started %llu ms ago", i, owner,
                              (unsigned long long)(s->now_us - o->started_us) / 1000);
            }
        }
    }
}

static void start(struct sim *s, struct batch *b, size_t first, size_t end)
{
    b->first = first;
    b->end = end;
    b->start_ms = sim_ms(s);
    memset(b->found, 0, (end - first) * s->node_count * sizeof(*b->found));
    for (size_t i = first; i < end; i++) {
        sim_start(s, i, 5);
    }
}

/* Twenty of a thousand at a time: each says goodbye, is away for three seconds, comes back with
 * what it had. */
void sim_run_rolling(struct sim *s)
{
    size_t at_once = s->node_count / 50 ? s->node_count / 50 : 1;
    struct batch b = {.found = calloc(at_once * s->node_count, sizeof(*b.found))};
    CHECK(b.found);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_add_random(s, i, 150);
    }
    sim_grow(s);
    begin_taken(s);
    sim_run(s, 5000);
    for (size_t first = 0; first < s->node_count; first += at_once) {
        size_t end = first + at_once < s->node_count ? first + at_once : s->node_count;
        for (size_t i = first; i < end; i++) {
            sim_leave(s, i);
        }
        run_and_look(s, &b, AWAY_MS);
        if (first > 0) {
            judge(s, &b);
        }
        start(s, &b, first, end);
        run_and_look(s, &b, BETWEEN_MS);
    }
    run_and_look(s, &b, AWAY_MS);
    judge(s, &b);
    free(b.found);
    sim_measure_heal(s, SIM_HEALED_MS, "after a rolling restart");
    /* A new process takes one snapshot, and the sets of those that were away with it. */
    for (size_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].fetched_sets >= at_once) {
            sim_violation(s, "node %zu fetched %llu sets although none changed", i,
                          (unsigned long long)s->nodes[i].fetched_sets);
        }
    }
    sim_settle(s);
    end_taken(s);
}
