/* mirror.h - what this node lacks, from a node that has it.
 *
 * One `mirror_answer` is one request's life: holders are looked up, asked in order with hedging,
 * the first good head wins, the body is relayed (spliced where it can be, verified first where it
 * is small or doubted), and another holder continues at the offset when one fails. Times, retries
 * and the doubt rule: architecture.md, "Time", "Failing"; caps: limits.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gossip/badge.h"
#include "io/address.h"
#include "io/loop.h"
#include "io/server.h"
#include "oci/digest.h"
#include "oci/path.h"

struct cold;

struct mirror_holder {
    uint8_t node_id[6];
    union address address; /* of its registry port */
};

struct mirror_config {
    uint32_t resolve_timeout_ms; /* --mirror-resolve-timeout: for a holder to become known */
    uint32_t resolve_retries;    /* --mirror-resolve-retries: holders before the first byte */
    /* Fills holders, best first; a memory read. Exactly one of digest and tag is set; tag is
     * "registry/repository:tag". */
    size_t (*lookup)(void *arg, const struct digest *digest, const char *tag,
                     struct mirror_holder *ret_holders, size_t max);
    /* The data path could not reach a node: local back-off and an immediate probe. */
    void (*unreachable)(void *arg, const uint8_t node_id[6]);
    /* May be NULL. It answered, whatever it said: ends the back-off. */
    void (*answered)(void *arg, const uint8_t node_id[6]);
    /* "Basic …" for peers, NULL while basic auth is off; asked anew for each transfer. */
    const char *(*authorization)(void *arg);
    /* Whether containerd has this digest by now (the doubt rule). */
    bool (*held)(void *arg, const struct digest *digest);
    /* May be NULL. True while the index is known to be complete: then an empty look-up is a miss
     * at once instead of after resolve_timeout_ms. */
    bool (*settled)(void *arg);
    /* NULL: no cold rollouts, and no query says `cold`. */
    struct cold *cold;
    /* May be NULL. Writes what shows the node that this request comes from a member (a badge,
     * gossip/badge.h); `follows`: which takes a download under way, too. False: without it then. */
    bool (*badge)(void *arg, const uint8_t node_id[6], const struct digest *digest, bool follows,
                  char ret_text[GOSSIP_BADGE_TEXT_BYTES]);
    /* Where a member is; false: not to be asked (any more). Set where cold is. */
    bool (*member)(void *arg, uint64_t id, struct mirror_holder *ret_holder);
    void *arg;
};

struct mirror_query {
    enum { MIRROR_MANIFEST, MIRROR_BLOB } kind;
    bool head;
    bool cold;            /* if nobody holds it, the arbiter is to be asked: mirror_config.cold */
    bool local_client;    /* from this node's containerd: the doubt rule applies */
    const char *registry; /* `ns`; "" for a digest asked without it */
    const char *repository;
    const char *tag; /* NULL when by digest */
    struct digest digest;
    const char *range; /* the Range header or NULL */
};

struct mirror_counters {
    uint64_t hits, misses; /* answered from a peer; 404 */
    uint64_t bytes_spliced, bytes_copied, bytes_verified;
    uint64_t resumed, hedged,
        stalled; /* continued elsewhere; second holder asked; 2 s without progress */
    uint64_t mismatches, doubted, excluded, convicted;
    uint64_t peer_errors, peer_busy, cut_short; /* cut_short: FIN because no holder was left */
    uint64_t over_cap, verify_budget_waits;
    double last_success_unix_s;
};

struct mirror;
int mirror_new(struct loop *loop, const struct mirror_config *config, struct mirror **ret_mirror);
/* After server_free: every request is over by then. */
void mirror_free(struct mirror *m);

/* Takes over the answer of `c`: it will be answered exactly once (206/200 with a body, or a 404
 * with the spec's error and detail.attempts, or 503 with Retry-After over the cap). Strings of the
 * query are copied. */
void mirror_answer(struct mirror *m, struct conn *c, const struct mirror_query *query);
/* The server's `gone`: the client left before the answer. Unknown conns are ignored. */
void mirror_gone(struct mirror *m, struct conn *c);

/* This node leaves: of those who wait for what somebody fetches, each is told that nobody has it.
 */
void mirror_let_go(struct mirror *m);

/* Some who hold it, as members of a JSON array, for those who cannot be served here. 0 or -ENOBUFS,
 * -ENOMEM. */
int mirror_write_holders(struct mirror *m, const struct digest *digest, struct buf *json);

/* This node was told that its copy is doubted (X-Spegel-Doubt): hashes the file on the pool, one at
 * a time, once per digest and hour; `wrong` is called when it does not match. fd is taken over. */
void mirror_check_own(struct mirror *m, const struct digest *digest, int fd,
                      void (*wrong)(void *arg, const struct digest *digest), void *arg);

/* This node's store has it now (the doubt rule). */
void mirror_appeared(struct mirror *m, const struct digest *digest);

/* A copy of the digest that the member `giver` sent here is wrong, for certain. Whose fault that
 * is: the giver's if it holds the digest, for then its own copy is right; else it passed on what
 * came from `origin`, as it said. Origin unknown: it remains a doubt about this digest. Who is
 * convicted is not asked for LIMIT_COLD_DOUBT_MS, and is the last to be asked for LIMIT_DOUBT_MS.
 */
void mirror_copy_wrong(struct mirror *m, const struct digest *digest, uint64_t giver,
                       uint64_t origin);

/* A node came back with a new incarnation: copies of it that were found wrong may be right now. */
void mirror_node_restarted(struct mirror *m, const uint8_t node_id[6]);

const struct mirror_counters *mirror_counters(const struct mirror *m);
/* Look-up to first byte, for spegel_resolve_duration_seconds: called once per mirrored request. */
void mirror_on_resolved(struct mirror *m, void (*fn)(void *arg, double seconds), void *arg);
