/* inotify.h - a raw inotify descriptor (inotify(7)) in the loop; for watch.h and file_watch.h.
 *
 * Reads the kernel's queue and hands its events over one by one, overflows included, in order. */
#pragma once

#include <stdbool.h>
#include <sys/inotify.h>

#include "io/loop.h"

/* Runs from the loop only. False: the callback freed what the `struct inotify` is part of. */
typedef bool inotify_callback(void *arg, const struct inotify_event *event);

struct inotify { /* caller-owned */
    int fd;      /* for inotify_add_watch and inotify_rm_watch; -1: closed */
    struct poll *poll;
    inotify_callback *callback;
    void *arg;
};

void inotify_init_closed(struct inotify *n, inotify_callback *callback, void *arg);
/* Nothing happens when it is open already. 0, -EMFILE (fs.inotify.max_user_instances), -ENOMEM. */
int inotify_open(struct inotify *n, struct loop *loop);
void inotify_close(struct inotify *n); /* closed already: fine; no callback runs after */
