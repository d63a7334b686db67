/* inventory_internal.h - the inventory's graph, shared by its own files only.
 *
 *   inventory.c          told by stores: copies, images; look-ups
 *   inventory_graph.c    nodes; what images reach; telling the listener
 *   inventory_manifest.c what manifests say: children, media types, subjects
 *   inventory_listing.c  walks for people and metrics: repositories, tags, referrers, figures
 *
 * One node a digest, whether it is held, named by an image, named by a manifest, or all of it. An
 * edge leads from a manifest to each child. A node knows its least distance from an image, once
 * over all images and once over those not filtered. Adding an image or a manifest only ever
 * shortens distances, which is done at once and touches only what it changes; taking something away
 * makes all distances stale, and they are computed anew once a batch. Everything that walks is
 * iterative and allocates nothing, so that only the creation of things can fail. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "store/inventory.h"

#define NODE_UNREACHED UINT8_MAX
#define INVENTORY_NAME_BYTES /* of an image's name without a digest, the NUL included */           \
    (REFERENCE_REGISTRY_BYTES + REFERENCE_REPOSITORY_BYTES + REFERENCE_TAG_BYTES)

enum { REACH_ANY, REACH_CLEAN, REACH_KINDS };

struct copy { /* of a blob, in one root */
    struct copy *next;
    const struct blob_root *root;
    int64_t size_bytes;
    bool condemned;
};

struct node {
    struct map_node link;       /* in inventory.nodes, by view.digest */
    struct inventory_blob view; /* what the registry sees; kept up by node_touch */
    struct copy *copies;
    struct contents *contents; /* as a manifest; NULL: not parsed */
    struct list images;        /* image.target_link */
    struct list unparsed;      /* in inventory.unparsed, or empty */
    struct node *work_next;    /* in the worklist of a walk */
    struct node *dirty_next;   /* in inventory.dirty */
    struct node *stale_next;   /* in inventory.stale */
    struct node *affected_next;
    struct list parents;    /* edge.link of those that lead here */
    const char *named_type; /* media type by the first descriptor that named it; interned */
    uint32_t image_count[REACH_KINDS];
    uint8_t depth[REACH_KINDS]; /* from the nearest image; NODE_UNREACHED */
    bool held, announced, dirty, working;
    bool stale;                     /* its last image went: see inventory_graph.c */
    bool named_manifest;            /* an image or an index says it is one */
    bool named_config, named_layer; /* a manifest says so */
    bool asked, recheck, unparsable;
    bool early;  /* parsed before the blob was reported: kept until that */
    bool marked; /* by a walk, which clears it again */
};

struct edge {
    struct list link; /* in child->parents */
    struct node *parent, *child;
};

struct contents {           /* what a manifest says */
    const char *media_type; /* interned; NULL when it says none */
    bool is_index;
    struct referrer *referrer; /* NULL without a subject */
    size_t child_count;
    struct edge children[];
};

struct subject { /* a digest that manifests refer to */
    struct map_node link;
    struct digest digest;
    struct list referrers;
};

struct referrer {
    struct list link; /* in subject.referrers */
    struct subject *subject;
    struct node *node;
    struct manifest manifest; /* without children */
};

struct image {
    struct map_node link;    /* in inventory.images, by name */
    struct list target_link; /* in target->images, else in inventory.orphans */
    struct node *target;     /* NULL: removed, and the listener does not know yet */
    bool filtered, announce, announced;
    /* all in one allocation with the image */
    const char *registry, *repository, *tag; /* tag NULL: only its digest counts */
    char name[];
};

struct interned {
    struct map_node link;
    char text[];
};

struct inventory {
    const struct filter *filter;
    inventory_listener *listener;
    void *arg;
    struct map nodes, images, subjects, media_types;
    struct node *dirty, *stale;
    struct list unparsed, orphans;
    size_t held_count;
    unsigned batches;
    bool flushing;
};

struct node *node_find(const struct inventory *inv, const struct digest *d);
struct node *node_get(struct inventory *inv, const struct digest *d); /* made if new; or NULL */
/* Its state changed: brings the view up to date and has the listener told, if need be. */
void node_touch(struct inventory *inv, struct node *n);
/* Frees it if nothing speaks of it any more. For undoing node_get. */
void node_drop_if_unused(struct inventory *inv, struct node *n);
/* An image at this node: shortens distances from here on. */
void node_reach(struct inventory *inv, struct node *n, int kind);
/* The last image at this node went, of some kind. */
void node_unreach(struct inventory *inv, struct node *n);
/* Its children are known now: distances go on from its own. */
void node_spread(struct inventory *inv, struct node *n);
/* Tells the listener what changed, unless a batch is open. */
void inventory_flush(struct inventory *inv);
bool image_is_answered(const struct image *image);

/* 0 with NULL when there are too many different ones, or it cannot stand in a response's head. */
int inventory_intern(struct inventory *inv, const char *media_type, const char **ret_interned);

void contents_free(struct inventory *inv, struct contents *c);
