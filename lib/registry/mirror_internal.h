/* mirror_internal.h - what the files of the mirror share; nobody else includes it.
 *
 *   mirror.c      the whole: set-up, counters, which holders come into question
 *   transfer.c    one request: look-up, race, answer
 *   race.c        several holders, the first good one wins
 *   guide.c       cold rollouts: the parents that the arbiter names, one after the other;
 *                 blame.c those that failed
 *   attempt.c     one holder asked; verdict.c judges its head
 *   proof.c       whether what came by the cold path was right, if containerd does not take it
 *   relay.c       a large body on its way; relay_source.c who goes on when a holder fails
 *   givers.c      whose bytes it was made of
 *   tell.c        a doubted holder is told; own_check.c is what it then does,
 *                 copy_check.c how a file is hashed
 *   doubt.c, marks.c, budget.c, head_times.c  what is remembered */
#pragma once

#include "base/list.h"
#include "io/multi.h"
#include "io/peer.h"
#include "registry/budget.h"
#include "registry/doubt.h"
#include "registry/head_times.h"
#include "registry/mirror.h"
#include "registry/own_check.h"
#include "registry/tell.h"
#include "registry/verdict.h"

struct mirror {
    struct loop *loop;
    struct mirror_config config;
    struct mirror_counters counters;
    struct multi *multi;
    struct peer_pool *peers;
    struct pipe_pool *pipes;
    struct budget budget;
    struct doubt doubt;
    struct marks failed; /* holders not to be asked for a digest again so soon */
    struct head_times head_times;
    struct own_check own_check;
    struct list transfers;
    size_t transfer_count;
    struct teller teller;
    void (*resolved)(void *arg, double seconds);
    void *resolved_arg;
};

/* Holders worth asking, best first: the look-up's, without those that just failed, are excluded or
 * were just convicted, the doubted ones last. `key` is the digest, or the tag's hash. *ret_known
 * says how many the look-up gave. */
size_t mirror_holders(struct mirror *m, const struct mirror_query *query, const struct digest *key,
                      struct mirror_holder *ret_holders, size_t max, size_t *ret_known);

/* This holder is not asked for `key` again within LIMIT_FAILED_MS; but a digest that it denies as a
 * blob it may well have as a manifest, and the other way round. */
void mirror_mark_failed(struct mirror *m, const struct mirror_query *query,
                        const struct digest *key, const struct mirror_holder *holder);

/* The hash of "registry/repository:tag", or the digest: what `failed` is kept by. */
void mirror_key(const struct mirror_query *query, struct digest *ret_key);

/* One more of detail.attempts; log may be NULL. */
void mirror_note_attempt(struct buf *log, const struct mirror_holder *holder, const char *outcome);

/* The target and header lines of one request to a peer. 0, -ENOBUFS, -ENOMEM or -EINVAL. */
int mirror_write_target(const struct mirror_query *query, struct buf *ret_target);
int mirror_write_fields(struct mirror *m, const struct want *want, const struct mirror_holder *to,
                        struct buf *ret_fields);
