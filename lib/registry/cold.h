/* cold.h - a node's part in cold rollouts: what its own containerd is downloading, which others may
 * be fed from, and the questions to the arbiter (gossip/swarm.h has the rules of the whole).
 *
 *   guide.h   this node as a follower: whom to receive from, and who next
 *   feed.h    this node as a parent: others receive from its ingest
 *
 * A *flight* is one digest on its way into this node's containerd. It begins with the first request
 * of that containerd which nobody's finished copy answers, and ends when the blob is held, or its
 * ingest is gone and nobody asks any more. All requests for a digest share it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "gossip/swarm.h"
#include "io/loop.h"
#include "oci/digest.h"
#include "store/ingest.h"

struct cold_config {       /* everything pointed at outlives it */
    const char *namespace; /* containerd's, for the ingests' paths */
    /* Where its content lies; "" while unknown, or where there is no containerd: then others cannot
     * be fed, and this node stays out. */
    const char *(*content_root)(void *arg);
    /* Whether the store has it; asked now and then, for blobs whose cold_held never comes because
     * they are not announced. */
    bool (*held)(void *arg, const struct digest *digest);
    /* May be NULL. containerd committed it, so its bytes are those of the digest, even if it is
     * collected again before the store has seen it. Once a flight. */
    void (*committed)(void *arg, const struct digest *digest);
    /* May be NULL. containerd did not take a complete download, and rightly: its bytes, all from
     * the member `giver`, which had them from `origin` or is that itself, are not those of the
     * digest (proof.h). origin 0: unknown. */
    void (*wrong)(void *arg, const struct digest *digest, uint64_t giver, uint64_t origin);
    /* To the gossip core. Answers come back by cold_answer, from the loop, never from inside. */
    void (*want)(void *arg, const struct gossip_want *want);
    void (*want_end)(void *arg, uint32_t ask);
    void (*flight)(void *arg, const struct gossip_flight *flight);
    void *arg;
};

struct cold_counters {
    /* as a follower: answers, and what came of them */
    uint64_t granted, followed, waited, stayed, switched, unanswered, out_of_patience;
    uint64_t bytes_followed;
    /* as a parent */
    uint64_t fed, fed_refused, fed_cut, bytes_fed;
    /* flights */
    uint64_t flights, flights_held, flights_gone, over_cap, no_ingest;
    uint64_t proven_wrong; /* complete, and not what the digest says */
};

struct cold;
struct cold_flight;

int cold_new(struct loop *loop, const struct cold_config *config, struct cold **ret_cold);
void cold_free(struct cold *c); /* after every request is over; NULL is fine */
struct cold_counters *cold_counters(struct cold *c);

/* The core's answer to an ask of this node. */
void cold_answer(struct cold *c, const struct gossip_answer *answer);
/* The store holds it by now. */
void cold_held(struct cold *c, const struct digest *digest);
/* The connection to containerd is lost: if it was killed, its downloads stay as they are, and would
 * look like slow ones. What nobody asks for is given up; a new request begins anew. */
void cold_containerd_lost(struct cold *c);
/* The members of GET /debug/swarm's answer that are about this node's flights. 0 or -ENOMEM. */
int cold_write_json(const struct cold *c, struct buf *json);

/* --- questions --- */

struct cold_ask { /* embedded; zero: none open */
    struct list link;
    uint32_t number;
    void (*answered)(struct cold_ask *ask, const struct gossip_answer *answer);
};
void cold_ask_start(struct cold *c, struct cold_ask *ask, struct gossip_want *want);
void cold_ask_end(struct cold *c, struct cold_ask *ask); /* none open: fine */

/* --- flights --- */

/* For a request of this node's containerd; leave when it is over. NULL: no ingests here, no memory,
 * LIMIT_SWARM_FLIGHTS, or no ingest of this digest: the request goes on without. containerd opens
 * the ingest before it asks (tests/e2e/test_ingest.py, on 1.6, 1.7 and 2.1), so whoever asks
 * without one downloads nothing here: somebody with curl, another namespace, a forged
 * X-Spegel-Node. He would be granted the download, begin nothing, and keep the others waiting. */
struct cold_flight *cold_flight_join(struct cold *c, const struct digest *digest);
void cold_flight_leave(struct cold_flight *f);

uint64_t cold_flight_key(const struct cold_flight *f);
/* Who is to give the bytes, as a member's id; 0: upstream. Told to the arbiters. */
void cold_flight_set_parent(struct cold_flight *f, uint64_t id);
/* Who gave some, and whose copy it comes from, as members' ids; origin 0: unknown. */
void cold_flight_gave(struct cold_flight *f, uint64_t giver, uint64_t origin);
/* Known from a parent's answer, where containerd does not say. */
void cold_flight_set_total(struct cold_flight *f, int64_t total_bytes);
