/* fetch.c - bulk asked for over HTTP: one effect out, one event back, sealed for that one request.
 */
#include "base/hex.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gossip_fetch_is_open(const struct gossip *g, enum gossip_fetch_kind kind)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id && g->fetches[i].kind == kind) {
            return true;
        }
    }
    return false;
}

/* The path is in `f` already; `open` is a free one. */
static uint32_t start(struct gossip *g, struct gossip_fetch *f, struct gossip_open_fetch *open,
                      const uint8_t *ask, size_t n)
{
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = f->path, .len = strlen(f->path)};
    if (gossip_seal_write(g->seal, &binding, ask, n, open->auth)) {
        return 0;
    }
    open->auth_bytes = n + GOSSIP_SEAL_OVERHEAD_BYTES;
    hex_write(open->auth, open->auth_bytes, f->auth);
    if (++g->last_fetch_id == 0) {
        g->last_fetch_id = 1;
    }
    open->id = f->id = g->last_fetch_id;
    open->expires_ms = g->now_ms + LIMIT_GOSSIP_FETCH_MS;
    g->effects->fetch_count++;
    g->stats.fetches++;
    return open->id;
}

/* Room for another, here and among the effects; NULL: none. */
static struct gossip_open_fetch *free_fetch(struct gossip *g, struct gossip_fetch **ret_effect)
{
    struct gossip_effects *e = g->effects;
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES && e->fetch_count < e->fetch_capacity; i++) {
        if (g->fetches[i].id == 0) {
            *ret_effect = &e->fetches[e->fetch_count];
            return &g->fetches[i];
        }
    }
    return NULL;
}

uint32_t gossip_fetch_start(struct gossip *g, enum gossip_fetch_kind kind, uint64_t owner,
                            struct gossip_member *peer)
{
    struct gossip_fetch *f = NULL;
    struct gossip_open_fetch *open = free_fetch(g, &f);
    struct gossip_addr from = gossip_member_addr(g, peer);
    if (!open || from.family == GOSSIP_NO_ADDR || peer->registry_port == 0) {
        return 0;
    }
    char id[GOSSIP_ID_TEXT_BYTES];
    if (kind == GOSSIP_FETCH_SNAPSHOT) {
        snprintf(f->path, sizeof(f->path), GOSSIP_PATH_PREFIX "snapshot");
    } else {
        snprintf(f->path, sizeof(f->path), GOSSIP_PATH_PREFIX "set/%s",
                 gossip_id_format(owner, id));
    }
    open->kind = kind;
    open->owner = owner;
    open->peer = f->peer = peer->id;
    f->from = from;
    f->from.port = peer->registry_port;
    f->max_bytes =
        kind == GOSSIP_FETCH_SNAPSHOT ? LIMIT_GOSSIP_SNAPSHOT_BYTES : LIMIT_GOSSIP_SET_BYTES;
    return start(g, f, open, NULL, 0);
}

uint32_t gossip_fetch_exchange(struct gossip *g, const struct gossip_addr *from, const uint8_t *ask,
                               size_t n)
{
    struct gossip_fetch *f = NULL;
    struct gossip_open_fetch *open = free_fetch(g, &f);
    if (!open || n > GOSSIP_ASK_BYTES) {
        return 0;
    }
    snprintf(f->path, sizeof(f->path), GOSSIP_PATH_PREFIX "exchange");
    open->kind = GOSSIP_FETCH_EXCHANGE;
    open->owner = open->peer = f->peer = 0;
    f->from = *from;
    f->max_bytes = LIMIT_GOSSIP_SNAPSHOT_BYTES;
    return start(g, f, open, ask, n);
}

static int open_set(struct gossip *g, const struct gossip_open_fetch *fetch, const uint8_t *bytes,
                    size_t len)
{
    struct gossip_header h;
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_SET, .bytes = fetch->auth, .len = fetch->auth_bytes};
    int error = gossip_seal_peek(bytes, len, &h);
    if (error) {
        return error;
    }
    uint8_t *plain = malloc(len);
    error = plain ? gossip_seal_open(g->seal, &h, &binding, bytes, len, plain) : -ENOMEM;
    if (error == 0) {
        error =
            gossip_set_apply(g, fetch->owner, h.sender.id, plain, len - GOSSIP_SEAL_OVERHEAD_BYTES);
    }
    free(plain);
    return error;
}

/* 0 and whether the end of it comes later, or what is wrong. */
static int open_body(struct gossip *g, const struct gossip_open_fetch *fetch,
                     const struct gossip_event *event, bool *ret_later)
{
    struct buf copy, *owner = event->fetched.owner;
    if (fetch->kind == GOSSIP_FETCH_SET) {
        return open_set(g, fetch, event->fetched.bytes, event->fetched.len);
    }
    buf_init(&copy, LIMIT_GOSSIP_SNAPSHOT_BYTES + 1);
    int error = owner ? 0 : buf_append(&copy, event->fetched.bytes, event->fetched.len);
    error = error ? error : gossip_take_sealed(g, fetch, owner ? owner : &copy);
    buf_done(&copy);
    *ret_later = error == 0;
    return error;
}

void gossip_fetch_ended(struct gossip *g, const struct gossip_open_fetch *fetch, bool applied)
{
    if (!applied) {
        g->stats.fetches_failed++;
    }
    if (fetch->kind == GOSSIP_FETCH_SNAPSHOT) {
        gossip_snapshot_ended(g, applied, fetch->peer);
        return;
    }
    if (fetch->kind == GOSSIP_FETCH_EXCHANGE) {
        gossip_exchange_ended(g, applied);
        return;
    }
    struct gossip_member *m = gossip_members_get(&g->members, fetch->owner);
    if (m && m->wanted && m->wanted->fetch_id == fetch->id) {
        m->wanted->fetch_id = 0;
        if (!applied && m->wanted->tries < 3) {
            m->wanted->next_ms = g->now_ms + 20; /* the next in line at once */
            gossip_pull_by(g, m->wanted->next_ms);
        }
    }
}

void gossip_fetched(struct gossip *g, const struct gossip_event *event)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id && g->fetches[i].id == event->fetched.id) {
            struct gossip_open_fetch fetch = g->fetches[i];
            g->fetches[i].id = 0;
            g->stats.fetches_too_large += event->fetched.status == -EFBIG;
            bool later = false;
            bool applied = event->fetched.status == 0 && open_body(g, &fetch, event, &later) == 0;
            if (!later) {
                gossip_fetch_ended(g, &fetch, applied);
            }
        }
    }
}

void gossip_fetch_tick(struct gossip *g)
{
    for (size_t i = 0; i < LIMIT_GOSSIP_FETCHES; i++) {
        if (g->fetches[i].id && g->now_ms >= g->fetches[i].expires_ms) {
            struct gossip_open_fetch fetch = g->fetches[i];
            g->fetches[i].id = 0;
            gossip_fetch_ended(g, &fetch, false);
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
