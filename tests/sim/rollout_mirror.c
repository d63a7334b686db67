#include "rollout.h"

#include "base/check.h"

static struct copy *copy_of(struct rollout *r, size_t node, size_t blob)
{
    return &r->nodes[node].copies[blob];
}

/* --- to the core --- */

static void tell(struct rollout *r, size_t node, size_t blob, enum gossip_flight_state state)
{
    struct copy *c = copy_of(r, node, blob);
    struct gossip_event event = {.kind = GOSSIP_FLIGHT};
    c->told_us = r->s->now_us;
    event.flight = (struct gossip_flight){
        .key = r->blobs[blob].key,
        .state = state,
        .parent = c->state == COPY_FOLLOWING ? r->s->nodes[c->parent].id : 0,
        .bytes = c->written,
        .idle_ms = (uint32_t)((r->s->now_us - r->nodes[node].grew_us) / 1000)};
    sim_event(r->s, node, &event);
}

static void tell_now(struct rollout *r, size_t node, size_t blob)
{
    tell(r, node, blob,
         copy_of(r, node, blob)->written ? GOSSIP_FLIGHT_GROWING : GOSSIP_FLIGHT_WAITING);
}

static void blame(struct rollout *r, struct copy *c, uint32_t parent, enum gossip_swarm_fault fault)
{
    size_t at = 0;
    while (at < c->failed_count && c->failed[at].node != parent) {
        at++;
    }
    if (at == c->failed_count && c->failed_count < GOSSIP_SWARM_FAILED) {
        c->failed_count++;
    }
    for (at = at < GOSSIP_SWARM_FAILED ? at : GOSSIP_SWARM_FAILED - 1; at > 0; at--) {
        c->failed[at] = c->failed[at - 1];
    }
    c->failed[0].node = parent;
    c->failed[0].fault = (uint8_t)fault;
    c->failed[0].at_us = r->s->now_us;
}

static void ask(struct rollout *r, size_t node, size_t blob, bool slow)
{
    struct rollout_node *n = &r->nodes[node];
    struct copy *c = copy_of(r, node, blob);
    struct gossip_event event = {.kind = GOSSIP_WANT};
    CHECK(c->ask == 0);
    c->ask = ++n->last_ask;
    c->asked_us = r->s->now_us;
    event.want = (struct gossip_want){.key = r->blobs[blob].key, .ask = c->ask, .bytes = c->bytes};
    if (slow) {
        event.want.failed[0].id = r->s->nodes[c->parent].id;
        event.want.failed[0].fault = GOSSIP_FAULT_SLOW;
        event.want.failed_count = 1;
    }
    for (size_t i = 0; i < c->failed_count && event.want.failed_count < GOSSIP_SWARM_FAILED; i++) {
        if (r->s->now_us - c->failed[i].at_us < ROLLOUT_FAILED_MS * 1000) {
            size_t at = event.want.failed_count++;
            event.want.failed[at].id = r->s->nodes[c->failed[i].node].id;
            event.want.failed[at].fault = (enum gossip_swarm_fault)c->failed[i].fault;
        }
    }
    sim_event(r->s, node, &event);
}

/* --- where the bytes come from --- */

void rollout_stop_upstream(struct rollout *r, size_t node, size_t blob)
{
    if (copy_of(r, node, blob)->state == COPY_UPSTREAM) {
        r->blobs[blob].leaders--;
    }
}

static void go_upstream(struct rollout *r, size_t node, size_t blob)
{
    struct copy *c = copy_of(r, node, blob);
    if (c->state == COPY_UPSTREAM) {
        return;
    }
    c->state = COPY_UPSTREAM;
    c->stalled = false;
    c->next_us = r->s->now_us + ROLLOUT_UPSTREAM_MS * 1000;
    c->grew_us = r->s->now_us;
    r->blobs[blob].leaders++;
    r->upstream_pulls++;
    tell_now(r, node, blob);
}

