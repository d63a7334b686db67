#include "gossip/state.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define TOMBSTONE_MS (24 * 60 * 60 * UINT64_C(1000))
#define SET_KEPT_MS (15 * 60 * UINT64_C(1000))
#define SWEEP_MS 5000
#define SWEEP_MORE_MS 20
/* For new members when the table is full: of those departed for this long, so many at a time, and
 * of these so many whose columns must be cleared. */
#define ROOM_AFTER_MS 60000
#define ROOM_AGAIN_MS 100
#define ROOM_AT_ONCE 256
#define ROOM_CLEARED 2
#define NO_SIGN_MS 120000 /* without a new incarnation of one that cannot be probed */

void gossip_note(struct gossip *g, enum gossip_note_kind kind, const struct gossip_member *m)
{
    struct gossip_effects *e = g->effects;
    if (e->note_count == e->note_capacity) {
        g->stats.drop_cap++;
        return;
    }
    struct gossip_note *note = &e->notes[e->note_count++];
    *note = (struct gossip_note){.kind = kind, .id = m->id};
    if (m != g->me) {
        note->addr = gossip_member_addr(g, m);
        note->addr.port = m->registry_port;
    }
}

void gossip_alive_of(const struct gossip *g, const struct gossip_member *m,
                     struct gossip_alive *ret_alive)
{
    (void)g;
    bool current = m->set_boot == m->boot;
    *ret_alive = (struct gossip_alive){
        .id = m->id,
        .boot = m->boot,
        .salt = m->salt,
        .incarnation = m->incarnation,
        .protocol = GOSSIP_PROTOCOL,
        .flags = m->tcp_only ? GOSSIP_ALIVE_TCP_ONLY : 0,
        .gossip_port = m->gossip_port,
        .registry_port = m->registry_port,
        .version = current ? m->version : 0,
        .count = current ? m->count : 0,
        .hash = current ? m->set_hash : 0,
    };
    gossip_member_addrs(m, ret_alive->addrs);
    memcpy(ret_alive->zone, m->zone, strlen(m->zone));
}

void gossip_settle(struct gossip *g, struct gossip_member *m)
{
    bool current = m->set_boot == m->boot;
    uint64_t contribution = 0;
    if (gossip_member_is_live(m)) {
        uint64_t content = current ? gossip_mix(m->version) ^ m->set_hash : 0;
        contribution = gossip_mix(m->id ^ gossip_mix(m->boot ^ gossip_mix(content) ^ m->tcp_only));
    }
    if (contribution != m->contribution) {
        g->cluster_hash ^= m->contribution ^ contribution;
        g->live += (contribution != 0) - (size_t)(m->contribution != 0);
        m->contribution = contribution;
        g->hash_changed_ms = g->now_ms;
    }
    bool was = m->selectable;
    m->selectable = m != g->me && current && m->version > 0 &&
                    (m->state == GOSSIP_ALIVE ||
                     (m->state == GOSSIP_SUSPECT &&
                      g->now_ms < gossip_suspicion_exclude_ms(&m->doubt->suspicion)));
    if (m->selectable != was) {
        gossip_swarm_member_changed(g, m);
    }
}

void gossip_pass_on(struct gossip *g, struct gossip_member *m)
{
    if (list_empty(&m->rumour)) {
        g->rumour_count++;
    }
    list_remove(&m->rumour);
    m->rumour_sent = 0;
    (m == g->me ? list_push_front : list_push_back)(&g->rumours[0], &m->rumour);
    gossip_wake_spreader(g);
}

void gossip_heard_in_bulk(struct gossip *g, uint64_t id)
{
    struct gossip_member *m = gossip_members_get(&g->members, id);
    if (m && m != g->me && !list_empty(&m->rumour)) {
        list_remove(&m->rumour);
        g->rumour_count--;
    }
}

void gossip_become(struct gossip *g, struct gossip_member *m, enum gossip_state state)
{
    m->state = (uint8_t)state;
    m->state_ms = g->now_ms;
    if (state == GOSSIP_SUSPECT) {
        list_push_back(&g->suspects, &m->doubt->suspected);
    } else if (m->doubt) {
        list_remove(&m->doubt->suspected);
        free(m->doubt);
        m->doubt = NULL;
    }
    if (state == GOSSIP_DEAD || state == GOSSIP_LEFT) {
        /* A dead node's content is worthless: neither relayed nor pulled. */
        gossip_want_nothing(g, m);
        gossip_changes_forget(&g->changes, m->id);
        m->set_kept = true;
    }
    gossip_settle(g, m);
    gossip_pass_on(g, m);
}

