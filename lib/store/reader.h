/* reader.h - reads, for an inventory, the manifests it asks for, until it asks for none.
 *
 * Takes inventory_unparsed's digests, reads them on the pool and tells the inventory what they say.
 * What it finds decides about the file: corrupt bytes are condemned (inventory_condemn), a missing
 * or unreadable file is withdrawn, sound bytes that are no manifest stay held as a blob. What is
 * for want of memory or descriptors is tried again after LIMIT_READER_RETRY_MS.
 *
 * Several readers may share an inventory: each takes what is there. Not from within `idle` may the
 * reader be freed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/loop.h"
#include "store/inventory.h"

struct reader;

struct reader_counters {
    uint64_t read, unparsable, corrupt, missing, retried;
    uint64_t wrong_sizes; /* blobs of another size than a manifest says, see reader_check_sizes */
};

/* `idle` (may be NULL) runs from the loop, once after one or more kicks, when there is nothing left
 * to read, or nothing that can be read at the moment; both outlive the reader. 0 or -ENOMEM. */
int reader_new(struct loop *loop, struct inventory *inventory, void (*idle)(void *arg), void *arg,
               struct reader **ret_reader);
/* From now on a blob whose file has another size than the manifest that names it says is condemned.
 * For stores that know sizes from nowhere else; containerd has checked a digest, so where a
 * manifest differs it is the manifest that lies. */
void reader_check_sizes(struct reader *r);
void reader_free(struct reader *r); /* NULL is fine; no callback runs after */

/* There may be something to read: call after telling the inventory of blobs or images. Cheap, and
 * as often as one likes. */
void reader_kick(struct reader *r);
bool reader_is_idle(const struct reader *r);

const struct reader_counters *reader_counters(const struct reader *r);
