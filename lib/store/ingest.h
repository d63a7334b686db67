/* ingest.h - a download of containerd's that is under way, found by its digest and watched.
 *
 * While containerd fetches a blob its bytes lie in <content root>/ingest/<H>/data with
 * H = sha256hex("<namespace>/1/<kind>-<digest>"), where kind is layer, config, manifest, index,
 * attestation or unknown, and the size it expects in `total` beside it (containerd.md, section 3).
 * No call to containerd is needed to find it. An open descriptor stays good across the commit: the
 * inode is renamed into blobs/.
 *
 * What can happen to one, and what is said of it:
 *
 *   - it does not exist yet: INGEST_ABSENT; its appearing is seen
 *   - it grows: INGEST_GROWING, `changed` for each growth
 *   - it is committed: INGEST_COMMITTED; the bytes up to its size are all there is. Whether
 *     containerd's namespace holds them is the inventory's to say, a little later
 *   - it is unlinked (aborted, collected): INGEST_GONE; what was read so far was as good as before
 *   - it shrinks, or is written again from its start: INGEST_GONE too, as far as whoever serves
 *     from this descriptor is concerned; ingest_reopen looks for what is there now. Writing over
 *     the same bytes shows only after the second write (ingest_file.c): a reader may have had some
 *     of both
 *
 * A containerd that was killed leaves its downloads behind: GROWING, and never grown. Bytes are
 * unverified until the commit.
 *
 * Everything is seen by inotify; and looked at every LIMIT_INGEST_LOOK_MS all the same, so that
 * neither a lost event nor a kernel without watches to give makes anybody wait for ever. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/loop.h"
#include "oci/digest.h"

struct ingests; /* a content root's */
struct ingest;  /* one digest's download there */

enum ingest_state { INGEST_ABSENT, INGEST_GROWING, INGEST_COMMITTED, INGEST_GONE };

/* `content_root` (absolute) and `namespace` are copied; the directory need not exist. 0, -EINVAL
 * (not absolute, or one of them too long), -ENOMEM. */
int ingests_new(struct loop *loop, const char *content_root, const char *namespace,
                struct ingests **ret_ingests);
void ingests_free(struct ingests *s); /* every ingest must be closed; NULL is fine */
/* Files named `total` that held no number. */
uint64_t ingests_bad_totals(const struct ingests *s);

/* Looks at once; from then on `changed` runs from the loop after each change of what the functions
 * below say, once for all that happened in a turn; it may call anything here, ingest_close
 * included. Several may be open for one digest. 0 or -ENOMEM. */
int ingest_open(struct ingests *s, const struct digest *digest, void (*changed)(void *arg),
                void *arg, struct ingest **ret_ingest);
void ingest_close(struct ingest *i); /* NULL is fine; no callback runs after */

enum ingest_state ingest_state(const struct ingest *i);
int64_t ingest_size(const struct ingest *i);  /* bytes there; 0 while ABSENT; GONE: there once */
int64_t ingest_total(const struct ingest *i); /* bytes expected; -1 unknown; COMMITTED: its size */
/* Loop time of the last growth; before the first: of its appearing, or of the open. */
uint64_t ingest_grown_ms(const struct ingest *i);
/* A descriptor of its own for the caller, of GROWING or COMMITTED: -ENOENT in other states, or
 * another negative errno. Its file position is shared: read with pread or sendfile's offset. */
int ingest_dup(const struct ingest *i);
/* After GONE: as if opened anew; no callback runs for what it finds at once. */
void ingest_reopen(struct ingest *i);
