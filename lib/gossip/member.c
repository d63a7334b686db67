#include "gossip/member.h"

#include "gossip/key.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

void gossip_members_init(struct gossip_members *m, uint64_t seed)
{
    *m = (struct gossip_members){.seed = seed};
}

void gossip_members_done(struct gossip_members *m)
{
    for (size_t i = 0; i < m->slots; i++) {
        if (m->by_slot[i]) {
            free(m->by_slot[i]->wanted);
            free(m->by_slot[i]->doubt);
            free(m->by_slot[i]);
        }
    }
    for (size_t i = 0; i < LIMIT_GOSSIP_ZONES; i++) {
        free(m->zones[i]);
    }
    free(m->by_slot);
    free(m->table);
    *m = (struct gossip_members){0};
}

static size_t table_home(const struct gossip_members *m, uint64_t id)
{
    return (size_t)gossip_mix(id ^ m->seed) & (m->table_capacity - 1);
}

static void table_insert(struct gossip_members *m, uint64_t id, uint16_t slot)
{
    size_t at = table_home(m, id);
    while (m->table[at]) {
        at = (at + 1) & (m->table_capacity - 1);
    }
    m->table[at] = (uint16_t)(slot + 1);
}

static bool table_grow(struct gossip_members *m)
{
    size_t capacity = m->table_capacity ? m->table_capacity * 2 : 16;
    uint16_t *table = calloc(capacity, sizeof(*table));
    if (!table) {
        return false;
    }
    free(m->table);
    m->table = table;
    m->table_capacity = capacity;
    GOSSIP_MEMBERS_EACH(member, m)
    {
        table_insert(m, member->id, member->slot);
    }
    return true;
}

static void table_remove(struct gossip_members *m, uint64_t id)
{
    size_t mask = m->table_capacity - 1, hole = table_home(m, id);
    while (m->by_slot[m->table[hole] - 1]->id != id) {
        hole = (hole + 1) & mask;
    }
    for (size_t i = (hole + 1) & mask; m->table[i]; i = (i + 1) & mask) {
        size_t wanted = table_home(m, m->by_slot[m->table[i] - 1]->id);
        if (((i - wanted) & mask) >= ((i - hole) & mask)) {
            m->table[hole] = m->table[i];
            hole = i;
        }
    }
    m->table[hole] = 0;
}

struct gossip_member *gossip_members_get(const struct gossip_members *m, uint64_t id)
{
    if (m->count == 0) {
        return NULL;
    }
    for (size_t i = table_home(m, id); m->table[i]; i = (i + 1) & (m->table_capacity - 1)) {
        struct gossip_member *member = m->by_slot[m->table[i] - 1];
        if (member->id == id) {
            return member;
        }
    }
    return NULL;
}

/* The lowest free slot, or -1 without room. */
static int free_slot(struct gossip_members *m)
{
    if (m->count < m->slots) {
        for (size_t i = 0; i < m->slots; i++) {
            if (!m->by_slot[i]) {
                return (int)i;
            }
        }
    }
    if (m->slots == m->capacity) {
        size_t capacity = m->capacity ? m->capacity * 2 : 16;
        struct gossip_member **by_slot =
            realloc(m->by_slot, capacity * sizeof(struct gossip_member *));
        if (!by_slot) {
            return -1;
        }
        m->by_slot = by_slot;
        m->capacity = capacity;
    }
    return (int)m->slots;
}

struct gossip_member *gossip_members_add(struct gossip_members *m, uint64_t id)
{
    CHECK(!gossip_members_get(m, id));
    if (m->count >= LIMIT_GOSSIP_MEMBERS) {
        return NULL;
    }
    if ((m->count + 1) * 2 > m->table_capacity && !table_grow(m)) {
        return NULL;
    }
    int slot = free_slot(m);
    struct gossip_member *member = slot < 0 ? NULL : calloc(1, sizeof(*member));
    if (!member) {
        return NULL;
    }
    member->id = id;
    member->slot = (uint16_t)slot;
    member->zone = "";
    list_init(&member->rumour);
    if ((size_t)slot == m->slots) {
        m->slots++;
    }
    m->by_slot[slot] = member;
    m->count++;
    table_insert(m, id, member->slot);
    return member;
}

void gossip_members_remove(struct gossip_members *m, struct gossip_member *member)
{
    CHECK(!member->wanted && !member->doubt && list_empty(&member->rumour));
    table_remove(m, member->id);
    m->by_slot[member->slot] = NULL;
    m->count--;
    free(member);
}

void gossip_members_rename(struct gossip_members *m, struct gossip_member *member, uint64_t id)
{
    CHECK(!gossip_members_get(m, id));
    table_remove(m, member->id);
    member->id = id;
    table_insert(m, id, member->slot);
}

const char *gossip_members_zone(struct gossip_members *m, const char *zone)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_ZONES && zone[0]; i++) {
        if (!m->zones[i]) {
            m->zones[i] = strdup(zone);
        }
        if (!m->zones[i] || strcmp(m->zones[i], zone) == 0) {
            return m->zones[i] ? m->zones[i] : "";
        }
    }
    return "";
}

#define PREFERS_IPV6 4

void gossip_member_addrs(const struct gossip_member *member, struct gossip_addr ret_addrs[2])
{
    size_t n = 0;
    memset(ret_addrs, 0, 2 * sizeof(*ret_addrs));
    if (member->families & 1) {
        ret_addrs[n].family = GOSSIP_IPV4;
        ret_addrs[n].port = member->gossip_port;
        memcpy(ret_addrs[n++].ip, member->ipv4, sizeof(member->ipv4));
    }
    if (member->families & 2) {
        ret_addrs[n].family = GOSSIP_IPV6;
        ret_addrs[n].port = member->gossip_port;
        memcpy(ret_addrs[n].ip, member->ipv6, sizeof(member->ipv6));
    }
    if (member->families == (1 | 2 | PREFERS_IPV6)) {
        struct gossip_addr ipv4 = ret_addrs[0];
        ret_addrs[0] = ret_addrs[1];
        ret_addrs[1] = ipv4;
    }
}

void gossip_member_answered_from(struct gossip_member *member, const struct gossip_addr *from)
{
    struct gossip_addr addrs[2];
    gossip_member_addrs(member, addrs);
    if (gossip_addr_equal(&addrs[1], from)) {
        member->families ^= PREFERS_IPV6;
    }
}

void gossip_member_set_addrs(struct gossip_member *member, const struct gossip_addr addrs[2])
{
    member->families &= PREFERS_IPV6;
    for (size_t i = 0; i < 2; i++) {
        if (addrs[i].family == GOSSIP_IPV4 && !(member->families & 1)) {
            memcpy(member->ipv4, addrs[i].ip, sizeof(member->ipv4));
            member->families |= 1;
        } else if (addrs[i].family == GOSSIP_IPV6 && !(member->families & 2)) {
            memcpy(member->ipv6, addrs[i].ip, sizeof(member->ipv6));
            member->families |= 2;
        }
    }
    if (!(member->families & (1 | 2))) {
        member->families = 0;
    }
}
