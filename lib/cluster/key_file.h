/* key_file.h - the cluster's keys in a file that may change under us.
 *
 * The file is looked at again every few seconds, through all symbolic links anew, so that a Secret
 * that Kubernetes swaps (..data) takes effect without a restart. A new file that is missing, not to
 * be read or malformed leaves the ring as it was, which is said once and counted at each look. At
 * the start there is no ring to keep, and that fails: a cluster that was given a key never talks
 * under a weaker one.
 *
 * Whoever writes it in place should write it whole (rename beats that): half a file may be a ring
 * of fewer keys until the next look. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "cluster/key_ring.h"
#include "io/loop.h"

struct key_file;

struct key_file_counters {
    uint64_t loads;    /* rings taken up, the first included */
    uint64_t failures; /* looks at a file that could not be used */
};

/* Reads the file. `changed` runs from the loop with each later ring that differs; 0, or a negative
 * errno: then the old ring stays and the next look tries again. `path` is copied. 0; -ENOMEM; or
 * why the file cannot be used, with the sentence: not to be read, no regular file (-EINVAL), longer
 * than LIMIT_KEY_FILE_BYTES (-E2BIG), or as key_ring_parse says. */
int key_file_new(struct loop *loop, const char *path,
                 int (*changed)(void *arg, const struct key_ring *ring), void *arg,
                 struct key_file **ret_file, struct error *err);
void key_file_free(struct key_file *f); /* wipes the keys; NULL is fine */

const struct key_ring *key_file_ring(const struct key_file *f); /* as of now, lives as long as f */
const struct key_file_counters *key_file_counters(const struct key_file *f);
