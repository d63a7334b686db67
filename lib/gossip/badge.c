#include "gossip/badge.h"

#include "base/hex.h"
#include "gossip/seen.h"
#include "gossip/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES 7
#define BADGE_BYTES (GOSSIP_SEAL_OVERHEAD_BYTES + BODY_BYTES)
#define BOUND_BYTES (12 + 32)

_Static_assert(GOSSIP_BADGE_TEXT_BYTES == 2 * BADGE_BYTES + 1, "as hex");

struct gossip_badges {
    uint64_t serial; /* of the last one written */
    struct gossip_seen seen;
};

static struct gossip_badges *badges_of(struct gossip *g)
{
    if (!g->badges && (g->badges = calloc(1, sizeof(*g->badges)))) {
        gossip_seen_init(&g->badges->seen);
    }
    return g->badges;
}

void gossip_badges_free(struct gossip *g)
{
    if (g->badges) {
        gossip_seen_done(&g->badges->seen);
        free(g->badges);
        g->badges = NULL;
    }
}

static void bind_to(uint64_t id, uint64_t boot, const uint8_t digest[32],
                    uint8_t ret_bytes[BOUND_BYTES])
{
    gossip_store48(ret_bytes, id);
    gossip_store48(ret_bytes + 6, boot);
    memcpy(ret_bytes + 12, digest, 32);
}

int gossip_badge_write(struct gossip *g, uint64_t to, enum gossip_badge badge,
                       const uint8_t digest[32], char ret_text[GOSSIP_BADGE_TEXT_BYTES])
{
    uint8_t bound[BOUND_BYTES], body[BODY_BYTES] = {(uint8_t)badge}, sealed[BADGE_BYTES];
    const struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_BADGE, .bytes = bound, .len = sizeof(bound)};
    const struct gossip_member *m = gossip_members_get(&g->members, to);
    struct gossip_badges *b = badges_of(g);
    if (!m || m == g->me || !b) {
        return b ? -ENOENT : -ENOMEM;
    }
    bind_to(m->id, m->boot, digest, bound);
    gossip_store48(body + 1, ++b->serial);
    int error = gossip_seal_write(g->seal, &binding, body, sizeof(body), sealed);
    if (error == 0) {
        hex_write(sealed, sizeof(sealed), ret_text);
    }
    return error;
}

int gossip_badge_take(struct gossip *g, const char *text, const uint8_t digest[32],
                      enum gossip_badge *ret_badge)
{
    uint8_t bound[BOUND_BYTES], body[BODY_BYTES], sealed[BADGE_BYTES];
    const struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_BADGE, .bytes = bound, .len = sizeof(bound)};
    struct gossip_header h;
    if (strlen(text) != 2 * BADGE_BYTES || hex_read(text, BADGE_BYTES, sealed) ||
        gossip_seal_peek(sealed, sizeof(sealed), &h) || h.sender.id == g->me->id) {
        return -EACCES;
    }
    struct gossip_badges *b = badges_of(g);
    if (!b) {
        return -ENOMEM;
    }
    bind_to(g->me->id, g->me->boot, digest, bound);
    if (gossip_seal_open(g->seal, &h, &binding, sealed, sizeof(sealed), body) ||
        body[0] >= GOSSIP_BADGES) {
        return -EACCES;
    }
    int error = gossip_seen_take(&b->seen, &h.sender, gossip_load48(body + 1));
    if (error == 0) {
        *ret_badge = (enum gossip_badge)body[0];
    }
    return error;
}
