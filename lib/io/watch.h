/* watch.h - what changes in one directory, by inotify (inotify(7)) on a raw descriptor.
 *
 * libuv's uv_fs_event drops overflows and merges kinds, and both matter here: a lost event is a
 * blob that is never announced or never withdrawn. So what cannot be told entry by entry is told
 * as "list it again", never swallowed.
 *
 * The directory need not exist. Every directory on the way to it is watched as well, so that its
 * appearing, being deleted, renamed away, replaced or unmounted is seen, as often as it happens.
 * Where the kernel gives no watch (no permission, fs.inotify.max_user_* used up) the watch is
 * blind: it then says WATCH_RESCAN every LIMIT_WATCH_RETRY_MS and tries again. */
#pragma once

#include <stdint.h>

#include "io/loop.h"

enum watch_kind {
    WATCH_ADDED,    /* an entry was renamed or linked here, created, or closed after writing; one
                     * that is being written is told at its creation and again at its end */
    WATCH_REMOVED,  /* an entry was unlinked or renamed away */
    WATCH_RESCAN,   /* the directory appeared, vanished or is another one now; or blind */
    WATCH_OVERFLOW, /* the kernel's queue was full: events were lost */
};

struct watch;

/* `name` is the entry's, valid during the callback; NULL for WATCH_RESCAN and WATCH_OVERFLOW, after
 * both of which the directory must be listed again. Runs from the loop only; may call
 * watch_free. */
typedef void watch_callback(void *arg, enum watch_kind kind, const char *name);

/* `path` is absolute and copied; symbolic links in it are followed. The watch is armed when this
 * returns: who lists the directory after it misses nothing. 0, -EINVAL (path not absolute or too
 * long), -ENOMEM. */
int watch_new(struct loop *loop, const char *path, watch_callback *callback, void *arg,
              struct watch **ret_watch);
void watch_free(struct watch *w); /* NULL is fine; no callback runs after */

/* 0 while the directory is watched; -ENOENT while it does not exist; any other negative errno:
 * blind, for this reason. */
int watch_status(const struct watch *w);
