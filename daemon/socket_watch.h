/* socket_watch.h - ends the program when containerd's socket can never be reached again.
 *
 * A restart of containerd makes a new socket. Where the old one is mounted by itself, as the Go
 * implementation's chart does it, no waiting brings the new one here, but a new container has it:
 * the kubelet starts one when this one ends. Until LIMIT_STALE_SOCKET_MS have passed everything is
 * served as before, in case containerd is only away and there is nothing to be gained. */
#pragma once

#include "node.h"

struct socket_watch {
    struct node *node;
    struct timer timer;
    uint64_t lost_at_ms; /* 0: connected */
    bool is_stale;       /* the program leaves because of it */
};

/* Without containerd it does nothing. `node` must outlive it. */
void socket_watch_start(struct socket_watch *w, struct node *node);
void socket_watch_stop(struct socket_watch *w);
