#include "gossip/badge.h"

#include "base/hex.h"
#include "gossip/state.h"

#include "base/list.h"
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES 7
#define BADGE_BYTES (GOSSIP_SEAL_OVERHEAD_BYTES + BODY_BYTES)
#define BOUND_BYTES (12 + 32)

_Static_assert(GOSSIP_BADGE_TEXT_BYTES == 2 * BADGE_BYTES + 1, "as hex");

/* A sender, and which of its badges were taken. */
struct shown {
    struct map_node by_id; /* in gossip_badges.shown */
    struct list link;      /* in gossip_badges.latest_last */
    uint64_t id, boot;
    uint32_t salt;
    struct gossip_window window;
};

struct gossip_badges {
    uint64_t serial; /* of the last one written */
    struct map shown;
    struct list latest_last;
};

static struct gossip_badges *badges_of(struct gossip *g)
{
    if (!g->badges && (g->badges = calloc(1, sizeof(*g->badges)))) {
        map_init(&g->badges->shown);
        list_init(&g->badges->latest_last);
    }
    return g->badges;
}

static void forget(struct gossip_badges *b, struct shown *s)
{
    map_remove(&b->shown, &s->by_id);
    list_remove(&s->link);
    free(s);
}

void gossip_badges_free(struct gossip *g)
{
    struct gossip_badges *b = g->badges;
    if (b) {
        LIST_EACH_SAFE (link, &b->latest_last) {
            forget(b, CONTAINER_OF(link, struct shown, link));
        }
        map_done(&b->shown);
        free(b);
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

/* --- taking --- */

static struct shown *shown_by(const struct gossip_badges *b, uint64_t id)
{
    struct map_node *node = map_get(&b->shown, &id, sizeof(id));
    return node ? CONTAINER_OF(node, struct shown, by_id) : NULL;
}

/* The one whose turn is longest ago makes room: its badges might be shown again, by then. */
static struct shown *shown_add(struct gossip_badges *b, uint64_t id)
{
    if (b->shown.count >= LIMIT_GOSSIP_BADGES) {
        forget(b, CONTAINER_OF(b->latest_last.next, struct shown, link));
    }
    struct shown *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    s->id = id;
    if (map_insert(&b->shown, &s->by_id, &s->id, sizeof(s->id))) {
        free(s);
        return NULL;
    }
    list_push_back(&b->latest_last, &s->link);
    return s;
}

static bool is_life(const struct shown *s, const struct gossip_sender *sender)
{
    return s->boot == sender->boot && s->salt == sender->salt;
}

static int use(struct gossip_badges *b, struct shown *s, const struct gossip_sender *sender,
               uint64_t serial)
{
    if (s && is_life(s, sender) && !gossip_window_is_new(&s->window, serial)) {
        return -EALREADY;
    }
    s = s ? s : shown_add(b, sender->id);
    if (!s) {
        return -ENOMEM;
    }
    if (!is_life(s, sender)) {
        s->boot = sender->boot;
        s->salt = sender->salt;
        s->window = (struct gossip_window){0};
    }
    gossip_window_accept(&s->window, serial);
    list_remove(&s->link);
    list_push_back(&b->latest_last, &s->link);
    return 0;
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
    struct shown *s = shown_by(b, h.sender.id);
    if (s && !is_life(s, &h.sender) && h.sender.boot <= s->boot) {
        return -EALREADY; /* of an earlier life */
    }
    bind_to(g->me->id, g->me->boot, digest, bound);
    if (gossip_seal_open(g->seal, &h, &binding, sealed, sizeof(sealed), body) ||
        body[0] >= GOSSIP_BADGES) {
        return -EACCES;
    }
    int error = use(b, s, &h.sender, gossip_load48(body + 1));
    if (error == 0) {
        *ret_badge = (enum gossip_badge)body[0];
    }
    return error;
}