void gossip_clear(struct gossip *g, struct gossip_member *m)
{
    gossip_become(g, m, GOSSIP_ALIVE);
}

/* Takes over what an ALIVE says about where and when its subject is. */
static void take_alive(struct gossip *g, struct gossip_member *m, const struct gossip_alive *a)
{
    if (a->boot != m->boot) {
        m->window = (struct gossip_window){0};
        m->heard_ms = 0;
        m->backoff_ms = 0;
        m->backoff_until_ms = 0;
        m->salt = a->salt;
        gossip_want_nothing(g, m);
        if (m->boot) {
            gossip_changes_forget(&g->changes, m->id);
        }
    }
    m->boot = a->boot;
    m->incarnation = a->incarnation;
    m->tcp_only = (a->flags & GOSSIP_ALIVE_TCP_ONLY) != 0;
    gossip_member_set_addrs(m, a->addrs);
    m->gossip_port = a->gossip_port;
    m->registry_port = a->registry_port;
    m->zone = gossip_members_zone(&g->members, a->zone);
    m->near = m->zone[0] && strcmp(m->zone, g->self.zone) == 0;
}

void gossip_hear_alive(struct gossip *g, const struct gossip_alive *a, uint64_t teller)
{
    if (a->id == g->me->id) {
        gossip_heard_own_alive(g, a);
        return;
    }
    if (!gossip_addrs_acceptable(g, a->addrs)) {
        g->stats.drop_address++;
        return;
    }
    struct gossip_member *m = gossip_members_get(&g->members, a->id);
    bool is_new = !m;
    if (!m) {
        m = gossip_members_add(&g->members, a->id);
        if (!m) {
            g->stats.drop_members++;
            g->crowded = true;
            return;
        }
        m->state = GOSSIP_DEAD; /* until a few lines below */
    }
    if (!is_new && a->boot == m->boot && a->salt != m->salt) {
        g->stats.drop_collision++; /* of two with one id, the one heard first; they sort it out */
        return;
    }
    bool later_life = a->boot > m->boot;
    bool refuted =
        a->boot == m->boot && m->state != GOSSIP_LEFT &&
        (a->incarnation > m->incarnation || (g->believing && a->incarnation == m->incarnation &&
                                             m->state != GOSSIP_ALIVE && !m->tcp_only));
    if (later_life || refuted) {
        bool was_live = gossip_member_is_live(m) && !later_life;
        take_alive(g, m, a);
        gossip_become(g, m, GOSSIP_ALIVE);
        if (!was_live || is_new) {
            gossip_note(g, GOSSIP_NOTE_UP, m);
        }
    } else if (a->boot == m->boot && a->salt == m->salt && m->state != GOSSIP_ALIVE) {
        gossip_accuse_subject(g, m, NULL); /* stale: only the subject can put it right */
    }
    if (a->boot == m->boot && a->salt == m->salt && gossip_member_is_live(m)) {
        gossip_hear_version(g, m, a->version, a->count, a->hash, teller);
    }
}

void gossip_raise_incarnation(struct gossip *g, uint16_t above)
{
    if (g->leaving) {
        return;
    }
    if (above == UINT16_MAX) {
        gossip_take_boot(g, g->me->boot); /* 65,535 refutations: start a new life instead */
        return;
    }
    g->me->incarnation = (uint16_t)(above + 1);
    gossip_pass_on(g, g->me);
}

static void hear_own_accusation(struct gossip *g, const struct gossip_accusation *a)
{
    if (g->leaving) {
        return;
    }
    if (a->boot > g->me->boot) {
        gossip_take_boot(g, a->boot);
    } else if (a->boot == g->me->boot && a->incarnation >= g->me->incarnation) {
        g->stats.refutations++;
        gossip_raise_incarnation(g, a->incarnation);
        gossip_note(g, GOSSIP_NOTE_REFUTED, g->me);
    }
}

