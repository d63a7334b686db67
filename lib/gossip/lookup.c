#include "gossip/state.h"

#include <string.h>

/* Lower is better; the last part spreads askers over equals. */
static uint64_t rank(const struct gossip *g, const struct gossip_member *m, uint64_t spread)
{
    return (uint64_t)(g->now_ms < m->backoff_until_ms) << 63 | (uint64_t)!m->near << 62 |
           (uint64_t)(m->load >> 4) << 56 | (gossip_mix(spread ^ m->id) >> 8);
}

static void holder_of(const struct gossip *g, const struct gossip_member *m,
                      struct gossip_holder *ret_holder)
{
    *ret_holder = (struct gossip_holder){
        .id = m->id,
        .load = m->load,
        .same_zone = m->near,
        .backing_off = g->now_ms < m->backoff_until_ms,
    };
    memcpy(ret_holder->zone, m->zone, strlen(m->zone));
    gossip_member_addrs(m, ret_holder->addrs);
    for (size_t i = 0; i < 2 && ret_holder->addrs[i].family; i++) {
        ret_holder->addrs[i].port = m->registry_port;
        ret_holder->addr_count++;
    }
}

#define LOOKUP_MAX 64
/* Of a key that thousands hold, so many are compared, beginning anywhere: there is near, idle
 * company among them, and a look-up costs the same at any size. */
#define COMPARED_MAX 64

size_t gossip_lookup(const struct gossip *g, uint64_t key, struct gossip_holder *ret_holders,
                     size_t max)
{
    const struct gossip_member *best[LOOKUP_MAX];
    uint64_t ranks[LOOKUP_MAX], spread = gossip_mix(key ^ g->me->id);
    size_t count = 0, compared = 0;
    struct gossip_index_walk walk;
    uint16_t slot;
    max = max < LOOKUP_MAX ? max : LOOKUP_MAX;
    if (!gossip_index_walk(g->index, key, (uint32_t)spread, &walk)) {
        return 0;
    }
    while (max > 0 && compared < COMPARED_MAX && gossip_index_walk_next(&walk, &slot)) {
        const struct gossip_member *m = g->members.by_slot[slot];
        if (!m || !m->selectable || m->registry_port == 0 || !gossip_shares_family(g, m)) {
            continue;
        }
        compared++;
        uint64_t r = rank(g, m, spread);
        if (count == max && r >= ranks[max - 1]) {
            continue;
        }
        size_t at = count < max ? count++ : max - 1;
        for (; at > 0 && ranks[at - 1] > r; at--) {
            ranks[at] = ranks[at - 1];
            best[at] = best[at - 1];
        }
        ranks[at] = r;
        best[at] = m;
    }
    for (size_t i = 0; i < count; i++) {
        holder_of(g, best[i], &ret_holders[i]);
    }
    return count;
}

bool gossip_member_holder(const struct gossip *g, uint64_t id, struct gossip_holder *ret_holder)
{
    const struct gossip_member *m = gossip_members_get(&g->members, id);
    if (!m || !m->selectable || m->registry_port == 0) {
        return false;
    }
    holder_of(g, m, ret_holder);
    return true;
}

bool gossip_holds(const struct gossip *g, uint64_t key)
{
    return gossip_index_has(g->index, key, g->me->slot);
}

bool gossip_members(const struct gossip *g, size_t *cursor, struct gossip_member_view *ret_view)
{
    while (*cursor < g->members.slots) {
        const struct gossip_member *m = g->members.by_slot[(*cursor)++];
        if (!m || m == g->me) {
            continue;
        }
        *ret_view = (struct gossip_member_view){
            .id = m->id,
            .boot_ms = m->boot,
            .incarnation = m->incarnation,
            .state = m->state,
            .selectable = m->selectable,
            .addr_count = (uint8_t)__builtin_popcount(m->families & 3),
            .load = m->load,
            .registry_port = m->registry_port,
            .version = m->set_boot == m->boot ? m->version : 0,
            .keys = m->count,
            .set_hash = m->set_hash,
            .heard_ms_ago = m->heard_ms ? g->now_ms - m->heard_ms : UINT64_MAX,
        };
        gossip_member_addrs(m, ret_view->addrs);
        memcpy(ret_view->zone, m->zone, strlen(m->zone));
        return true;
    }
    return false;
}

void gossip_stats(const struct gossip *g, struct gossip_stats *ret_stats)
{
    *ret_stats = g->stats;
    GOSSIP_MEMBERS_EACH(m, &g->members)
    {
        ret_stats->index_entries += gossip_member_is_live(m) ? m->count : 0;
        if (m != g->me) {
            ret_stats->alive += m->state == GOSSIP_ALIVE;
            ret_stats->suspect += m->state == GOSSIP_SUSPECT;
            ret_stats->dead += !gossip_member_is_live(m);
            ret_stats->behind += m->wanted != NULL;
        }
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        ret_stats->fetches_open += g->fetches[i].id != 0;
    }
    ret_stats->index_keys = (uint32_t)gossip_index_keys(g->index);
    ret_stats->index_bytes = gossip_index_bytes(g->index);
    ret_stats->rumours = (uint32_t)(g->rumour_count + g->changes.rumours);
    ret_stats->core_bytes = sizeof(*g) + ret_stats->index_bytes + g->changes.bytes +
                            g->members.count * (sizeof(struct gossip_member) + sizeof(void *));
    ret_stats->lifeguard_score = g->score;
}
