#include "store/ingest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/list.h"
#include "io/file_watch.h"
#include "io/watch.h"
#include "store/ingest_file.h"

struct ingests {
    struct loop *loop;
    char *root, *namespace;
    struct watch *directory; /* ROOT/ingest: new ones */
    struct file_watches *files;
    struct timer tick;
    struct list open;
    uint64_t bad_totals;
};

/*     ┌───────────── ingest_reopen ◄────────────┐
 *     ▼                                         │
 *   ABSENT ──► GROWING ──► COMMITTED            │
 *                 └─────────────────────────► GONE
 */
struct ingest {
    struct list link; /* in ingests.open */
    struct ingests *owner;
    void (*changed)(void *arg);
    void *arg;
    struct defer look;       /* one for all that happened in a turn */
    bool look_at_name;       /* not only at its size */
    struct file_watch watch; /* GROWING: its data; ABSENT: its directory, when that is there */
    enum ingest_state state;
    struct ingest_file file;
    uint64_t grown_ms;
};

/* --- looking --- */

static void file_changed(void *arg, enum file_change change)
{
    struct ingest *i = arg;
    i->look_at_name |= change == FILE_MOVED;
    defer_start(i->owner->loop, &i->look);
}

static void ingest_watch(struct ingest *i, int fd)
{
    file_watch_stop(&i->watch);
    /* Refused by the kernel: then it is looked at by the tick only, and watched when it can be. */
    (void)file_watch_start(i->owner->files, &i->watch, fd, file_changed, i);
}

static void ingest_follow(struct ingest *i, bool look_at_name)
{
    bool was_total_bad = i->file.is_total_bad;
    int64_t size_bytes = i->file.size_bytes;
    switch (ingest_file_look(&i->file, look_at_name)) {
    case INGEST_FATE_GROWS:
        break;
    case INGEST_FATE_COMMITTED:
        file_watch_stop(&i->watch);
        i->state = INGEST_COMMITTED;
        break;
    case INGEST_FATE_GONE:
        file_watch_stop(&i->watch);
        ingest_file_close(&i->file);
        i->state = INGEST_GONE;
        break;
    }
    i->owner->bad_totals += i->file.is_total_bad && !was_total_bad;
    if (i->file.size_bytes > size_bytes) {
        i->grown_ms = loop_now_ms(i->owner->loop);
    }
}

/* Its directory is made before its data: then that is watched, and looked into once more. */
static void ingest_find(struct ingest *i)
{
    int directory;
    bool is_open = ingest_file_open(&i->file, &directory);
    if (directory >= 0) {
        ingest_watch(i, directory);
        (void)close(directory);
        is_open = ingest_file_open(&i->file, &directory);
        if (directory >= 0) {
            (void)close(directory);
        }
    } else {
        file_watch_stop(&i->watch); /* of a directory that is gone */
    }
    if (is_open) {
        i->state = INGEST_GROWING;
        i->grown_ms = loop_now_ms(i->owner->loop);
        ingest_watch(i, i->file.fd);
        ingest_follow(i, true); /* what happened before the watch began is seen now */
    }
    if (i->state == INGEST_GONE) { /* under our eyes; nobody has seen a byte of it */
        ingest_file_forget(&i->file);
        i->state = INGEST_ABSENT;
    }
}

static void ingest_look(void *arg)
{
    struct ingest *i = arg;
    enum ingest_state state = i->state;
    int64_t size_bytes = i->file.size_bytes, total_bytes = i->file.total_bytes;
    bool look_at_name = i->look_at_name;
    i->look_at_name = false;
    if (state == INGEST_ABSENT) {
        ingest_find(i);
    } else if (state == INGEST_GROWING) {
        if (!file_watch_running(&i->watch)) {
            ingest_watch(i, i->file.fd);
        }
        ingest_follow(i, look_at_name);
    }
    if (i->state != state || i->file.size_bytes != size_bytes ||
        i->file.total_bytes != total_bytes) {
        i->changed(i->arg);
    }
}

/* --- when to look --- */

static void ingest_look_soon(struct ingest *i)
{
    if (i->state == INGEST_ABSENT || i->state == INGEST_GROWING) {
        i->look_at_name = true;
        defer_start(i->owner->loop, &i->look);
    }
}