static void follow(struct rollout *r, size_t node, size_t blob, uint32_t parent)
{
    struct copy *c = copy_of(r, node, blob);
    rollout_stop_upstream(r, node, blob);
    c->state = COPY_FOLLOWING;
    c->parent = parent;
    c->stalled = c->unasked = false;
    c->next_us = r->s->now_us + ROLLOUT_CONNECT_MS * 1000;
    tell_now(r, node, blob);
}

/* The first of those offered that lets itself be asked. */
static void take_offer(struct rollout *r, size_t node, size_t blob,
                       const struct gossip_answer *answer)
{
    struct copy *c = copy_of(r, node, blob);
    for (size_t i = 0; i < answer->count; i++) {
        struct sim_node *n = sim_node_of(r->s, answer->offers[i].id);
        if (n && c->state == COPY_FOLLOWING && n->number == c->parent) {
            c->stalled = false; /* stay */
            return;
        }
        if (n && r->nodes[n->number].copies[blob].state != COPY_NONE &&
            rollout_can_reach(r, node, n->number)) {
            follow(r, node, blob, n->number);
            return;
        }
        if (n) {
            bool reached = rollout_can_reach(r, node, n->number);
            blame(r, c, n->number, reached ? GOSSIP_FAULT_REFUSED : GOSSIP_FAULT_LOST);
        }
    }
    if (c->state != COPY_FOLLOWING) {
        c->state = COPY_PAUSING;
        c->next_us = r->s->now_us;
    }
}

void rollout_answered(struct rollout *r, size_t node, const struct gossip_answer *answer)
{
    struct rollout_node *n = &r->nodes[node];
    for (size_t k = 0; k < ROLLOUT_AT_ONCE; k++) {
        size_t blob = n->active[k] - 1;
        struct copy *c = n->active[k] ? copy_of(r, node, blob) : NULL;
        if (!c || c->ask != answer->ask) {
            continue;
        }
        c->ask = 0;
        switch (answer->kind) {
        case GOSSIP_SWARM_GRANT:
        case GOSSIP_SWARM_NONE:
            go_upstream(r, node, blob);
            break;
        case GOSSIP_SWARM_OFFER:
            take_offer(r, node, blob, answer);
            break;
        case GOSSIP_SWARM_WAIT:
            c->next_us =
                c->state == COPY_FOLLOWING ? c->next_us : r->s->now_us + answer->retry_ms * 1000U;
            c->state = c->state == COPY_FOLLOWING ? COPY_FOLLOWING : COPY_PAUSING;
            break;
        }
    }
}

/* --- time --- */

static void lose_parent(struct rollout *r, size_t node, size_t blob)
{
    struct copy *c = copy_of(r, node, blob);
    blame(r, c, c->parent, GOSSIP_FAULT_LOST);
    c->state = COPY_ASKING;
    c->stalled = false;
    if (!c->ask) {
        ask(r, node, blob, false);
    }
}

static void drive_copy(struct rollout *r, size_t node, size_t blob)
{
    struct copy *c = copy_of(r, node, blob);
    uint64_t now_us = r->s->now_us, idle_us = now_us - c->grew_us;
    if (c->state == COPY_PAUSING && now_us >= c->next_us && !c->ask) {
        c->state = COPY_ASKING;
        ask(r, node, blob, false);
    } else if (c->state == COPY_FOLLOWING && !r->s->nodes[c->parent].core) {
        lose_parent(r, node, blob); /* its kernel says so at once */
    } else if (c->state == COPY_FOLLOWING && !c->ask && idle_us < ROLLOUT_STALL_MS * 1000 &&
               now_us - (c->asked_us ? c->asked_us : c->since_us) >= LIMIT_SWARM_SLOW_MS * 1000) {
        ask(r, node, blob, true);
    } else if (c->state == COPY_FOLLOWING && idle_us >= ROLLOUT_STALL_MS * 1000 && !c->ask &&
               now_us - c->asked_us >= ROLLOUT_STALL_MS * 1000) {
        blame(r, c, c->parent, GOSSIP_FAULT_STALLED);
        ask(r, node, blob, false);
    }
    uint64_t patience_ms = c->bytes ? ROLLOUT_PATIENCE_MS : LIMIT_SWARM_FIRST_BYTE_MS;
    if (c->state != COPY_UPSTREAM && idle_us >= patience_ms * 1000) {
        go_upstream(r, node, blob);
    }
    if ((c->state == COPY_UPSTREAM || c->state == COPY_FOLLOWING) &&
        now_us - c->told_us >= LIMIT_SWARM_RENEW_MS * 1000) {
        tell_now(r, node, blob);
    }
}

