/* file_watch.h - what happens to files that are held open, by inotify (inotify(7)).
 *
 * watch.h tells of the names in a directory; this tells of inodes, wherever they are named: that
 * one was written to, renamed, linked, unlinked. All files of a `struct file_watches` share one
 * inotify descriptor, and several watches of one inode share its kernel watch. Which change it was
 * is not told beyond what saves looking: who watches looks for itself, and must look now and then
 * unasked where the kernel gives no watch. */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "io/loop.h"

enum file_change {
    FILE_WRITTEN, /* its bytes or its size; of a directory also its entries */
    FILE_MOVED,   /* its name, its links, its attributes; or events were lost: anything */
};

struct file_watches;

struct file_watch { /* caller-owned; zeroed, it is one that does not run */
    struct file_watches *watches;
    struct list link;
    int wd;
    void (*changed)(void *arg, enum file_change change);
    void *arg;
};

int file_watches_new(struct loop *loop, struct file_watches **ret_watches); /* 0 or -ENOMEM */
void file_watches_free(struct file_watches *s); /* no watch may run; NULL is fine */

/* `fd` is an open file or directory; it may be closed then, but only one that stays open keeps the
 * inode from ending. `changed` runs from the loop, once for each event, and must not start or stop
 * watches: it notes what to look at. Events from before the start are not told: look after it. 0;
 * -ENOSPC, -EMFILE (fs.inotify.max_user_*), -EACCES …, -ENOMEM: not watched. */
int file_watch_start(struct file_watches *s, struct file_watch *w, int fd,
                     void (*changed)(void *arg, enum file_change change), void *arg);
void file_watch_stop(struct file_watch *w); /* not running: fine; no callback runs after */
bool file_watch_running(const struct file_watch *w);
