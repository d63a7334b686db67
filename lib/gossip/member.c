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
        free(m->by_slot[i]);
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
    list_init(&member->behind);
    list_init(&member->suspected);
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
    CHECK(list_empty(&member->behind) && list_empty(&member->suspected) &&
          list_empty(&member->rumour));
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
