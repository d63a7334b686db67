#include "registry/givers.h"

#include <string.h>

#include "registry/mirror_internal.h"

void givers_add(struct givers *g, const struct mirror_holder *holder)
{
    g->last = *holder;
    for (size_t i = 0; i < g->count; i++) {
        if (memcmp(g->ids[i], holder->node_id, MARKS_NODE_BYTES) == 0) {
            return;
        }
    }
    if (g->count < GIVERS_MAX) {
        memcpy(g->ids[g->count++], holder->node_id, MARKS_NODE_BYTES);
    }
}

bool givers_hash_fits(const struct givers *g, struct mirror *m, const struct mirror_query *query,
                      struct digester *digester)
{
    struct digest found;
    digester_final(digester, &found);
    bool match = digest_equal(&found, &query->digest);
    uint64_t now_ms = loop_now_ms(m->loop);
    for (size_t i = 0; i < g->count; i++) {
        if (match || g->count == 1) {
            doubt_verified(&m->doubt, &query->digest, g->ids[i], match, now_ms);
        } else {
            doubt_suspect(&m->doubt, &query->digest, g->ids[i], now_ms);
        }
    }
    if (!match) {
        m->counters.mismatches++;
        m->counters.excluded += g->count == 1;
        mirror_tell(m, query, &g->last);
    }
    return match;
}

void givers_delivered(const struct givers *g, struct mirror *m, const struct mirror_query *query,
                      bool complete)
{
    uint64_t now_ms = loop_now_ms(m->loop);
    for (size_t i = 0; i < g->count; i++) {
        doubt_contributed(&m->doubt, &query->digest, g->ids[i], now_ms);
    }
    if (complete) {
        doubt_delivered(&m->doubt, &query->digest, now_ms);
    }
}
