/* containerd_private.h - the parts of containerd.h's store, for its own files only.
 *
 *   containerd.c            the connection: up, subscribe, list, live, down
 *   containerd_events.c     the subscription: which name or digest has changed
 *   containerd_images.c     image records: listing, one name at a time, removing
 *   containerd_blobs.c      contents: one digest at a time, the watched directory
 *   containerd_listing.c    contents: all of them, compared with the directory
 *
 * How a listing and single look-ups keep out of each other's way, for images and contents alike: a
 * look-up that begins while a listing is wanted or under way waits for its end, and one that was
 * under way when it began is made again after it. The listing changes nothing about a name or
 * digest that has such a look-up outstanding. So no older answer ever overwrites a newer one. */
#pragma once

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "io/rpc.h"
#include "io/watch.h"
#include "store/containerd.h"
#include "store/reader.h"
#include "store/scan.h"

#define CONTAINERD_NAMESPACE_BYTES 76 /* containerd's own limit on identifiers */

enum containerd_phase {
    CONTAINERD_DOWN,    /* no connection */
    CONTAINERD_ASKING,  /* subscribed; its version and content root are asked for */
    CONTAINERD_LISTING, /* images and contents are listed */
    CONTAINERD_LIVE,    /* both listed; events and the watch keep them true */
};

struct images {
    struct map records; /* name -> struct image_record (containerd_images.c) */
    struct map fetches; /* name -> struct image_fetch, queued or open */
    struct list queue;  /* of fetches that are not open */
    size_t open;
    struct grpc_call list;
    bool list_wanted, list_open;
    bool listed; /* on this connection */
    uint64_t generation;
};

struct content { /* of a listing, sorted by digest */
    struct digest digest;
    int64_t size_bytes;
    bool held; /* its file has this size */
};

struct blobs {
    struct blob_root root; /* path: owned, NULL while unknown */
    char *directory;       /* root/blobs/sha256 */
    struct watch *watch;
    bool warned_path; /* that nothing was found there */

    struct map probes; /* digest -> struct probe (containerd_blobs.c) */
    struct list queue; /* of probes that are neither open nor waiting */
    size_t open;

    /* The listing (containerd_listing.c). */
    struct grpc_call list;
    bool sync_wanted, sync_open;
    bool synced;       /* on this connection */
    bool failed;       /* this listing is of no use */
    bool by_directory; /* listed while not connected: only takes away */
    struct content *contents;
    size_t content_count, content_capacity;
    struct scan *scan; /* NULL: none under way */
    size_t strangers;  /* files that our namespace does not know: another one has them */
    bool appeared; /* the directory, since the last listing began: it may know them in a moment */
    bool ask_strangers; /* so this one asks for each */
};

struct containerd {
    struct loop *loop;
    struct inventory *inventory;
    char *socket, *namespace, *content_path; /* owned; content_path NULL: ask */
    void (*listed_callback)(void *arg);
    void (*connected_callback)(void *arg, bool is_connected);
    void *callback_arg;

    struct rpc *rpc;
    struct reader *reader;
    enum containerd_phase phase;
    bool connected_told;
    bool was_live, listed_once; /* ever: listed; and the manifests among it read */
    struct error problem;
    char version[64];
    struct grpc_call subscribe, ask_version, ask_plugins, ask_status;
    struct cri_config cri_config;
    bool knows_cri_config;
    struct timer relist;
    uint64_t relist_at_ms;
    struct containerd_counters counters;

    struct images images;
    struct blobs blobs;
};

/* --- containerd.c --- */

/* A call to our namespace's Content or Images. */
int containerd_call(struct containerd *c, struct grpc_call *call, const char *path,
                    const struct ProtobufCMessage *message, bool stream, uint32_t timeout_ms);

/* A listing ended. What is to be done next is decided here. */
void containerd_listing_ended(struct containerd *c);

/* A call ended badly. Before the connection is live it is given up; later everything is listed
 * again soon. Nothing happens when the connection itself has ended. */
void containerd_call_failed(struct containerd *c, const char *what, const char *why);

/* Something may have been missed, or could not be taken in: list again soon. */
void containerd_relist_soon(struct containerd *c);

/* --- containerd_events.c --- */
int events_subscribe(struct containerd *c); /* its end ends the connection */

/* --- containerd_images.c --- */
void images_init(struct containerd *c);
void images_done(struct containerd *c);
void images_list(struct containerd *c);
void images_fetch(struct containerd *c, const char *name); /* an event named it */
void images_disconnected(struct containerd *c);

/* --- containerd_blobs.c --- */
void blobs_init(struct containerd *c);
void blobs_done(struct containerd *c);
/* Blobs of another root leave the inventory. 0 or a negative errno. */
int blobs_set_root(struct containerd *c, const char *path, struct error *err);
void blobs_probe(struct containerd *c, const struct digest *d);
bool blobs_is_probed(const struct containerd *c, const struct digest *d);
void blobs_pump(struct containerd *c);
void blobs_disconnected(struct containerd *c);
void blobs_withdraw(struct containerd *c, const struct digest *d); /* if it is held here */
int blobs_hold(struct containerd *c, const struct digest *d, int64_t size_bytes);

/* --- containerd_listing.c --- */
void listing_want(struct containerd *c);
void listing_pump(struct containerd *c); /* begins what is wanted, once it may */
void listing_disconnected(struct containerd *c);
void listing_done(struct containerd *c);
