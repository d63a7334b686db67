/* attempt.h - one holder asked for one thing. Private to registry/.
 *
 *            head       small, whole       verified
 *   ASKED ────────┬──────► COLLECTING ───────────────► READY
 *                 ├──────► BUDGET (waits for memory, then collects)
 *                 └──────► FIRST_BYTE (large, or a part) ─► READY
 *   any ───────────────────────────────────────────────► FAILED
 *
 * READY means that our client may be answered with it at once: a HEAD's answer, a 416, a body that
 * is here and has the right digest, or a stream whose first byte has come. */
#pragma once

#include "base/list.h"
#include "io/peer.h"
#include "registry/budget.h"
#include "registry/verdict.h"

enum attempt_state {
    ATTEMPT_ASKED,
    ATTEMPT_BUDGET,
    ATTEMPT_COLLECTING,
    ATTEMPT_FIRST_BYTE,
    ATTEMPT_READY,
    ATTEMPT_FAILED,
};

/* FAILED: what to think of the holder. */
enum attempt_fault {
    FAULT_OURS,        /* no memory, no room to verify: asking another one is no use */
    FAULT_BUSY,        /* it may be asked again */
    FAULT_ANSWER,      /* it answered, but not with this content */
    FAULT_UNREACHABLE, /* it could not be talked to */
};

struct attempt {
    struct mirror *mirror;
    struct mirror_holder holder;
    enum attempt_state state;
    struct want want;    /* as asked; from the head on as found */
    bool goes_on;        /* asked for the rest of a body that another one began */
    bool streams;        /* READY: the body is to be read from the exchange */
    bool unsatisfiable;  /* READY: a 416 */
    const char *outcome; /* FAILED: a word or two */
    enum attempt_fault fault;
    struct peer_exchange *exchange;
    uint64_t asked_us;
    struct digest digest; /* of the content; for tags from the head on */
    char content_type[128];
    uint64_t origin; /* from the head on: the member whose copy all of it comes from; 0 unknown */
    /* COLLECTING */
    char *bytes; /* owned, want.total of them */
    size_t got_bytes;
    struct budget_claim claim;

    /* The asker's: called at most once each, from the loop; either may free the attempt. */
    void (*on_head)(struct attempt *a); /* a good head: the body may take its time */
    void (*on_ready)(struct attempt *a);
    void (*on_failed)(struct attempt *a);
    void (*on_readable)(struct attempt *a); /* READY and streaming: after peer_watch */
    void *arg;
    struct list link;
};

/* Asks; fill in nothing but the callbacks, arg, and what these arguments say. The query within
 * `want` must outlive the attempt. 0 or negative errno, then nothing was made. */
int attempt_new(struct mirror *m, const struct mirror_holder *holder, const struct want *want,
                struct attempt **ret_attempt);
void attempt_free(struct attempt *a); /* NULL is fine; closes the connection unless it is clean */
