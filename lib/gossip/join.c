/* join.c - finding the cluster, and finding it again for ever. */
#include "gossip/state.h"

#include <stdlib.h>

#define SEEDS_AT_ONCE_MIN 5 /* twice as many each time: most may be of the Go implementation */
#define SEEDS_AT_ONCE_MAX 80
#define SEED_WAIT_MIN_MS 50
#define SEED_WAIT_MAX_MS 10000
#define STRANGER_MS 5000
#define STRANGERS_AT_ONCE 5
#define UNANSWERED_MS 900    /* by whom was asked */
#define NO_SEEDS_MS 2000     /* nobody to ask: no name was resolved */
#define NO_SNAPSHOT_MS 10000 /* answers, but no bulk: ready all the same, failing open */
#define SNAPSHOT_WAIT_MIN_MS 100
#define SNAPSHOT_WAIT_MAX_MS 5000
#define UNSETTLED_TRIES 4 /* whose set is not to be had even so: look-ups do not wait for it */

static bool is_own_addr(const struct gossip *g, const struct gossip_addr *a)
{
    return a->port == g->self.gossip_port && (gossip_addr_same_host(a, &g->self.addrs[0]) ||
                                              gossip_addr_same_host(a, &g->self.addrs[1]));
}

/* --- the bootstrap addresses, thousands where a Service names every instance --- */

static int compare_seeds(const void *a, const void *b)
{
    const struct gossip_seed *const *x = a, *const *y = b;
    return gossip_addr_compare(&(*x)->addr, &(*y)->addr);
}

