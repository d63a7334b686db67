/* layout.h - keeps an inventory true to an OCI image layout on disk (image-spec, "Image Layout").
 *
 * The second store: `--store oci-layout:DIR`. Needs no containerd: for a first try, for debugging
 * with curl, and as a seed in air-gapped sites. inotify on DIR and on DIR/blobs/sha256 sees
 * changes; a changed index.json is read again, and one that cannot be read leaves the images as
 * they were. Names: layout_index.h. Images without a registry are answered whatever registry is
 * asked for; their digests are announced, their tags are not, and a log line says so. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/loop.h"
#include "store/inventory.h"

struct layout;

struct layout_counters { /* since the start */
    uint64_t index_reads;
    uint64_t index_failures;        /* no JSON, no index, too large, unreadable */
    uint64_t malformed_descriptors; /* and unusable names, at each reading */
    uint64_t rescans;               /* full listings of blobs, the first included */
    uint64_t overflows;             /* of the inotify queue; each causes a rescan */
    uint64_t unparsable_manifests, corrupt_manifests;
    uint64_t wrong_sizes; /* blobs of another size than their manifest says: withdrawn */
    uint64_t over_limit;  /* blobs beyond LIMIT_LAYOUT_BLOBS */
};

/* DIR must be a directory; what is in it may come later. `loop` and `inventory` must outlive it.
 * 0; -ENOENT, -ENOTDIR, -EACCES … with a sentence; -ENOMEM. */
int layout_new(struct loop *loop, struct inventory *inventory, const char *dir,
               struct layout **ret_layout, struct error *err);

/* `listed` runs once, from the loop, when blobs and index were read for the first time, and the
 * manifests among them. To be called in the same callback of the loop as layout_new. */
void layout_on_listed(struct layout *l, void (*listed)(void *arg), void *arg);

/* Does not touch the inventory, whose blobs refer to this store's root: free the inventory first or
 * directly after. Jobs under way on the pool clean up after themselves. NULL is fine. Not from
 * within `listed` or the inventory's listener. */
void layout_free(struct layout *l);

bool layout_is_listed(const struct layout *l);   /* as `listed`; true ever after */
const char *layout_path(const struct layout *l); /* absolute */
const struct layout_counters *layout_counters(struct layout *l);
