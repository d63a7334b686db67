/* guide.h - whom a follower receives from, and who next: the cold path's counterpart of race.h.
 * Private to registry/.
 *
 *   guide_start ──ask──► OFFER ──► one parent after the other ──ready──► won
 *                 │                  │ all failed: ask again, naming them
 *                 │                  │ silent for LIMIT_NO_PROGRESS_MS: ask, and stay or change
 *                 ├────► WAIT: ask again later
 *                 └────► GRANT, NONE, or LIMIT_SWARM_FIRST_BYTE_MS in all: ended
 *
 * A parent that has nothing yet keeps the request open, so silence is no fault of its own: the
 * arbiter, which hears from the parent, says whether to stay. */
#pragma once

#include "base/buf.h"
#include "registry/attempt.h"
#include "registry/cold.h"

enum guide_end { GUIDE_GRANTED, GUIDE_NOBODY };

struct guide { /* embedded; zero before guide_start */
    struct mirror *mirror;
    struct cold *cold;
    struct cold_flight *flight;
    struct want want;
    struct cold_ask ask;
    struct gossip_answer answer; /* the last OFFER */
    size_t next;                 /* of its offers */
    struct attempt *attempt;
    uint64_t parent;           /* the attempt's, or the one that the caller still has */
    uint64_t kept;             /* the caller's, while a faster one is tried; 0: none is */
    struct gossip_want failed; /* only its list */
    unsigned rounds;           /* parents that failed in a row */
    uint64_t until_ms;
    struct timer timer;
    struct buf *log; /* members of the JSON array detail.attempts; may be NULL */
    void (*won)(struct guide *g, struct attempt *winner); /* the winner is the callee's */
    void (*ended)(struct guide *g, enum guide_end why);
    void (*better)(struct guide *g); /* from guide_flowing on: call guide_change; may be NULL */
    void *arg;
    struct cold_ask review; /* whether the parent that won is much slower than others */
    uint64_t reviewed_ms;
    bool running;
};

/* cold, flight, mirror, log and the callbacks are set by the caller. Asks for `want` from its
 * `first` on. Exactly one of won and ended follows, from the loop, unless guide_stop comes first.
 * 0 or -ENOMEM. */
int guide_start(struct guide *g, const struct want *want);
/* The parent that won gives nothing: is it to be left? The caller keeps its connection until won or
 * ended, and says guide_flowing if bytes come after all. Running already: it goes on. 0 or -ENOMEM.
 */
int guide_stalled(struct guide *g, const struct want *want);
/* The parent that won gave bytes, `want` is what is left: whatever was being asked about it is
 * settled. Each LIMIT_SWARM_SLOW_MS the arbiter is asked for a much faster one, and `better` called
 * when there is one. */
void guide_flowing(struct guide *g, const struct want *want, const struct attempt *from,
                   size_t bytes);
/* Inside `better`: the faster one is tried, and won follows with its first byte, at want's `first`;
 * the old parent has given more by then. Should it fail, nothing follows. 0 or -ENOMEM. */
int guide_change(struct guide *g, const struct want *want);
/* The parent that won broke: another one is looked for, from want's `first` on; what guide_stalled
 * began goes on. The same callbacks; 0 or -ENOMEM. */
int guide_lost(struct guide *g, const struct mirror_holder *source, const struct want *want);
void guide_stop(struct guide *g); /* not running: fine */
