/* relay.h - a body on its way from a peer to our client, and who goes on when the peer fails.
 * Private to registry/.
 *
 *   peer's socket ──splice──► pipe ──splice──► client's socket
 *   peer's socket ──read──► buffer (hashed when some copy of it is doubted) ──send──► client's
 *
 * The client pulls: nothing is read from the peer before the client's socket has room. A holder
 * that fails (no progress for LIMIT_NO_PROGRESS_MS while the client reads, reset, short) is left,
 * and a race among the remaining ones goes on at the offset. With none left the body ends in an
 * error, which the server makes a FIN; containerd's Range retry then finds the failed holders
 * excluded, so it goes upstream from that offset (containerd.md, section 2).
 *
 * A follower's source (guide.h) that gives nothing is not left before the arbiter was asked: what
 * is above it may be slow. When the guide ends, those who hold it all by now are tried, as above.
 *
 * A hashed body whose digest turns out wrong ends the same way, before its last chunk is sent: a
 * pull that failed anyway costs upstream no more than that chunk, a copy that was bad only near its
 * end is even repaired by the retry, and in no case do wrong bytes leave as a complete body. */
#pragma once

#include "registry/attempt.h"
#include "registry/guide.h"
#include "registry/race.h"

/* Answers `c` with this status and these fields and the bytes that `source` (READY, streaming,
 * taken over) begins with. `query` must outlive it. `over` runs once: 0, or why it ended early;
 * possibly before this returns. `guide`, which found the source and outlives it, or NULL. 0, or
 * -ENOMEM: nothing was answered, `source` is still yours. */
int relay_start(struct mirror *m, struct conn *c, int status, const struct buf *fields,
                const struct mirror_query *query, struct attempt *source, bool hash,
                struct guide *guide, void (*over)(void *arg, int status), void *arg);
