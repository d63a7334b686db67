/* proof.h - a copy that containerd does not take: were its bytes wrong, and who gave them?
 * Private to registry/.
 *
 * containerd verifies a download when it is complete, commits it within moments, and otherwise
 * fails the whole pull, which throws away what was right with it. From outside, wrong bytes look
 * like a pull that was cancelled as the last byte came; only a hash tells. So a download that one
 * giver's bytes alone completed, and that is not committed in the time a disk may take for it, or
 * is unlinked, is hashed on the pool, once. That it was wrong is then certain, and is told by
 * cold_config's `wrong`: what a peer did to one layer it does to the next, and each would cost
 * another pull (mirror_copy_wrong).
 *
 * Whoever gave the bytes may have received them itself. So whoever feeds others from what it
 * receives says from whose copy that comes, its *origin*: X-Spegel-Origin, the id of a member that
 * fetches from upstream or holds it, or "unknown". Without that field it is the feeding node. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gossip/addr.h"

struct cold_flight;

struct proof {              /* in a flight; zero: nobody's bytes so far */
    uint64_t giver, origin; /* origin 0: unknown */
    bool mixed;             /* some are another giver's, upstream's, or nobody knows whose */
    bool has_copy, is_done;
    int fd; /* has_copy: of the complete file, which may be unlinked any moment */
    uint64_t full_ms;
};

/* Bytes of this member went into it; 0: upstream's did, or nobody's known. */
void proof_gave(struct cold_flight *f, uint64_t giver, uint64_t origin);
/* What its children are told: X-Spegel-Origin, or NULL when they need not be. */
const char *proof_origin(const struct cold_flight *f, char ret_text[GOSSIP_ID_TEXT_BYTES]);
/* After each look at its ingest. */
void proof_look(struct cold_flight *f);
/* Its ingest is gone: what was complete is hashed now, and the next bytes are a new download's. */
void proof_unlinked(struct cold_flight *f);
/* It was committed, or the flight ends. */
void proof_settled(struct cold_flight *f);
