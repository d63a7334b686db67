#include "registry/own_check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/loop.h"

#define CHUNK_BYTES (128 * 1024)

struct check {
    struct work work;
    struct list link;
    struct own_check *owner; /* NULL: nobody waits for it any more */
    struct digest digest;
    int fd;
    atomic_bool stop;
    int result; /* 0 right, -EBADMSG wrong, other: could not be read */
    void (*wrong)(void *arg, const struct digest *digest);
    void *arg;
};

static const uint8_t this_node[MARKS_NODE_BYTES]; /* marks are by holder; here there is one */

static void check_free(struct check *c)
{
    close(c->fd);
    free(c);
}

/* On a pool thread. */
static void check_run(struct work *w)
{
    struct check *c = CONTAINER_OF(w, struct check, work);
    struct digester *digester = digester_new();
    char *bytes = malloc(CHUNK_BYTES);
    ssize_t n = -1;
    if (digester && bytes) {
        off_t offset = 0;
        while (!atomic_load(&c->stop) && (n = pread(c->fd, bytes, CHUNK_BYTES, offset)) > 0) {
            digester_update(digester, bytes, (size_t)n);
            offset += n;
        }
    }
    if (n == 0 && !atomic_load(&c->stop)) {
        struct digest found;
        digester_final(digester, &found);
        digester = NULL;
        c->result = digest_equal(&found, &c->digest) ? 0 : -EBADMSG;
    } else {
        c->result = -EIO;
    }
    digester_free(digester);
    free(bytes);
}

static void own_check_next(struct own_check *o);

static void check_done(struct work *w, int status)
{
    struct check *c = CONTAINER_OF(w, struct check, work);
    struct own_check *o = c->owner;
    if (o) {
        o->running = NULL;
        if (status == 0 && c->result == -EBADMSG) {
            c->wrong(c->arg, &c->digest);
        }
        own_check_next(o);
    }
    check_free(c);
}

static void own_check_next(struct own_check *o)
{
    while (!o->running && !list_empty(&o->waiting)) {
        struct check *c = CONTAINER_OF(o->waiting.next, struct check, link);
        list_remove(&c->link);
        o->waiting_count--;
        c->work = (struct work){.run = check_run, .done = check_done};
        if (work_start(o->loop, &c->work) == 0) {
            o->running = c;
        } else {
            check_free(c);
        }
    }
}

void own_check_init(struct own_check *o, struct loop *loop)
{
    *o = (struct own_check){.loop = loop};
    list_init(&o->waiting);
    marks_init(&o->recent, LIMIT_DOUBTS);
}

void own_check_done(struct own_check *o)
{
    LIST_EACH_SAFE (link, &o->waiting) {
        struct check *c = CONTAINER_OF(link, struct check, link);
        list_remove(&c->link);
        check_free(c);
    }
    if (o->running) {
        o->running->owner = NULL;
        atomic_store(&o->running->stop, true);
        work_cancel(&o->running->work);
        o->running = NULL;
    }
    marks_done(&o->recent);
}

void own_check_start(struct own_check *o, const struct digest *digest, int fd,
                     void (*wrong)(void *arg, const struct digest *digest), void *arg)
{
    uint64_t now_ms = loop_now_ms(o->loop);
    const struct mark *last = marks_get(&o->recent, digest, this_node);
    bool recent = last && now_ms - last->at_ms < LIMIT_DOUBT_CHECK_MS;
    struct check *c = NULL;
    /* Without memory to remember it by, it is not done at all. */
    if (!recent && o->waiting_count < LIMIT_DOUBT_CHECKS && (c = calloc(1, sizeof(*c))) &&
        marks_set(&o->recent, digest, this_node, 0, now_ms) < 0) {
        free(c);
        c = NULL;
    }
    if (!c) {
        close(fd);
        return;
    }
    c->owner = o;
    c->digest = *digest;
    c->fd = fd;
    c->wrong = wrong;
    c->arg = arg;
    list_init(&c->link);
    list_push_back(&o->waiting, &c->link);
    o->waiting_count++;
    own_check_next(o);
}
