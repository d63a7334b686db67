#include "io/file_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "io/inotify.h"

#define MASK_WRITTEN (IN_MODIFY | IN_CREATE | IN_MOVED_TO)
#define MASK_MOVED (IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct file_watches {
    struct loop *loop;
    struct inotify inotify;
    struct list running;
};

static bool file_watches_event(void *arg, const struct inotify_event *event)
{
    struct file_watches *s = arg;
    bool all = event->mask & IN_Q_OVERFLOW;
    enum file_change change = event->mask & ~(unsigned)MASK_WRITTEN ? FILE_MOVED : FILE_WRITTEN;
    LIST_EACH (link, &s->running) {
        struct file_watch *w = CONTAINER_OF(link, struct file_watch, link);
        if (!all && w->wd != event->wd) {
            continue;
        }
        if (event->mask & IN_IGNORED) {
            w->wd = -1; /* the kernel has taken it away: the inode ended, or was unmounted */
        }
        w->changed(w->arg, change);
    }
    return true;
}

int file_watches_new(struct loop *loop, struct file_watches **ret_watches)
{
    struct file_watches *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    s->loop = loop;
    list_init(&s->running);
    inotify_init_closed(&s->inotify, file_watches_event, s);
    *ret_watches = s;
    return 0;
}

void file_watches_free(struct file_watches *s)
{
    if (!s) {
        return;
    }
    CHECK(list_empty(&s->running));
    inotify_close(&s->inotify);
    free(s);
}

int file_watch_start(struct file_watches *s, struct file_watch *w, int fd,
                     void (*changed)(void *arg, enum file_change change), void *arg)
{
    CHECK(!w->watches);
    int r = inotify_open(&s->inotify, s->loop);
    if (r < 0) {
        return r;
    }
    /* By way of the descriptor, so that it is this inode whatever the name leads to by now. */
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(s->inotify.fd, path, MASK_WRITTEN | MASK_MOVED);
    if (wd < 0) {
        return -errno;
    }
    *w = (struct file_watch){.watches = s, .wd = wd, .changed = changed, .arg = arg};
    list_push_back(&s->running, &w->link);
    return 0;
}

void file_watch_stop(struct file_watch *w)
{
    struct file_watches *s = w->watches;
    if (!s) {
        return;
    }
    list_remove(&w->link);
    w->watches = NULL;
    bool is_shared = false;
    LIST_EACH (link, &s->running) {
        is_shared |= CONTAINER_OF(link, struct file_watch, link)->wd == w->wd;
    }
    if (!is_shared && w->wd >= 0) {
        (void)inotify_rm_watch(s->inotify.fd, w->wd); /* gone already: fine */
    }
}

bool file_watch_running(const struct file_watch *w)
{
    return w->watches && w->wd >= 0;
}
