#include "io/inotify.h"

#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <unistd.h>

#define READ_BYTES 8192
#define READS_PER_TURN 16

static void inotify_ready(void *arg, int events)
{
    (void)events;
    struct inotify *n = arg;
    alignas(struct inotify_event) char bytes[READ_BYTES];
    for (int turn = 0; turn < READS_PER_TURN; turn++) {
        ssize_t got = read(n->fd, bytes, sizeof(bytes));
        if (got <= 0) {
            return;
        }
        for (size_t at = 0; at < (size_t)got;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            at += sizeof(*event) + event->len;
            if (!n->callback(n->arg, event)) {
                return;
            }
        }
    }
}

void inotify_init_closed(struct inotify *n, inotify_callback *callback, void *arg)
{
    *n = (struct inotify){.fd = -1, .callback = callback, .arg = arg};
}

int inotify_open(struct inotify *n, struct loop *loop)
{
    if (n->fd >= 0) {
        return 0;
    }
    n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (n->fd < 0) {
        return -errno;
    }
    int r = poll_new(loop, n->fd, inotify_ready, n, &n->poll);
    if (r == 0) {
        r = poll_set(n->poll, POLL_READABLE);
    }
    if (r < 0) {
        inotify_close(n);
    }
    return r;
}

void inotify_close(struct inotify *n)
{
    poll_free(n->poll);
    n->poll = NULL;
    if (n->fd >= 0) {
        (void)close(n->fd);
    }
    n->fd = -1;
}
