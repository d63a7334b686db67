#include "registry/blame.h"

#include <string.h>

#include "base/limits.h"
#include "gossip/addr.h"
#include "gossip/wire.h"

void blame_add(struct gossip_want *list, uint64_t id, enum gossip_swarm_fault fault)
{
    size_t at = 0;
    while (at < list->failed_count && list->failed[at].id != id) {
        at++;
    }
    if (at == list->failed_count && list->failed_count < GOSSIP_SWARM_FAILED) {
        list->failed_count++;
    }
    at = at < GOSSIP_SWARM_FAILED ? at : GOSSIP_SWARM_FAILED - 1;
    memmove(&list->failed[1], &list->failed[0], at * sizeof list->failed[0]);
    list->failed[0].id = id;
    list->failed[0].fault = fault;
}

bool blame_has(const struct gossip_want *list, uint64_t id)
{
    for (size_t i = 0; i < list->failed_count; i++) {
        if (list->failed[i].id == id && list->failed[i].fault != GOSSIP_FAULT_STALLED) {
            return true;
        }
    }
    return false;
}

void blame_forget_stalled(struct gossip_want *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->failed_count; i++) {
        if (list->failed[i].fault != GOSSIP_FAULT_STALLED) {
            list->failed[kept++] = list->failed[i];
        }
    }
    list->failed_count = (uint8_t)kept;
}

uint64_t blame_id(const uint8_t node_id[MARKS_NODE_BYTES])
{
    return gossip_load48(node_id);
}

uint64_t blame_origin(const char *field, const uint8_t giver_id[MARKS_NODE_BYTES])
{
    uint64_t id = 0;
    if (!field[0]) {
        return blame_id(giver_id);
    }
    return gossip_id_parse(field, &id) == 0 ? id : 0;
}

static bool is_convicted(const struct mirror *m, const uint8_t node_id[MARKS_NODE_BYTES])
{
    return doubt_is_convicted(&m->doubt, node_id, LIMIT_DOUBT_MS, loop_now_ms(m->loop));
}

bool blame_is_doubted(const struct mirror *m, const struct digest *digest,
                      const struct mirror_holder *holder)
{
    return is_convicted(m, holder->node_id) ||
           doubt_is_excluded(&m->doubt, digest, holder->node_id) ||
           doubt_is_doubted(&m->doubt, digest, holder->node_id, loop_now_ms(m->loop));
}

void blame_doubted(struct gossip_want *list, const struct mirror *m, const struct digest *digest)
{
    struct mirror_holder holders[GOSSIP_SWARM_FAILED];
    uint8_t ids[GOSSIP_SWARM_FAILED][MARKS_NODE_BYTES];
    size_t others = 0;
    size_t count = doubt_whom(&m->doubt, digest, loop_now_ms(m->loop), ids, GOSSIP_SWARM_FAILED);
    for (size_t i = 0; i < count; i++) {
        others += !is_convicted(m, ids[i]);
    }
    size_t known =
        others ? m->config.lookup(m->config.arg, digest, NULL, holders, GOSSIP_SWARM_FAILED) : 0;
    for (size_t i = 0; i < known; i++) {
        blame_add(list, blame_id(holders[i].node_id), GOSSIP_FAULT_LOST);
    }
    for (size_t i = 0; i < count; i++) {
        blame_add(list, blame_id(ids[i]), GOSSIP_FAULT_REFUSED);
    }
    for (size_t i = 0; i < m->doubt.convict_count; i++) {
        const uint8_t *id = m->doubt.convicts[i].node_id;
        if (is_convicted(m, id)) {
            blame_add(list, blame_id(id), GOSSIP_FAULT_WRONG);
        }
    }
}