void gossip_hear_accusation(struct gossip *g, enum gossip_message type,
                            const struct gossip_accusation *a)
{
    if (a->id == g->me->id) {
        hear_own_accusation(g, a);
        return;
    }
    struct gossip_member *m = gossip_members_get(&g->members, a->id);
    if (!m || a->boot != m->boot || a->incarnation < m->incarnation || m->state == GOSSIP_LEFT) {
        return;
    }
    bool later = a->incarnation > m->incarnation;
    if (type == GOSSIP_MSG_SUSPECT) {
        if (m->state == GOSSIP_DEAD && !later) {
            return;
        }
        if (later && m->state != GOSSIP_ALIVE) {
            gossip_become(g, m, GOSSIP_ALIVE); /* a suspicion of its own, of that incarnation */
        }
        m->incarnation = a->incarnation;
        gossip_suspect(g, m, a->from);
        return;
    }
    m->incarnation = a->incarnation;
    if (type == GOSSIP_MSG_LEFT) {
        gossip_become(g, m, GOSSIP_LEFT);
        gossip_note(g, GOSSIP_NOTE_LEFT, m);
    } else if (m->state != GOSSIP_DEAD) {
        gossip_become(g, m, GOSSIP_DEAD);
        gossip_note(g, GOSSIP_NOTE_DOWN, m);
    }
}

static void forget(struct gossip *g, struct gossip_member *m)
{
    gossip_drop_set(g, m);
    if (!list_empty(&m->rumour)) {
        list_remove(&m->rumour);
        g->rumour_count--;
    }
    gossip_members_remove(&g->members, m);
}

/* Of those long gone: at most one set a call, since clearing a column looks at the whole index. */
static void sweep(struct gossip *g)
{
    bool cleared = false;
    g->next_sweep_ms = g->now_ms + SWEEP_MS;
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        if (gossip_member_is_live(m)) {
            if (m->tcp_only && m != g->me && g->now_ms - m->state_ms >= NO_SIGN_MS) {
                g->stats.deaths++;
                gossip_become(g, m, GOSSIP_DEAD);
                gossip_note(g, GOSSIP_NOTE_DOWN, m);
            }
            continue;
        }
        if (m->set_kept && g->now_ms - m->state_ms >= SET_KEPT_MS) {
            if (cleared) {
                g->next_sweep_ms = g->now_ms + SWEEP_MORE_MS;
                return;
            }
            cleared = m->count > 0;
            gossip_drop_set(g, m);
        }
        if (g->now_ms - m->state_ms >= TOMBSTONE_MS) {
            forget(g, m);
        }
    }
}

/* The table is full and somebody new was told of: those longest departed go. Who was turned away is
 * told of again, by the other copies of the rumour or by a hash that differs. */
static void make_room(struct gossip *g)
{
    uint64_t oldest_ms = UINT64_MAX, newest_ms = 0;
    size_t forgotten = 0, cleared = 0;
    g->crowded = false;
    g->next_room_ms = g->now_ms + ROOM_AGAIN_MS;
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        if (!gossip_member_is_live(m) && g->now_ms - m->state_ms >= ROOM_AFTER_MS) {
            oldest_ms = m->state_ms < oldest_ms ? m->state_ms : oldest_ms;
            newest_ms = m->state_ms > newest_ms ? m->state_ms : newest_ms;
        }
    }
    uint64_t until_ms = oldest_ms + (newest_ms - oldest_ms) / 8;
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        if (gossip_member_is_live(m) || newest_ms == 0 || m->state_ms > until_ms ||
            forgotten == ROOM_AT_ONCE || (m->count > 0 && cleared == ROOM_CLEARED)) {
            continue;
        }
        cleared += m->count > 0;
        forgotten++;
        forget(g, m);
    }
}

void gossip_membership_tick(struct gossip *g)
{
    if (g->now_ms >= g->next_doubt_ms) {
        gossip_judge_suspects(g);
    }
    if (g->now_ms >= g->next_sweep_ms) {
        sweep(g);
    }
    if (g->crowded && g->now_ms >= g->next_room_ms) {
        make_room(g);
    }
}

uint64_t gossip_membership_wake_ms(const struct gossip *g)
{
    return g->next_doubt_ms < g->next_sweep_ms ? g->next_doubt_ms : g->next_sweep_ms;
}
