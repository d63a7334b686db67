#include "gossip/seen.h"

#include "base/limits.h"
#include "gossip/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIFE_BYTES 16

struct life {
    struct map_node by_sender; /* in gossip_seen.lives */
    struct list link;          /* in gossip_seen.latest_last */
    uint8_t sender[LIFE_BYTES];
    struct gossip_window window;
};

static void forget(struct gossip_seen *seen, struct life *l)
{
    map_remove(&seen->lives, &l->by_sender);
    list_remove(&l->link);
    free(l);
}

void gossip_seen_init(struct gossip_seen *seen)
{
    map_init(&seen->lives);
    list_init(&seen->latest_last);
}

void gossip_seen_done(struct gossip_seen *seen)
{
    LIST_EACH_SAFE (link, &seen->latest_last) {
        forget(seen, CONTAINER_OF(link, struct life, link));
    }
    map_done(&seen->lives);
}

/* The one whose turn is longest ago makes room: what it sent might be sent again, by then. */
static struct life *add(struct gossip_seen *seen, const uint8_t sender[LIFE_BYTES])
{
    if (seen->lives.count >= LIMIT_GOSSIP_SEEN) {
        forget(seen, CONTAINER_OF(seen->latest_last.next, struct life, link));
    }
    struct life *l = calloc(1, sizeof(*l));
    if (!l) {
        return NULL;
    }
    memcpy(l->sender, sender, LIFE_BYTES);
    list_init(&l->link);
    if (map_insert(&seen->lives, &l->by_sender, l->sender, LIFE_BYTES)) {
        free(l);
        return NULL;
    }
    return l;
}

int gossip_seen_take(struct gossip_seen *seen, const struct gossip_sender *sender, uint64_t n)
{
    uint8_t key[LIFE_BYTES];
    gossip_store48(key, sender->id);
    gossip_store48(key + 6, sender->boot);
    memcpy(key + 12, &sender->salt, sizeof(sender->salt));
    struct map_node *node = map_get(&seen->lives, key, sizeof(key));
    struct life *l = node ? CONTAINER_OF(node, struct life, by_sender) : add(seen, key);
    if (!l) {
        return -ENOMEM;
    }
    if (!gossip_window_is_new(&l->window, n)) {
        return -EALREADY;
    }
    gossip_window_accept(&l->window, n);
    list_remove(&l->link);
    list_push_back(&seen->latest_last, &l->link);
    return 0;
}
