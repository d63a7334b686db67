#include "gossip/state.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>

#define PULL_FIRST_MS 30 /* the missing change is most likely on its way */
#define PULL_FIRST_RUSH_MS 1000
#define PULL_AGAIN_MS 300
#define JOINING_MS 50
#define PULL_AGAIN_MAX_MS 5000
#define DELTA_TRIES 2
#define DELTA_VERSIONS 50

void gossip_want_nothing(struct gossip *g, struct gossip_member *m)
{
    (void)g;
    if (m->wanted) {
        list_remove(&m->wanted->behind);
        free(m->wanted);
        m->wanted = NULL;
    }
}

void gossip_drop_set(struct gossip *g, struct gossip_member *m)
{
    gossip_build_clears(g, m->slot);
    if (m->count > 0 || m->taking) {
        gossip_index_clear(g->index, m->slot);
    }
    gossip_take_not(g, m);
    m->set_kept = false;
    m->set_boot = 0;
    m->version = m->count = 0;
    m->set_hash = 0;
    gossip_settle(g, m);
}

/* --- our own set --- */

/* As one change that travels by itself, or, when too large for that, as an announcement: others see
 * the version in our ALIVE and fetch the set. */
static void announce(struct gossip *g, const struct gossip_op *ops, size_t count, bool too_many)
{
    struct gossip_member *me = g->me;
    me->version++;
    gossip_settle(g, me);
    if (!too_many &&
        gossip_changes_add(&g->changes, me->id, me->boot, me->version, ops, count) == 0) {
        gossip_changes_pass_on(&g->changes,
                               gossip_changes_get(&g->changes, me->id, me->boot, me->version),
                               (uint32_t)me->set_hash, true);
        gossip_wake_spreader(g);
    } else {
        gossip_pass_on(g, me);
    }
}

void gossip_local_change(struct gossip *g, const uint64_t *keys, size_t count, bool del)
{
    struct gossip_member *me = g->me;
    struct gossip_op ops[LIMIT_GOSSIP_OPS];
    size_t changed = 0;
    if (g->leaving) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int done = 0;
        gossip_build_before(g, keys[i], me->slot);
        if (del) {
            done = gossip_index_remove(g->index, keys[i], me->slot);
        } else if (me->count < LIMIT_GOSSIP_LOCAL_KEYS) {
            done = gossip_index_add(g->index, keys[i], me->slot);
        }
        if (done < 0) {
            g->stats.drop_memory++;
        }
        if (done != 1) {
            continue;
        }
        if (changed < LIMIT_GOSSIP_OPS) {
            ops[changed] = (struct gossip_op){.key = keys[i], .del = del};
        }
        changed++;
        me->set_hash ^= gossip_mix(keys[i]);
        me->count = del ? me->count - 1 : me->count + 1;
    }
    if (changed > 0 || !g->contents_listed) {
        g->contents_listed = true;
        announce(g, ops, changed, changed > LIMIT_GOSSIP_OPS);
    }
}

/* --- others' sets --- */

void gossip_pull_by(struct gossip *g, uint64_t at_ms)
{
    g->next_pull_ms = at_ms < g->next_pull_ms ? at_ms : g->next_pull_ms;
}

static void want(struct gossip *g, struct gossip_member *m, const struct gossip_wanted *wanted)
{
    struct gossip_wanted *w = m->wanted;
    if (w && wanted->version < w->version) {
        return;
    }
    if (!w) {
        w = calloc(1, sizeof(*w));
        if (!w) {
            g->stats.drop_memory++; /* somebody will say so again */
            return;
        }
        m->wanted = w;
        w->member = m;
        w->next_ms = g->now_ms + (gossip_in_a_rush(g)
                                      ? PULL_FIRST_RUSH_MS + gossip_random(g) % PULL_FIRST_RUSH_MS
                                      : PULL_FIRST_MS);
        list_init(&w->behind);
        list_push_back(&g->behind, &w->behind);
        gossip_pull_by(g, w->next_ms);
    }
    w->version = wanted->version;
    w->count = wanted->count;
    w->hash = wanted->hash;
    w->teller = wanted->teller;
    w->fetch_only = w->fetch_only || wanted->fetch_only;
}

