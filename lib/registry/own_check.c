#include "registry/own_check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/loop.h"
#include "registry/copy_check.h"

struct own_copy {
    struct list link;
    struct own_check *owner;
    struct digest digest;
    int fd; /* until its turn comes */
    struct copy_check *check;
    void (*wrong)(void *arg, const struct digest *digest);
    void *arg;
};

static const uint8_t this_node[MARKS_NODE_BYTES]; /* marks are by holder; here there is one */

static void own_check_next(struct own_check *o);

static void copy_checked(void *arg, int result)
{
    struct own_copy *copy = arg;
    struct own_check *o = copy->owner;
    o->running = NULL;
    if (result == -EBADMSG) {
        copy->wrong(copy->arg, &copy->digest);
    }
    free(copy);
    own_check_next(o);
}

static void own_check_next(struct own_check *o)
{
    while (!o->running && !list_empty(&o->waiting)) {
        struct own_copy *copy = CONTAINER_OF(o->waiting.next, struct own_copy, link);
        list_remove(&copy->link);
        o->waiting_count--;
        if (copy_check_start(o->loop, &copy->digest, copy->fd, copy_checked, copy, &copy->check) ==
            0) {
            o->running = copy;
        } else {
            free(copy);
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
        struct own_copy *copy = CONTAINER_OF(link, struct own_copy, link);
        list_remove(&copy->link);
        close(copy->fd);
        free(copy);
    }
    if (o->running) {
        copy_check_cancel(o->running->check);
        free(o->running);
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
    struct own_copy *copy = NULL;
    /* Without memory to remember it by, it is not done at all. */
    if (!recent && o->waiting_count < LIMIT_DOUBT_CHECKS && (copy = calloc(1, sizeof(*copy))) &&
        marks_set(&o->recent, digest, this_node, 0, now_ms) < 0) {
        free(copy);
        copy = NULL;
    }
    if (!copy) {
        close(fd);
        return;
    }
    copy->owner = o;
    copy->digest = *digest;
    copy->fd = fd;
    copy->wrong = wrong;
    copy->arg = arg;
    list_init(&copy->link);
    list_push_back(&o->waiting, &copy->link);
    o->waiting_count++;
    own_check_next(o);
}