static void ingests_ticked(void *arg)
{
    struct ingests *s = arg;
    (void)timer_start(&s->tick,
                      LIMIT_INGEST_LOOK_MS); /* its place in the heap was freed just now */
    LIST_EACH (link, &s->open) {
        ingest_look_soon(CONTAINER_OF(link, struct ingest, link));
    }
}

static void directory_changed(void *arg, enum watch_kind kind, const char *name)
{
    struct ingests *s = arg;
    if (kind == WATCH_REMOVED) {
        return; /* its data was unlinked or renamed before, which that one's own watch tells */
    }
    LIST_EACH (link, &s->open) {
        struct ingest *i = CONTAINER_OF(link, struct ingest, link);
        if (!name || (i->state == INGEST_ABSENT && ingest_file_has_name(&i->file, name))) {
            ingest_look_soon(i);
        }
    }
}

/* --- life --- */

int ingests_new(struct loop *loop, const char *content_root, const char *namespace,
                struct ingests **ret_ingests)
{
    char path[PATH_MAX];
    if (strlen(content_root) + INGEST_BELOW_ROOT_BYTES > sizeof(path) ||
        strlen(namespace) > INGEST_NAMESPACE_BYTES_MAX) {
        return -EINVAL;
    }
    struct ingests *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    s->loop = loop;
    list_init(&s->open);
    timer_init(&s->tick, loop, ingests_ticked, s);
    s->root = strdup(content_root);
    s->namespace = strdup(namespace);
    (void)snprintf(path, sizeof(path), "%s/ingest", content_root);
    int r = s->root && s->namespace ? file_watches_new(loop, &s->files) : -ENOMEM;
    r = r < 0 ? r : watch_new(loop, path, directory_changed, s, &s->directory);
    if (r < 0) {
        ingests_free(s);
        return r;
    }
    *ret_ingests = s;
    return 0;
}

void ingests_free(struct ingests *s)
{
    if (!s) {
        return;
    }
    CHECK(list_empty(&s->open));
    watch_free(s->directory);
    file_watches_free(s->files);
    timer_stop(&s->tick);
    free(s->root);
    free(s->namespace);
    free(s);
}

uint64_t ingests_bad_totals(const struct ingests *s)
{
    return s->bad_totals;
}

int ingest_open(struct ingests *s, const struct digest *digest, void (*changed)(void *arg),
                void *arg, struct ingest **ret_ingest)
{
    struct ingest *i = calloc(1, sizeof(*i));
    if (!i) {
        return -ENOMEM;
    }
    i->owner = s;
    i->changed = changed;
    i->arg = arg;
    ingest_file_init(&i->file, s->root, s->namespace, digest);
    defer_init(&i->look, ingest_look, i);
    if (!timer_running(&s->tick) && timer_start(&s->tick, LIMIT_INGEST_LOOK_MS) < 0) {
        free(i);
        return -ENOMEM;
    }
    list_push_back(&s->open, &i->link);
    ingest_reopen(i);
    *ret_ingest = i;
    return 0;
}

void ingest_close(struct ingest *i)
{
    if (!i) {
        return;
    }
    struct ingests *s = i->owner;
    defer_stop(&i->look);
    file_watch_stop(&i->watch);
    ingest_file_close(&i->file);
    list_remove(&i->link);
    free(i);
    if (list_empty(&s->open)) {
        timer_stop(&s->tick);
    }
}

void ingest_reopen(struct ingest *i)
{
    file_watch_stop(&i->watch);
    i->state = INGEST_ABSENT;
    i->grown_ms = loop_now_ms(i->owner->loop);
    ingest_find(i);
}

enum ingest_state ingest_state(const struct ingest *i)
{
    return i->state;
}

int64_t ingest_size(const struct ingest *i)
{
    return i->file.size_bytes;
}

int64_t ingest_total(const struct ingest *i)
{
    return i->file.total_bytes;
}

uint64_t ingest_grown_ms(const struct ingest *i)
{
    return i->grown_ms;
}

int ingest_dup(const struct ingest *i)
{
    if (i->file.fd < 0) {
        return -ENOENT;
    }
    int fd = fcntl(i->file.fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}