void gossip_caught_up(struct gossip *g, struct gossip_member *m)
{
    gossip_settle(g, m);
    if (m->wanted && m->set_boot == m->boot && m->version >= m->wanted->version) {
        gossip_want_nothing(g, m);
    }
}

void gossip_hear_version(struct gossip *g, struct gossip_member *m, uint32_t version,
                         uint32_t count, uint64_t hash, uint64_t teller)
{
    struct gossip_wanted wanted = {
        .version = version, .count = count, .hash = hash, .teller = teller};
    if (version == 0 || m == g->me) {
        return;
    }
    if (count > LIMIT_GOSSIP_KEYS_PER_MEMBER) {
        g->stats.drop_set_size++;
        return;
    }
    if (m->set_boot != m->boot) {
        if (m->set_boot && m->set_hash == hash && m->count == count) {
            m->set_boot = m->boot; /* a new life with the same contents: nothing to transfer */
            m->version = version;
            gossip_caught_up(g, m);
        } else {
            want(g, m, &wanted);
        }
    } else if (version > m->version) {
        want(g, m, &wanted);
    } else if (version == m->version && hash != m->set_hash) {
        g->stats.hash_mismatches++;
        if (teller == m->id) { /* the owner itself is the authority */
            wanted.fetch_only = true;
            want(g, m, &wanted);
        }
    }
}

/* In a rush, what we hear again need not be told as often: see docs/gossip.md, "Rushes". */
static void hear_again(struct gossip *g, const struct gossip_member *m,
                       const struct gossip_ops *ops)
{
    g->stats.ops_stale++;
    if (m->set_boot != m->boot || !gossip_in_a_rush(g)) {
        return;
    }
    for (uint32_t i = 0; i < ops->versions && ops->first + i <= m->version; i++) {
        struct gossip_change *c = gossip_changes_get(&g->changes, m->id, m->boot, ops->first + i);
        if (c) {
            gossip_changes_heard(&g->changes, c);
        }
    }
}

/* Into the log, what is neither held nor too far ahead. */
static void keep_ops(struct gossip *g, const struct gossip_member *m, const struct gossip_ops *ops,
                     uint32_t held)
{
    for (uint32_t i = 0; i < ops->versions; i++) {
        uint32_t version = ops->first + i;
        size_t start = i ? ops->ends[i - 1] : 0;
        if (version <= held) {
            continue;
        }
        int error = gossip_changes_add(&g->changes, m->id, m->boot, version, ops->ops + start,
                                       ops->ends[i] - start);
        if (error == -ENOMEM) {
            g->stats.drop_memory++;
            return;
        }
    }
    struct gossip_change *last =
        gossip_changes_get(&g->changes, m->id, m->boot, ops->first + ops->versions - 1);
    if (last && !last->has_check) {
        last->check = ops->check;
        last->has_check = true;
    }
}

void gossip_hear_ops(struct gossip *g, const struct gossip_ops *ops, uint64_t teller)
{
    struct gossip_member *m = gossip_members_get(&g->members, ops->owner);
    if (!m || m == g->me || (uint16_t)m->boot != ops->boot_low || !gossip_member_is_live(m)) {
        g->stats.ops_stale++;
        return;
    }
    uint32_t held = m->set_boot == m->boot ? m->version : 0;
    uint32_t last = ops->first + ops->versions - 1;
    if (last <= held) {
        hear_again(g, m, ops);
        return;
    }
    if (m->set_boot != m->boot && ops->first == 1) {
        if (m->set_boot && ops->versions == 1 && (uint32_t)m->set_hash == ops->check) {
            gossip_hear_version(g, m, 1, m->count, m->set_hash, teller);
            return;
        }
        gossip_drop_set(g, m); /* the first change of a life starts from nothing */
        m->set_boot = m->boot;
    }
    bool follows = ops->first <= held + 1 && m->set_boot == m->boot;
    g->stats.ops_early += !follows;
    if (follows || ops->first - held <= LIMIT_GOSSIP_EARLY_PER_OWNER) {
        keep_ops(g, m, ops, held);
    }
    int error = follows ? gossip_apply_waiting(g, m) : 0;
    if (m->set_boot != m->boot || m->version < last) {
        struct gossip_wanted wanted = {
            .version = last, .teller = teller, .fetch_only = error == -EBADMSG};
        want(g, m, &wanted);
    }
}

