/* bulk.h - the gossip core's larger bodies (sets, snapshots): GETs under way to other nodes'
 * registry ports. Private to lib/cluster. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "gossip/core.h"
#include "io/fetch.h"

/* A fetch ended: status 0 with the body of a 200 (the callee's to read until it returns, or to
 * take), or a negative errno, -EAGAIN where the node said 503, and an empty body. From the loop,
 * once for each bulk_start that returned 0; not at all after bulk_done. */
typedef void bulk_fn(void *arg, uint32_t id, int status, struct buf *body);

struct bulk { /* in place; set by bulk_init */
    struct fetcher *fetcher;
    bulk_fn *ended;
    void *arg;
    struct list fetches;
};

/* The fetcher outlives this, and the callbacks of what bulk_done cancelled. */
void bulk_init(struct bulk *b, struct fetcher *fetcher, bulk_fn *ended, void *arg);
/* Cancels all; call it while the loop can still run what cleans up behind them. */
void bulk_done(struct bulk *b);

/* Starts one. `authorization` is the value of that header, NULL for none; copied like `wanted`. 0,
 * or negative errno (no memory, an address of no family): then nothing follows. */
int bulk_start(struct bulk *b, const struct gossip_fetch *wanted, const char *authorization);
