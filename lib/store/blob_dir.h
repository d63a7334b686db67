/* blob_dir.h - keeps an inventory true to the files in one ROOT/blobs/sha256.
 *
 * Every regular file there whose name is a digest is held, with the size it has. inotify tells of
 * changes; when it cannot (the directory is another one, the queue overflowed) everything is listed
 * again on the thread pool and compared. For stores where the file system alone decides what is
 * held; containerd's does not. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/loop.h"
#include "store/inventory.h"

struct blob_dir;

struct blob_dir_counters { /* since the start */
    uint64_t rescans;      /* full listings, the first included */
    uint64_t overflows;    /* of the inotify queue */
    uint64_t over_limit;   /* blobs beyond LIMIT_LAYOUT_BLOBS */
};

/* `root` and `inventory` must outlive it. `changed` runs from the loop after each listing and after
 * each blob that came. 0, -EINVAL (the path is not absolute or too long), -ENOMEM. */
int blob_dir_new(struct loop *loop, struct inventory *inventory, const struct blob_root *root,
                 void (*changed)(void *arg), void *arg, struct blob_dir **ret_dir);

/* Leaves the inventory as it is. NULL is fine. Not from within `changed`. */
void blob_dir_free(struct blob_dir *dir);

bool blob_dir_is_listed(const struct blob_dir *dir); /* once, at least */
const struct blob_dir_counters *blob_dir_counters(const struct blob_dir *dir);
