#include "io/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "io/inotify.h"

#define MASK_SELF (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD)
#define MASK_GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)
#define MASK_ADDED (IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE)
#define MASK_REMOVED (IN_DELETE | IN_MOVED_FROM)
#define MASK_WAY (MASK_SELF | IN_CREATE | IN_MOVED_TO | MASK_REMOVED)
#define MASK_TARGET (MASK_SELF | MASK_ADDED | MASK_REMOVED)

/* A directory on the way from "/" (level 0) to the one that is meant (the last level). */
struct level {
    size_t path_bytes; /* how much of watch.path names it */
    int wd;            /* -1: not watched */
};

struct watch {
    struct loop *loop;
    watch_callback *callback;
    void *arg;
    bool busy; /* a callback runs: watch_free leaves the memory to watch_tell */
    bool dead; /* watch_free was called meanwhile */

    struct inotify inotify; /* closed: the kernel gave none */
    struct timer tick;
    int status;

    char path[PATH_MAX];
    struct level levels[LIMIT_WATCH_DEPTH + 1];
    size_t target; /* index of the last level */
};

/* Runs the callback; false when it freed the watch. */
static bool watch_tell(struct watch *w, enum watch_kind kind, const char *name)
{
    w->busy = true;
    w->callback(w->arg, kind, name);
    w->busy = false;
    if (w->dead) {
        free(w);
        return false;
    }
    return true;
}

/* --- arming --- */

static int level_watch(struct watch *w, size_t i)
{
    char path[PATH_MAX];
    size_t n = w->levels[i].path_bytes;
    memcpy(path, w->path, n);
    path[n] = 0;
    int wd = inotify_add_watch(w->inotify.fd, path, i == w->target ? MASK_TARGET : MASK_WAY);
    return wd < 0 ? -errno : wd;
}

/* Watches the levels from `from` down to the first that does not exist. Each is armed before the
 * next is looked for, so that one made in between is told by an event. An unreadable directory on
 * the way is passed over: then its entry's comings and goings are seen by the tick only. */
static void watch_arm(struct watch *w, size_t from)
{
    w->status = inotify_open(&w->inotify, w->loop);
    if (w->status < 0) {
        return;
    }
    for (size_t i = from; i <= w->target; i++) {
        if (w->levels[i].wd >= 0) {
            (void)inotify_rm_watch(w->inotify.fd, w->levels[i].wd); /* gone already: fine */
            w->levels[i].wd = -1;
        }
    }
    for (size_t i = from; i <= w->target; i++) {
        int wd = level_watch(w, i);
        if (wd >= 0) {
            w->levels[i].wd = wd;
        } else if (wd == -ENOENT || wd == -ENOTDIR) {
            w->status = -ENOENT;
            return;
        } else if (i == w->target || wd != -EACCES) {
            w->status = wd;
            return;
        }
    }
}

/* Arms again from a level on that is another directory now. False when the watch was freed. */
static bool watch_rearm(struct watch *w, size_t from)
{
    bool was_missing = w->status == -ENOENT;
    watch_arm(w, from);
    if (was_missing && w->status == -ENOENT) {
        return true;
    }
    return watch_tell(w, WATCH_RESCAN, NULL);
}

/* Sees what brings no event: a file system mounted over the way, a watch refused earlier. Adding a
 * watch again gives the same number as long as it is the same directory. */
static void watch_ticked(void *arg)
{
    struct watch *w = arg;
    (void)timer_start(&w->tick,
                      LIMIT_WATCH_RETRY_MS); /* its place in the heap was freed just now */
    int wd = w->inotify.fd < 0 ? -EMFILE : level_watch(w, w->target);
    bool same = wd >= 0 ? wd == w->levels[w->target].wd && w->status == 0 : wd == w->status;
    bool is_blind = w->status < 0 && w->status != -ENOENT;
    if (!same || is_blind) {
        (void)watch_rearm(w, 0);
    }
}

/* --- events --- */

/* False when the watch was freed. */
static bool watch_entry(struct watch *w, const struct inotify_event *event)
{
    if (event->len == 0) {
        return true;
    }
    if (event->mask & MASK_ADDED) {
        return watch_tell(w, WATCH_ADDED, event->name);
    }
    return !(event->mask & MASK_REMOVED) || watch_tell(w, WATCH_REMOVED, event->name);
}

/* Is it the entry that leads from level i to the next one? */
static bool level_leads_to(const struct watch *w, size_t i, const char *name)
{
    size_t start = w->levels[i].path_bytes + (i > 0);
    size_t n = w->levels[i + 1].path_bytes - start;
    return strlen(name) == n && memcmp(w->path + start, name, n) == 0;
}

static bool watch_event(void *arg, const struct inotify_event *event)
{
    struct watch *w = arg;
    if (event->mask & IN_Q_OVERFLOW) {
        /* What was lost may as well have been about the way. */
        watch_arm(w, 0);
        return watch_tell(w, WATCH_OVERFLOW, NULL);
    }
    for (size_t i = 0; i <= w->target; i++) {
        if (w->levels[i].wd != event->wd) {
            continue;
        }
        if (event->mask & MASK_GONE) {
            return watch_rearm(w, i);
        }
        if (i == w->target) {
            return watch_entry(w, event);
        }
        if (event->len && level_leads_to(w, i, event->name)) {
            return watch_rearm(w, i + 1);
        }
        return true;
    }
    return true; /* of a watch that was removed since */
}

/* --- life --- */

/* Copies the path without doubled and trailing slashes and notes where each level ends. */
static int watch_split(struct watch *w, const char *path)
{
    if (path[0] != '/') {
        return -EINVAL;
    }
    size_t n = 1, levels = 1;
    w->path[0] = '/';
    w->levels[0] = (struct level){.path_bytes = 1, .wd = -1};
    for (const char *p = path; *(p += strspn(p, "/"));) {
        size_t bytes = strcspn(p, "/");
        bool is_first = levels == 1;
        if (levels > LIMIT_WATCH_DEPTH || n + bytes + 2 > sizeof(w->path)) {
            return -EINVAL;
        }
        if (!is_first) {
            w->path[n++] = '/';
        }
        memcpy(w->path + n, p, bytes);
        n += bytes;
        w->levels[levels++] = (struct level){.path_bytes = n, .wd = -1};
        p += bytes;
    }
    w->target = levels - 1;
    return 0;
}

int watch_new(struct loop *loop, const char *path, watch_callback *callback, void *arg,
              struct watch **ret_watch)
{
    struct watch *w = calloc(1, sizeof(*w));
    if (!w) {
        return -ENOMEM;
    }
    *w = (struct watch){.loop = loop, .callback = callback, .arg = arg};
    inotify_init_closed(&w->inotify, watch_event, w);
    timer_init(&w->tick, loop, watch_ticked, w);
    int r = watch_split(w, path);
    if (r == 0) {
        r = timer_start(&w->tick, LIMIT_WATCH_RETRY_MS);
    }
    if (r < 0) {
        watch_free(w);
        return r;
    }
    watch_arm(w, 0);
    if (w->status == -ENOMEM) {
        watch_free(w);
        return -ENOMEM;
    }
    *ret_watch = w;
    return 0;
}

void watch_free(struct watch *w)
{
    if (!w) {
        return;
    }
    timer_stop(&w->tick);
    inotify_close(&w->inotify);
    w->dead = true;
    if (!w->busy) {
        free(w);
    }
}

int watch_status(const struct watch *w)
{
    return w->status;
}
