/* advice.h - says in the log, once, why images are not shared, where containerd's configuration is
 * the reason, with the lines that put it right.
 *
 * What decides is what containerd's CRI plugin says of itself (1.x), else its configuration file,
 * where that can be read (/etc is not a pod's), else what is seen: images come to the node, and
 * containerd has never asked us for any; images are here without their layers. */
#pragma once

#include "node.h"
#include "store/layer_watch.h"

struct advice {
    struct node *node;
    struct timer timer;
    bool read;              /* the settings were looked at */
    bool warned;            /* of containerd that never asks */
    uint64_t settled_at_ms; /* 0: nothing is listed yet */
    size_t tags;            /* of images that were there before */
    uint64_t came_at_ms;    /* the first one after; 0: none */
    struct timer layers_timer;
    struct layer_watch layers;
};

/* Without containerd it does nothing. `node` must outlive it. */
void advice_start(struct advice *a, struct node *node);
void advice_stop(struct advice *a);