static void begin(struct rollout *r, size_t node, size_t blob)
{
    struct gossip_holder holders[16];
    struct copy *c = copy_of(r, node, blob);
    c->since_us = c->grew_us = r->s->now_us;
    c->state = COPY_ASKING;
    /* With as many holders as that, nobody need be asked, unless they are busy. */
    size_t count = gossip_lookup(r->s->nodes[node].core, r->blobs[blob].key, holders, 16);
    for (size_t i = 0; count >= LIMIT_COLD_FEW_HOLDERS && i < count; i++) {
        uint32_t holder = sim_node_of(r->s, holders[i].id)->number;
        if (r->nodes[holder].feeds < LIMIT_PEER_STREAMS) {
            r->nodes[holder].feeds++;
            follow(r, node, blob, holder);
            c->unasked = true;
            return;
        }
    }
    ask(r, node, blob, false);
}

/* As the daemon does. */
static void tell_load(struct rollout *r, size_t node)
{
    struct rollout_node *n = &r->nodes[node];
    uint8_t load = (uint8_t)(n->feeds > 63 ? 255 : n->feeds * 4);
    if (load != n->load) {
        struct gossip_event event = {.kind = GOSSIP_LOAD, .load = load};
        n->load = load;
        sim_event(r->s, node, &event);
    }
}

void rollout_drive(struct rollout *r, size_t node)
{
    struct rollout_node *n = &r->nodes[node];
    if ((r->s->now_us / 1000 + node) % 200 < ROLLOUT_STEP_MS) {
        tell_load(r, node);
    }
    if (r->s->now_us < n->start_us || n->done_us) {
        return;
    }
    for (size_t k = 0; k < ROLLOUT_AT_ONCE; k++) {
        if (!n->active[k] && n->next_blob < r->blob_count) {
            n->active[k] = ++n->next_blob;
            begin(r, node, n->active[k] - 1);
        } else if (n->active[k]) {
            drive_copy(r, node, n->active[k] - 1);
        }
    }
}

static void finish(struct rollout *r, size_t node, size_t blob)
{
    struct rollout_node *n = &r->nodes[node];
    struct copy *c = copy_of(r, node, blob);
    rollout_stop_upstream(r, node, blob);
    if (c->ask) {
        struct gossip_event end = {.kind = GOSSIP_WANT_END, .ask = c->ask};
        sim_event(r->s, node, &end);
        c->ask = 0;
    }
    c->state = COPY_HELD;
    tell(r, node, blob, GOSSIP_FLIGHT_HELD);
    sim_add(r->s, node, &r->blobs[blob].key, 1);
    for (size_t k = 0; k < ROLLOUT_AT_ONCE; k++) {
        n->active[k] = n->active[k] == blob + 1 ? 0 : n->active[k];
    }
    if (++n->held == r->blob_count) {
        n->done_us = r->s->now_us;
        r->ended++;
    }
}

void rollout_grew(struct rollout *r, size_t node, size_t blob, uint64_t bytes)
{
    struct copy *c = copy_of(r, node, blob);
    bool first = c->written == 0;
    c->bytes += bytes;
    c->grew_us = r->nodes[node].grew_us = r->s->now_us;
    c->written = c->bytes - c->bytes % ROLLOUT_WRITE_BYTES;
    if (c->bytes == r->blobs[blob].bytes) {
        c->written = c->bytes;
        finish(r, node, blob);
    } else if (first && c->written) {
        tell_now(r, node, blob);
    }
}
