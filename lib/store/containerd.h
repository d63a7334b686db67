/* containerd.h - keeps an inventory true to what a containerd holds.
 *
 * Only reads, never changes anything in containerd. Connects to its unix socket, for ever and again
 * after every end; finds the content root through introspection; subscribes to the events of one
 * namespace; lists images and contents; compares with the inventory. From then on:
 *   - an image event makes its name be fetched anew (events carry no target, and one that is
 *     fetched after the event is never older than it);
 *   - inotify on blobs/sha256 tells of commits and collections, which containerd reports by no
 *     event, or (from 2.1 on) by some;
 *   - what changed while a listing was under way is asked again after it;
 *   - a slow repeated listing repairs what none of these can see (contents shared from another
 *     namespace, a subscription that began late).
 * A blob is held when the Content service knows it in our namespace and its file has the size it
 * says. While containerd is away everything stays held whose file stays.
 *
 * containerd.md, sections 3 and 4, has the facts that this rests on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/loop.h"
#include "store/cri_config.h"
#include "store/inventory.h"

struct containerd;

struct containerd_config {
    const char *socket;       /* absolute path; need not exist yet */
    const char *namespace;    /* of images and contents: "k8s.io" */
    const char *content_path; /* instead of asking containerd; NULL or "": ask it */
    /* Contents were listed, and the manifests among them read, for the first time. May be NULL.
     * Runs once, from the loop. */
    void (*listed)(void *arg);
    /* The connection came or went. May be NULL. */
    void (*connected)(void *arg, bool is_connected);
    void *arg;
};

struct containerd_counters { /* all since the start */
    uint64_t connects, disconnects;
    uint64_t events;             /* of our namespace and of topics we want */
    uint64_t malformed_events;   /* that could not be decoded */
    uint64_t malformed_names;    /* image records whose name is no reference; once each */
    uint64_t malformed_contents; /* records with a bad digest or size */
    uint64_t unparsable_manifests, corrupt_manifests;
    uint64_t wrong_sizes;  /* files whose size is not what containerd says */
    uint64_t rescans;      /* full listings of contents, the first included */
    uint64_t overflows;    /* of the inotify queue; each causes a rescan */
    uint64_t info_misses;  /* files that our namespace did not know within LIMIT_INFO_RETRY_MS */
    uint64_t failed_calls; /* gRPC calls that ended badly, NOT_FOUND excepted */
    uint64_t over_limit;   /* contents or images beyond LIMIT_STORE_* */
};

/* `loop` and `inventory` must outlive it; the strings of `config` are copied. 0, -EINVAL with a
 * sentence (a path that is not absolute or too long, an empty namespace), -ENOMEM. Whatever can
 * come later (the socket, the content directory) is waited for. */
int containerd_new(struct loop *loop, struct inventory *inventory,
                   const struct containerd_config *config, struct containerd **ret_containerd,
                   struct error *err);

/* Does not touch the inventory, whose blobs refer to this store's root: free the inventory first or
 * directly after. Jobs under way on the pool clean up after themselves. NULL is fine. Not from
 * within `listed`, `connected` or the inventory's listener. */
void containerd_free(struct containerd *c);

bool containerd_is_connected(const struct containerd *c); /* subscribed and listed */
bool containerd_is_listed(const struct containerd *c);    /* as `listed`; true ever after */

/* Why it is not connected, for people; "" when it is. Valid until the loop's next turn. */
const char *containerd_problem(const struct containerd *c);

struct containerd_counters containerd_counters(const struct containerd *c);
const char *containerd_content_root(const struct containerd *c); /* "" while unknown */
const char *containerd_version(const struct containerd *c);      /* "" while unknown */

/* What its CRI plugin last said of its configuration; NULL while it has said nothing. Valid until
 * the loop's next turn. */
const struct cri_config *containerd_cri_config(const struct containerd *c);
