#include "io/loop_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"

/* uv_poll behind calls that take effect at once. uv_close is asynchronous, so the memory outlives
 * poll_free, but no callback runs and the descriptor is out of epoll when poll_free returns. */
struct poll {
    uv_poll_t handle;
    void (*callback)(void *arg, int events); /* NULL once freed */
    void *arg;
    int events; /* asked for by poll_set */
    bool armed; /* libuv watches for `events`; it stops by itself on an error */
};

static void poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int poll_arm(struct poll *p);

static void poll_fired(uv_poll_t *handle, int status, int uv_events)
{
    struct poll *p = handle->data;
    int events = 0;
    if (status < 0) {
        /* EPOLLERR: libuv has stopped the handle and hides the rest. All that was asked for may be
         * tried: the system calls tell what the error is. */
        p->armed = false;
        events = p->events | POLL_ERROR;
    } else {
        events = (uv_events & UV_READABLE ? POLL_READABLE : 0) |
                 (uv_events & UV_WRITABLE ? POLL_WRITABLE : 0) |
                 (uv_events & UV_DISCONNECT ? POLL_HANGUP : 0) |
                 (uv_events & UV_PRIORITIZED ? POLL_ERROR : 0);
    }
    p->callback(p->arg, events);
    /* p is still there: its memory goes with the close callback, at the end of the turn */
    if (p->callback && !p->armed) {
        (void)poll_arm(p);
    }
}

static int poll_arm(struct poll *p)
{
    /* Asking for EPOLLPRI keeps the descriptor in epoll with nothing else to report but errors;
     * libuv would take it out for an empty set. */
    int uv_events = (p->events & POLL_READABLE ? UV_READABLE : 0) |
                    (p->events & POLL_WRITABLE ? UV_WRITABLE : 0) |
                    (p->events & POLL_HANGUP ? UV_DISCONNECT : 0) |
                    (p->events & POLL_ERROR ? UV_PRIORITIZED : 0);
    int r = uv_events ? uv_poll_start(&p->handle, uv_events, poll_fired) : uv_poll_stop(&p->handle);
    p->armed = r == 0;
    return r;
}

int poll_new(struct loop *loop, int fd, void (*callback)(void *arg, int events), void *arg,
             struct poll **ret_poll)
{
    struct poll *p = calloc(1, sizeof(*p));
    if (!p) {
        return -ENOMEM;
    }
    int r = uv_poll_init(&loop->uv, &p->handle, fd);
    if (r < 0) {
        free(p);
        return r;
    }
    p->handle.data = p;
    p->callback = callback;
    p->arg = arg;
    p->armed = true;
    *ret_poll = p;
    return 0;
}

int poll_set(struct poll *p, int events)
{
    if (p->armed && p->events == events) {
        return 0;
    }
    p->events = events;
    return poll_arm(p);
}

void poll_free(struct poll *p)
{
    if (!p) {
        return;
    }
    CHECK(p->callback);
    p->callback = NULL;
    uv_close((uv_handle_t *)&p->handle, poll_closed);
}
