/* target_probe.h - does any of the mirror targets answer as a registry of ours?
 *
 * They are asked in their order, one after another, 2 s at most each, until one does. A target at
 * loopback is meant from the node's point of view; a pod has a loopback of its own, where nobody
 * listens at that port. Then our own registry port is asked in its stead. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "io/fetch.h"

#define TARGET_PROBE_URL_BYTES 320

struct node;

/* The caller's memory, must not move or be freed until `callback` ran. */
struct target_probe {
    /* Results, valid from the callback on. */
    bool answered;
    char url[TARGET_PROBE_URL_BYTES]; /* who did: a target, or our own port in its stead */
    struct buf failures; /* "target: why; target: why" of those that did not, until _done */

    /* internal */
    struct node *node;
    size_t index; /* of the target that is being asked */
    bool own;     /* our own port, in its stead */
    struct fetch fetch;
    void (*callback)(struct target_probe *p, void *arg);
    void *arg;
};

/* 0, then `callback` comes exactly once, from the loop; or -ENOMEM when nothing was begun. */
int target_probe_start(struct target_probe *p, struct node *n,
                       void (*callback)(struct target_probe *p, void *arg), void *arg);

/* The callback still comes, in a later turn of the loop: nobody has answered. */
void target_probe_cancel(struct target_probe *p);

/* Frees the failures; after the callback. */
void target_probe_done(struct target_probe *p);