/* Where in seeds_by_addr the first of an address is, or would be. */
static size_t find_seed(const struct gossip *g, const struct gossip_addr *addr)
{
    size_t low = 0, high = g->seed_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (gossip_addr_compare(&g->seeds_by_addr[middle]->addr, addr) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_seed_at(const struct gossip *g, size_t at, const struct gossip_addr *addr)
{
    return at < g->seed_count && gossip_addr_equal(&g->seeds_by_addr[at]->addr, addr);
}

static void replace_seeds(struct gossip *g, struct gossip_seed *seeds, struct gossip_seed **by_addr,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        by_addr[i] = &seeds[i];
    }
    qsort(by_addr, count, sizeof(struct gossip_seed *), compare_seeds);
    free(g->seeds);
    free(g->seeds_by_addr);
    g->seeds = seeds;
    g->seeds_by_addr = by_addr;
    g->seed_count = count;
    g->seeds_known = true;
}

void gossip_take_seeds(struct gossip *g, const struct gossip_addr *addrs, size_t count)
{
    struct gossip_seed *seeds = calloc(count + 1, sizeof(*seeds));
    struct gossip_seed **by_addr = calloc(count + 1, sizeof(struct gossip_seed *));
    size_t kept = 0;
    bool news = !g->seeds_known;
    if (!seeds || !by_addr) {
        free(seeds);
        free(by_addr);
        g->stats.drop_memory++;
        return;
    }
    for (size_t i = 0; i < count && kept < LIMIT_GOSSIP_SEEDS; i++) {
        size_t at = find_seed(g, &addrs[i]);
        bool known = is_seed_at(g, at, &addrs[i]);
        seeds[kept] = known ? *g->seeds_by_addr[at] : (struct gossip_seed){.addr = addrs[i]};
        news = news || !known;
        kept += addrs[i].family != GOSSIP_NO_ADDR && addrs[i].port != 0;
    }
    replace_seeds(g, seeds, by_addr, kept);
    if (news && g->now_ms + UNANSWERED_MS <= g->started_ms + NO_SEEDS_MS) {
        g->asked_ms = GOSSIP_NEVER_MS; /* they are to have as long as the others had */
    }
    if (news && !g->snapshot_applied) {
        g->seed_wait_ms = SEED_WAIT_MIN_MS;
        g->seeds_at_once = SEEDS_AT_ONCE_MIN;
        g->next_seed_ms = g->now_ms;
    }
}

void gossip_seed_is_us(struct gossip *g, const struct gossip_addr *from)
{
    for (size_t i = 0; i < g->seed_count; i++) {
        if (gossip_addr_equal(&g->seeds[i].addr, from)) {
            g->seeds[i].is_us = true;
        }
    }
}

static bool seed_is_us(const struct gossip *g, const struct gossip_seed *seed)
{
    return seed->is_us || is_own_addr(g, &seed->addr);
}

/* The one asked least, from a random place on: sorted-and-first makes hot spots. */
static struct gossip_seed *next_seed(struct gossip *g)
{
    size_t start = g->seed_count ? (size_t)(gossip_random(g) % g->seed_count) : 0;
    struct gossip_seed *found = NULL;
    for (size_t i = 0; i < g->seed_count && (!found || found->asked > 0); i++) {
        struct gossip_seed *seed = &g->seeds[(start + i) % g->seed_count];
        if (!seed_is_us(g, seed) && (!found || seed->asked < found->asked)) {
            found = seed;
        }
    }
    return found;
}

static void ping_seeds(struct gossip *g)
{
    size_t others = 0;
    for (size_t i = 0; i < g->seed_count; i++) {
        others += !seed_is_us(g, &g->seeds[i]);
    }
    size_t at_once = g->seeds_at_once < others ? g->seeds_at_once : others;
    for (size_t i = 0; i < at_once; i++) {
        struct gossip_seed *seed = next_seed(g);
        if (!seed) {
            return;
        }
        gossip_ping_stranger(g, &seed->addr);
        seed->asked++;
        if (g->asked_ms == GOSSIP_NEVER_MS) {
            g->asked_ms = g->udp_ms = g->now_ms; /* nobody can have answered before */
        }
    }
    g->seeds_at_once =
        g->seeds_at_once * 2 < SEEDS_AT_ONCE_MAX ? g->seeds_at_once * 2 : SEEDS_AT_ONCE_MAX;
}

const struct gossip_addr *gossip_random_seed(struct gossip *g)
{
    size_t start = g->seed_count ? (size_t)(gossip_random(g) % g->seed_count) : 0;
    for (size_t i = 0; i < g->seed_count; i++) {
        const struct gossip_seed *seed = &g->seeds[(start + i) % g->seed_count];
        if (!seed_is_us(g, seed)) {
            return &seed->addr;
        }
    }
    return NULL;
}

/* --- the snapshot --- */

void gossip_seed_answered(struct gossip *g, uint64_t sender)
{
    gossip_udp_answered(g);
    g->answered_ms = g->seed_answered ? g->answered_ms : g->now_ms;
    g->seed_answered = true;
    g->next_seed_ms = GOSSIP_NEVER_MS; /* strangers are pinged for ever, seeds among them */
    g->next_stranger_ms = g->now_ms + STRANGER_MS - gossip_random(g) % 500;
    if (!g->snapshot_applied && g->snapshot_ms == GOSSIP_NEVER_MS) {
        g->snapshot_peer = sender;
        g->snapshot_wait_ms = SNAPSHOT_WAIT_MIN_MS;
        g->snapshot_ms = g->now_ms;
    }
}

static void fetch_snapshot(struct gossip *g)
{
    struct gossip_member *peer = gossip_members_get(&g->members, g->snapshot_peer);
    if (!peer || !gossip_member_is_live(peer) || peer == g->me) {
        peer = NULL;
        (void)gossip_random_members(g, NULL, &peer, 1);
    }
    g->snapshot_ms = g->now_ms + g->snapshot_wait_ms;
    if (peer && gossip_fetch_start(g, GOSSIP_FETCH_SNAPSHOT, 0, peer)) {
        g->snapshot_ms = g->now_ms + LIMIT_GOSSIP_FETCH_MS; /* or when it ends */
    }
}

void gossip_snapshot_ended(struct gossip *g, bool applied, uint64_t peer)
{
    (void)peer;
    if (applied) {
        g->snapshot_applied = true;
        g->snapshot_ms = GOSSIP_NEVER_MS;
        return;
    }
    g->snapshot_peer = 0; /* another one */
    g->snapshot_ms = g->now_ms + g->snapshot_wait_ms;
    g->snapshot_wait_ms = g->snapshot_wait_ms * 2 < SNAPSHOT_WAIT_MAX_MS ? g->snapshot_wait_ms * 2
                                                                         : SNAPSHOT_WAIT_MAX_MS;
}

/* --- strangers: the dead of the last day, and bootstrap addresses where nobody we know lives ---
 */

static void mark_members_seeds(struct gossip *g)
{
    for (size_t i = 0; i < g->seed_count; i++) {
        g->seeds[i].is_member = false;
    }
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        struct gossip_addr addrs[2];
        gossip_member_addrs(m, addrs);
        for (size_t i = 0; i < 2 && gossip_member_is_live(m); i++) {
            for (size_t at = find_seed(g, &addrs[i]); is_seed_at(g, at, &addrs[i]); at++) {
                g->seeds_by_addr[at]->is_member = true;
            }
        }
    }
}

