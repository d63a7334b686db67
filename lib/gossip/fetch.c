/* fetch.c - bulk asked for over HTTP: one effect out, one event back, sealed for that one request.
 */
#include "gossip/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

uint32_t gossip_fetch_start(struct gossip *g, enum gossip_fetch_kind kind, uint64_t owner,
                            struct gossip_member *peer)
{
    struct gossip_effects *e = g->effects;
    struct gossip_open_fetch *open = NULL;
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id == 0) {
            open = &g->fetches[i];
        }
    }
    struct gossip_addr from = gossip_member_addr(g, peer);
    if (!open || e->fetch_count == e->fetch_capacity || from.family == GOSSIP_NO_ADDR ||
        peer->registry_port == 0) {
        return 0;
    }
    struct gossip_fetch *f = &e->fetches[e->fetch_count];
    char id[GOSSIP_ID_TEXT_BYTES];
    if (kind == GOSSIP_FETCH_SNAPSHOT) {
        snprintf(f->path, sizeof(f->path), GOSSIP_PATH_PREFIX "snapshot");
    } else {
        snprintf(f->path, sizeof(f->path), GOSSIP_PATH_PREFIX "set/%s",
                 gossip_id_format(owner, id));
    }
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = f->path, .len = strlen(f->path)};
    if (gossip_seal_write(g->seal, &binding, NULL, 0, open->auth)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(open->auth); i++) {
        snprintf(f->auth + 2 * i, 3, "%02x", open->auth[i]);
    }
    if (++g->last_fetch_id == 0) {
        g->last_fetch_id = 1;
    }
    open->id = f->id = g->last_fetch_id;
    open->kind = kind;
    open->owner = owner;
    open->peer = f->peer = peer->id;
    open->expires_ms = g->now_ms + LIMIT_GOSSIP_FETCH_MS;
    f->from = from;
    f->from.port = peer->registry_port;
    f->max_bytes =
        kind == GOSSIP_FETCH_SNAPSHOT ? LIMIT_GOSSIP_SNAPSHOT_BYTES : LIMIT_GOSSIP_SET_BYTES;
    e->fetch_count++;
    g->stats.fetches++;
    return open->id;
}

static int open_body(struct gossip *g, const struct gossip_open_fetch *fetch,
                     const struct gossip_event *event)
{
    struct gossip_header h;
    const uint8_t *bytes = event->fetched.bytes;
    size_t len = event->fetched.len;
    int error = gossip_seal_peek(bytes, len, &h);
    if (error) {
        return error;
    }
    size_t n = len - GOSSIP_SEAL_OVERHEAD_BYTES;
    struct buf plain;
    buf_init(&plain, LIMIT_GOSSIP_SNAPSHOT_BYTES + 1);
    uint8_t *out = (uint8_t *)buf_reserve(&plain, n + 1);
    struct gossip_binding binding = {
        .purpose = fetch->kind == GOSSIP_FETCH_SET ? GOSSIP_FOR_SET : GOSSIP_FOR_SNAPSHOT,
        .bytes = fetch->auth,
        .len = sizeof(fetch->auth)};
    error = out ? gossip_seal_open(g->seal, &h, &binding, bytes, len, out) : -ENOMEM;
    if (error == 0) {
        error = fetch->kind == GOSSIP_FETCH_SET
                    ? gossip_set_apply(g, fetch->owner, h.sender.id, out, n)
                    : gossip_snapshot_apply(g, h.sender.id, out, n);
    }
    buf_done(&plain);
    return error;
}

static void fetch_ended(struct gossip *g, const struct gossip_open_fetch *fetch, bool applied)
{
    if (!applied) {
        g->stats.fetches_failed++;
    }
    if (fetch->kind == GOSSIP_FETCH_SNAPSHOT) {
        gossip_snapshot_ended(g, applied, fetch->peer);
        return;
    }
    struct gossip_member *m = gossip_members_get(&g->members, fetch->owner);
    if (m && m->wanted.version && m->wanted.fetch_id == fetch->id) {
        m->wanted.fetch_id = 0;
        if (!applied && m->wanted.tries < 3) {
            m->wanted.next_ms = g->now_ms + 20; /* the next in line at once */
            gossip_pull_by(g, m->wanted.next_ms);
        }
    }
}

void gossip_fetched(struct gossip *g, const struct gossip_event *event)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id && g->fetches[i].id == event->fetched.id) {
            struct gossip_open_fetch fetch = g->fetches[i];
            g->fetches[i].id = 0;
            bool applied = event->fetched.status == 0 && open_body(g, &fetch, event) == 0;
            fetch_ended(g, &fetch, applied);
        }
    }
}

void gossip_fetch_tick(struct gossip *g)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id && g->now_ms >= g->fetches[i].expires_ms) {
            struct gossip_open_fetch fetch = g->fetches[i];
            g->fetches[i].id = 0;
            fetch_ended(g, &fetch, false);
        }
    }
}

uint64_t gossip_fetch_wake_ms(const struct gossip *g)
{
    uint64_t wake_ms = GOSSIP_NEVER_MS;
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id && g->fetches[i].expires_ms < wake_ms) {
            wake_ms = g->fetches[i].expires_ms;
        }
    }
    return wake_ms;
}
