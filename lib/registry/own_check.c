#include "registry/own_check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"

struct own_copy {
    void (*wrong)(void *arg, const struct digest *digest);
    void *arg;
};

static const uint8_t this_node[MARKS_NODE_BYTES]; /* marks are by holder; here there is one */

static void copy_checked(void *arg, const struct digest *digest, int result)
{
    const struct own_copy copy = *(struct own_copy *)arg;
    free(arg);
    if (result == -EBADMSG) {
        copy.wrong(copy.arg, digest);
    }
}

void own_check_init(struct own_check *o, struct loop *loop)
{
    copy_checks_init(&o->checks, loop);
    marks_init(&o->recent, LIMIT_DOUBTS);
}

void own_check_done(struct own_check *o)
{
    copy_checks_done(&o->checks);
    marks_done(&o->recent);
}

void own_check_start(struct own_check *o, const struct digest *digest, int fd,
                     void (*wrong)(void *arg, const struct digest *digest), void *arg)
{
    uint64_t now_ms = loop_now_ms(o->checks.loop);
    const struct mark *last = marks_get(&o->recent, digest, this_node);
    bool recent = last && now_ms - last->at_ms < LIMIT_DOUBT_CHECK_MS;
    bool full = o->checks.waiting_count >= LIMIT_DOUBT_CHECKS;
    struct own_copy *copy = recent || full ? NULL : malloc(sizeof(*copy));
    /* Without memory to remember it by, it is not done at all. */
    if (!copy || marks_set(&o->recent, digest, this_node, 0, now_ms) < 0) {
        free(copy);
        close(fd);
        return;
    }
    *copy = (struct own_copy){.wrong = wrong, .arg = arg};
    if (copy_check_start(&o->checks, digest, fd, copy_checked, copy) < 0) {
        free(copy);
    }
}
