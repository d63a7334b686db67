#include "socket_watch.h"

#include "base/limits.h"
#include "base/log.h"
#include "store/stale_mount.h"

#define LOOK_PERIOD_MS 1000

static void socket_watch_look(void *arg)
{
    struct socket_watch *w = arg;
    const char *socket = w->node->options->containerd_sock;
    uint64_t now_ms = loop_now_ms(w->node->loop);
    if (containerd_is_connected(w->node->containerd)) {
        w->lost_at_ms = 0;
    } else if (!w->lost_at_ms) {
        w->lost_at_ms = now_ms;
    } else if (now_ms - w->lost_at_ms >= LIMIT_STALE_SOCKET_MS && stale_mount_at(socket)) {
        log_error(
            "containerd's socket is mounted by itself, and the one that took its place cannot "
            "be seen from here: ending, to be started anew with it",
            LOG_STR("socket", socket));
        w->is_stale = true;
        node_leave(w->node);
        return;
    }
    (void)timer_start(&w->timer, LOOK_PERIOD_MS);
}

void socket_watch_start(struct socket_watch *w, struct node *node)
{
    w->node = node;
    timer_init(&w->timer, node->loop, socket_watch_look, w);
    if (node->containerd) {
        (void)timer_start(&w->timer, LOOK_PERIOD_MS);
    }
}

void socket_watch_stop(struct socket_watch *w)
{
    timer_stop(&w->timer);
}
