/* scan.h - reading a content directory on the thread pool: which blobs, and which manifests.
 *
 * Both run in bounded steps, one job on the pool at a time, and bring their results to the loop
 * step by step. The callbacks run from the loop, never inside a start function; `done` exactly
 * once, last, unless scan_free came first. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "io/loop.h"
#include "oci/digest.h"
#include "oci/manifest.h"

struct scan;

/* 0, or the negative errno that ended it early. The scan is freed after it returns. */
typedef void scan_done_fn(void *arg, int status);

struct scan_blob {
    struct digest digest;
    int64_t size_bytes;
};
typedef void scan_blobs_fn(void *arg, const struct scan_blob *blobs, size_t count);

/* Lists ROOT/blobs/sha256: regular files whose names are digests, at most LIMIT_SCAN_BLOBS at a
 * time; other entries are passed over. What changes meanwhile may be listed or not: arm a watch
 * first. A directory that does not exist is an empty one. `root_path` is copied. 0 or -ENOMEM. */
int scan_blobs(struct loop *loop, const char *root_path, scan_blobs_fn *batch, scan_done_fn *done,
               void *arg, struct scan **ret_scan);

struct scan_wanted {
    struct digest digest;
    const char *root_path; /* copied */
};
/* `status` is that of blob_file_manifest; `m` is NULL unless it is 0, and the callee's to look at
 * during the call only. */
typedef void scan_manifest_fn(void *arg, const struct digest *d, int status,
                              const struct manifest *m, const struct error *err);

/* Reads and verifies manifests, LIMIT_SCAN_MANIFESTS a step. 0 or -ENOMEM. */
int scan_manifests(struct loop *loop, const struct scan_wanted *wanted, size_t count,
                   scan_manifest_fn *manifest, scan_done_fn *done, void *arg,
                   struct scan **ret_scan);

/* Ends it without further callbacks; the job on the pool, if any, cleans up after itself when the
 * loop next runs. May be called from within the callbacks. NULL is fine. */
void scan_free(struct scan *s);
