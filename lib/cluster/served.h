/* served.h - answers to GET /cluster/v1/…: sets and snapshots that the core builds in slices
 * (gossip_serve_begin), on their way to those who asked. Private to lib/cluster.
 *
 * A request waits without an answer while its body is built; the body is then sealed as the client
 * takes it, at most LIMIT_GOSSIP_SEAL_BYTES_PER_MS for all together, from 32 kB of room each. A
 * client that went away leaves nothing behind. */
#pragma once

#include "base/list.h"
#include "gossip/core.h"
#include "io/loop.h"
#include "io/server.h"

struct served { /* embedded */
    struct loop *loop;
    struct list waiting, sending;
    struct timer timer; /* who waits for the next millisecond's share of sealing */
    uint64_t share_ms;
    size_t share_bytes;
};

void served_init(struct served *s, struct loop *loop);
/* Forgets them all. Those not answered get none: the server must have said that they are gone, or
 * go itself. Bodies under way break off. */
void served_done(struct served *s);

/* 0: c is answered now or later, with 200 and the body or, should that come to nothing, 404 or 503.
 * Else it is the caller's to answer: what gossip_serve_begin and gossip_serving_ready say. */
int served_begin(struct served *s, struct gossip *core, const char *path, const char *auth,
                 struct conn *c);
/* After each step of the core: answers those whose bodies are built. */
void served_look(struct served *s);
/* As struct server_handler's: its client went away before it was answered. Any conn may be told. */
void served_gone(struct served *s, struct conn *c);