void gossip_take_set(struct gossip *g, struct gossip_member *m, uint32_t version, uint64_t hash,
                     const uint64_t *keys, size_t count)
{
    gossip_drop_set(g, m);
    for (size_t i = 0; i < count; i++) {
        m->count++;
        if (gossip_index_add(g->index, keys[i], m->slot) < 0) {
            g->stats.drop_memory++;
            gossip_drop_set(g, m);
            return;
        }
    }
    m->set_boot = m->boot;
    m->version = version;
    m->count = (uint32_t)count;
    m->set_hash = hash;
    g->stats.sets_applied++;
    gossip_settle(g, m);
    (void)gossip_apply_waiting(g, m);
    gossip_pass_on(g, m); /* whoever hears of this version from us can fetch it from us */
}

void gossip_hear_delta_no(struct gossip *g, const struct gossip_delta_req *req)
{
    struct gossip_member *m = gossip_members_get(&g->members, req->owner);
    if (m && m->wanted && m->boot == req->boot && !m->wanted->fetch_only) {
        m->wanted->fetch_only = true;
        m->wanted->next_ms = g->now_ms;
        gossip_pull_by(g, g->now_ms);
    }
}

/* --- pulling --- */

static struct gossip_member *whom_to_ask(struct gossip *g, const struct gossip_member *m)
{
    /* The teller has it; then the owner, who has it for sure; then anybody. */
    uint64_t id = m->wanted->tries % 3 == 0 ? m->wanted->teller : m->id;
    struct gossip_member *peer = gossip_members_get(&g->members, id);
    if (m->wanted->tries % 3 == 2 || !peer || peer == g->me || !gossip_member_is_live(peer) ||
        !gossip_shares_family(g, peer)) {
        return gossip_random_members(g, NULL, &peer, 1) ? peer : NULL;
    }
    return peer;
}

static void pull(struct gossip *g, struct gossip_member *m)
{
    struct gossip_wanted *w = m->wanted;
    struct gossip_member *peer = whom_to_ask(g, m);
    uint64_t wait_ms = PULL_AGAIN_MS << (w->tries < 4 ? w->tries : 4);
    w->next_ms = g->now_ms + (wait_ms < PULL_AGAIN_MAX_MS ? wait_ms : PULL_AGAIN_MAX_MS) +
                 gossip_random(g) % 50;
    if (!g->ready) {
        w->next_ms = g->now_ms + JOINING_MS; /* the snapshot will most likely say */
        return;
    }
    if (!peer) {
        return;
    }
    bool deltas = m->set_boot == m->boot && w->tries < DELTA_TRIES && !w->fetch_only &&
                  !peer->tcp_only && g->udp == GOSSIP_UDP_OPEN &&
                  w->version - m->version <= DELTA_VERSIONS;
    if (deltas) {
        struct gossip_packet p;
        struct gossip_delta_req req = {
            .owner = m->id, .boot = m->boot, .from = m->version + 1, .to = w->version};
        struct gossip_addr to = gossip_member_addr(g, peer);
        gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
        gossip_delta_req_write(&p.w, GOSSIP_MSG_DELTA_REQ, &req);
        gossip_packet_send(g, &p, &to, 1);
        g->stats.deltas_asked++;
        w->tries++;
    } else if (w->fetch_id == 0) {
        w->fetch_id = gossip_fetch_start(g, GOSSIP_FETCH_SET, m->id, peer);
        if (w->fetch_id) {
            w->tries++;
        } else {
            w->next_ms = g->now_ms + 20; /* all slots taken */
        }
    }
}

void gossip_content_tick(struct gossip *g)
{
    if (g->now_ms < g->next_pull_ms) {
        return;
    }
    g->next_pull_ms = GOSSIP_NEVER_MS;
    LIST_EACH_SAFE (link, &g->behind) {
        struct gossip_wanted *w = CONTAINER_OF(link, struct gossip_wanted, behind);
        if (g->now_ms >= w->next_ms) {
            pull(g, w->member);
        }
        gossip_pull_by(g, w->next_ms);
    }
}

uint64_t gossip_content_wake_ms(const struct gossip *g)
{
    return g->next_pull_ms;
}
