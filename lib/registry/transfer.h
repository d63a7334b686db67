/* transfer.h - one mirrored request, from the look-up to its answer's end. Private to registry/.
 *
 *   LOOKING ──holders──► RACING ──won──► ANSWERED (a body is under way) ──► over
 *      │ none in time       │ lost            ▲
 *      └────────────────────┼──► 404, over    │
 *      │ few holders        │ ended           │
 *      └──────────────► GUIDED ──────won──────┘ */
#pragma once

#include "io/memory_body.h"
#include "registry/mirror_internal.h"
#include "registry/guide.h"
#include "registry/race.h"

#define TRANSFER_RANGE_BYTES 64 /* a longer Range header is not followed: 200, all of it */

struct transfer {
    struct list link;
    struct mirror *mirror;
    struct conn *conn; /* NULL once answered */
    struct mirror_query query;
    char registry[REFERENCE_REGISTRY_BYTES], repository[REFERENCE_REPOSITORY_BYTES];
    char tag[REFERENCE_TAG_BYTES], range[TRANSFER_RANGE_BYTES];
    struct digest key;
    struct want want;
    bool hashes; /* some copy is doubted */
    uint64_t started_us, look_until_ms;
    struct timer look_again;
    struct race race;
    struct cold_flight *flight; /* NULL: not by the cold path */
    struct guide guide;
    bool guided, is_granted;  /* it ended; with this node as the one that fetches */
    struct buf attempts;      /* JSON */
    struct attempt *verified; /* its bytes are the answer */
    struct memory_body memory;
};

/* Answers `c`, now or later, exactly once, and then goes. */
void transfer_start(struct mirror *m, struct conn *c, const struct mirror_query *query);
/* Before it was answered: the client left. */
void transfer_abandon(struct transfer *t);

/* Before it was answered: 404, so that containerd goes upstream. */
void transfer_let_go(struct transfer *t);

/* The 404 of a mirrored request: the spec's code, and who was asked with what outcome. */
void transfer_refuse(struct conn *c, const struct mirror_query *query, const char *message,
                     const struct buf *attempts);
