/* hosts.c - where members are, and picking some of them. */
#include "gossip/state.h"

bool gossip_has_own_addr(const struct gossip *g)
{
    return g->self.addrs[0].family || g->self.addrs[1].family;
}

struct gossip_addr gossip_member_addr(const struct gossip *g, const struct gossip_member *m)
{
    struct gossip_addr none = {.family = GOSSIP_NO_ADDR}, addrs[2];
    gossip_member_addrs(m, addrs);
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 2 && addrs[i].family; k++) {
            if (addrs[i].family == g->self.addrs[k].family || !gossip_has_own_addr(g)) {
                return addrs[i];
            }
        }
    }
    return none;
}

/* A family may be black-holed between two who have both. */
struct gossip_addr gossip_member_other_addr(const struct gossip *g, const struct gossip_member *m)
{
    struct gossip_addr first = gossip_member_addr(g, m), addrs[2];
    gossip_member_addrs(m, addrs);
    for (size_t k = 0; k < 2 && gossip_addr_equal(&first, &addrs[0]); k++) {
        if (addrs[1].family && addrs[1].family == g->self.addrs[k].family) {
            return addrs[1];
        }
    }
    return first;
}

bool gossip_addrs_acceptable(const struct gossip *g, const struct gossip_addr addrs[2])
{
    bool own_loopback =
        gossip_addr_is_loopback(&g->self.addrs[0]) || gossip_addr_is_loopback(&g->self.addrs[1]);
    if (addrs[0].family == addrs[1].family) {
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        if (addrs[i].family && (gossip_addr_is_unusable(&addrs[i]) ||
                                (gossip_addr_is_loopback(&addrs[i]) && !own_loopback))) {
            return false;
        }
    }
    return true;
}

size_t gossip_random_members(struct gossip *g, const struct gossip_member *except,
                             struct gossip_member **ret_members, size_t max)
{
    size_t found = 0;
    /* Guesses first, which is fair; in a table of mostly dead, a walk from a random place. */
    for (size_t guess = 0; guess < max * 8 && found < max && g->live > 1; guess++) {
        struct gossip_member *m = g->members.by_slot[gossip_random(g) % g->members.slots];
        bool take =
            m && m != g->me && m != except && gossip_member_is_live(m) && gossip_can_hear(g, m);
        for (size_t i = 0; i < found; i++) {
            take = take && ret_members[i] != m;
        }
        if (take) {
            ret_members[found++] = m;
        }
    }
    size_t slots = g->members.slots, start = slots ? (size_t)(gossip_random(g) % slots) : 0;
    for (size_t k = 0; k < slots && found == 0 && g->live > 1; k++) {
        struct gossip_member *m = g->members.by_slot[(start + k) % slots];
        if (m && m != g->me && m != except && gossip_member_is_live(m) && gossip_can_hear(g, m)) {
            ret_members[found++] = m;
        }
    }
    return found;
}
