/* holding.h - what this node holds, on its way to the gossip core: gathered within a turn of the
 * loop and told together, and not at all before contents are listed.
 *
 * The wait matters: a node that comes back with the contents it had costs nobody a transfer, but
 * only if its first announcement is of all of them (gossip/core.h, GOSSIP_LOCAL_ADD). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"

struct holding { /* in place; the fields are holding.c's */
    struct loop *loop;
    struct defer flush;
    uint64_t *keys;
    bool *added; /* beside keys: came or went */
    size_t count, capacity;
    bool listed, told;
    void (*tell)(void *arg, bool added, const uint64_t *keys, size_t count);
    void *arg;
};

/* `tell` runs in the turn after a change, never inside the functions below; the first call, which
 * may have no keys, is of keys that were added. */
void holding_init(struct holding *h, struct loop *loop,
                  void (*tell)(void *arg, bool added, const uint64_t *keys, size_t count),
                  void *arg);
void holding_done(struct holding *h);

/* 0; -ENOMEM or, at LIMIT_HOLDING_CHANGES untold ones, -ENOBUFS: then the change is lost. */
int holding_change(struct holding *h, uint64_t key, bool added);

/* Contents are listed: from the next turn on the core is told, if only that nothing is held. */
void holding_set_listed(struct holding *h);
