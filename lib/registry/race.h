/* race.h - holders asked in order, the next one when the last is slow or fails; the first that is
 * ready wins (architecture.md, "Time"). Private to registry/.
 *
 * Used for the first byte, where --mirror-resolve-retries caps the holders asked, and for going on
 * at an offset, where every remaining one may be tried. */
#pragma once

#include "base/buf.h"
#include "registry/attempt.h"

#define RACE_HOLDERS 16

struct race { /* embedded; zero before race_start */
    struct mirror *mirror;
    struct want want;
    struct mirror_holder holders[RACE_HOLDERS];
    size_t count, next;
    struct list attempts;
    uint64_t started_ms, asked_ms, head_ms; /* head_ms: of the latest good head, 0 none */
    struct timer timer;
    bool was_late;   /* the timer fired long after it was due: that is forgiven once */
    struct buf *log; /* members of the JSON array detail.attempts; may be NULL */
    void (*won)(struct race *race, struct attempt *winner); /* the winner is the callee's */
    void (*lost)(struct race *race);
    bool running, met_busy; /* met_busy: some holder said to come later */
};

/* race->won, lost and log are set by the caller. Asks the first holder. 0, or -ENOENT: none could
 * be asked, and no callback comes. Exactly one callback else, from the loop. */
int race_start(struct race *race, struct mirror *m, const struct want *want,
               const struct mirror_holder *holders, size_t count);
void race_stop(struct race *race); /* closes what is under way; not running: fine */
