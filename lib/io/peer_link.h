/* peer_link.h - a TCP connection to a peer, made by libcurl, and the pool of kept ones. Private to
 * io/peer.c and io/peer_link.c. */
#pragma once

#include "base/list.h"
#include "io/peer.h"

struct peer_pool {
    struct multi *multi;
    struct list idle; /* the longest idle first */
    size_t idle_count, lent_count;
    struct timer expiry;
    char scratch[16 * 1024]; /* heads are read into it; nothing stays in it between calls */
};

struct peer_link {
    struct list link; /* in the pool's idle list */
    struct peer_pool *pool;
    union address to;
    struct multi_transfer transfer; /* while connecting */
    int fd;                         /* -1 while connecting */
    struct poll *poll;
    uint64_t idle_since_ms;
    bool idle;
    int low_water_bytes;
    /* The user's. `connected` is not called for a kept link. */
    void (*connected)(void *arg, int error);
    void (*ready)(void *arg, int events);
    void *arg;
};

/* A kept connection to this very address, or NULL. Set ready and arg at once. */
struct peer_link *peer_link_take(struct peer_pool *pool, const union address *to);
/* A new one: `connected` comes from the loop. 0, -ENOMEM, -EINVAL. */
int peer_link_new(struct peer_pool *pool, const union address *to,
                  void (*connected)(void *arg, int error), void (*ready)(void *arg, int events),
                  void *arg, struct peer_link **ret_link);
void peer_link_keep(struct peer_link *l); /* back to the pool, which may close others */
void peer_link_free(struct peer_link *l); /* closes it; NULL is fine */