static void ping_one_stranger(struct gossip *g)
{
    size_t slots = g->members.slots, all = slots + g->seed_count;
    size_t start = all ? (size_t)(gossip_random(g) % all) : 0;
    for (size_t k = 0; k < all; k++) {
        size_t at = (start + k) % all;
        if (at < slots) {
            const struct gossip_member *m = g->members.by_slot[at];
            if (m && m->state == GOSSIP_DEAD) {
                struct gossip_addr to = gossip_member_addr(g, m);
                gossip_ping_stranger(g, &to);
                return;
            }
        } else if (!g->seeds[at - slots].is_member && !seed_is_us(g, &g->seeds[at - slots])) {
            gossip_ping_stranger(g, &g->seeds[at - slots].addr);
            return;
        }
    }
}

/* One, but more where the dead outnumber those here: few who are cut off together with others,
 * whom they cannot tell from the rest, would take minutes to guess. */
static void ping_strangers(struct gossip *g)
{
    size_t away = 0;
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        away += m->state == GOSSIP_DEAD;
    }
    size_t wanted = away / (g->live ? g->live : 1);
    wanted = wanted < STRANGERS_AT_ONCE ? wanted : STRANGERS_AT_ONCE;
    mark_members_seeds(g);
    do {
        ping_one_stranger(g);
    } while (wanted-- > 1);
}

static bool names_nobody_else(const struct gossip *g)
{
    for (size_t i = 0; i < g->seed_count; i++) {
        if (!seed_is_us(g, &g->seeds[i])) {
            return false;
        }
    }
    return g->seeds_known;
}

/* When to go on without the others, of whom nobody answered. */
static uint64_t alone_ms(const struct gossip *g)
{
    return g->asked_ms != GOSSIP_NEVER_MS ? g->asked_ms + UNANSWERED_MS
                                          : g->started_ms + NO_SEEDS_MS;
}

void gossip_join_tick(struct gossip *g)
{
    if (!g->leaving && g->now_ms >= g->next_seed_ms) {
        ping_seeds(g);
        g->next_seed_ms =
            g->now_ms + g->seed_wait_ms + gossip_random(g) % (g->seed_wait_ms / 4 + 1);
        g->seed_wait_ms =
            g->seed_wait_ms * 2 < SEED_WAIT_MAX_MS ? g->seed_wait_ms * 2 : SEED_WAIT_MAX_MS;
    }
    if (!g->leaving && g->now_ms >= g->next_stranger_ms) {
        g->next_stranger_ms = g->now_ms + STRANGER_MS - 250 + gossip_random(g) % 500;
        ping_strangers(g);
    }
    if (!g->leaving && g->now_ms >= g->snapshot_ms) {
        fetch_snapshot(g);
    }
    if (!g->ready && (g->snapshot_applied || names_nobody_else(g) ||
                      (!g->seed_answered && g->now_ms >= alone_ms(g)) ||
                      (g->seed_answered && g->now_ms - g->answered_ms >= NO_SNAPSHOT_MS))) {
        g->ready = true;
        gossip_note(g, GOSSIP_NOTE_READY, g->me);
    }
}

uint64_t gossip_join_wake_ms(const struct gossip *g)
{
    uint64_t wake_ms = g->next_seed_ms;
    wake_ms = g->next_stranger_ms < wake_ms ? g->next_stranger_ms : wake_ms;
    wake_ms = g->snapshot_ms < wake_ms ? g->snapshot_ms : wake_ms;
    if (!g->ready && !g->seed_answered && alone_ms(g) < wake_ms) {
        wake_ms = alone_ms(g);
    }
    return wake_ms;
}

bool gossip_is_ready(const struct gossip *core)
{
    return core->ready;
}

bool gossip_is_settled(const struct gossip *core)
{
    if (!core->ready) {
        return false;
    }
    LIST_EACH (link, &core->behind) {
        if (CONTAINER_OF(link, struct gossip_wanted, behind)->tries < UNSETTLED_TRIES) {
            return false;
        }
    }
    return true;
}
