#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/inventory_internal.h"

#define NODE(map_node_pointer) CONTAINER_OF(map_node_pointer, struct node, link)

static const char octets[] = "application/octet-stream";

/* --- nodes --- */

struct node *node_find(const struct inventory *inv, const struct digest *d)
{
    struct map_node *found = map_get(&inv->nodes, d->bytes, DIGEST_BYTES);
    return found ? NODE(found) : NULL;
}

struct node *node_get(struct inventory *inv, const struct digest *d)
{
    struct node *n = node_find(inv, d);
    if (n) {
        return n;
    }
    n = calloc(1, sizeof *n);
    if (!n) {
        return NULL;
    }
    n->view = (struct inventory_blob){.digest = *d, .content_type = octets};
    n->depth[REACH_ANY] = n->depth[REACH_CLEAN] = NODE_UNREACHED;
    list_init(&n->images);
    list_init(&n->unparsed);
    list_init(&n->parents);
    if (map_insert(&inv->nodes, &n->link, n->view.digest.bytes, DIGEST_BYTES) < 0) {
        free(n);
        return NULL;
    }
    return n;
}

static bool node_is_unused(const struct node *n)
{
    return !n->copies && !n->contents && !n->dirty && list_empty(&n->parents) &&
           list_empty(&n->images);
}

void node_drop_if_unused(struct inventory *inv, struct node *n)
{
    if (node_is_unused(n)) {
        list_remove(&n->unparsed);
        map_remove(&inv->nodes, &n->link);
        free(n);
    }
}

static const char *node_content_type(const struct node *n)
{
    if (!n->contents) {
        return n->named_manifest && !n->unparsable && n->named_type ? n->named_type : octets;
    }
    if (n->contents->media_type) {
        return n->contents->media_type;
    }
    struct manifest shape = {.is_index = n->contents->is_index};
    return manifest_content_type(&shape, n->named_type);
}

/* Manifests that are worth reading: somebody reached says it is one, or the file changed. */
static bool node_wants_reading(const struct node *n)
{
    return n->held && !n->asked && n->view.size_bytes > 0 &&
           n->view.size_bytes <= LIMIT_MANIFEST_BYTES &&
           (n->recheck || (!n->contents && !n->unparsable && n->named_manifest &&
                           n->depth[REACH_ANY] != NODE_UNREACHED));
}

void node_touch(struct inventory *inv, struct node *n)
{
    const struct copy *sound = n->copies;
    while (sound && sound->condemned) {
        sound = sound->next;
    }
    inv->held_count += (size_t)(sound != NULL) - (size_t)n->held;
    n->held = sound != NULL;
    n->view.size_bytes = sound ? sound->size_bytes : 0;
    n->view.root = sound ? sound->root : NULL;
    n->view.is_manifest = n->contents != NULL;
    n->view.reached = n->depth[REACH_ANY] != NODE_UNREACHED;
    n->view.filtered = n->view.reached && n->depth[REACH_CLEAN] == NODE_UNREACHED;
    n->view.content_type = node_content_type(n);
    list_remove(&n->unparsed);
    if (node_wants_reading(n)) {
        list_push_back(&inv->unparsed, &n->unparsed);
    }
    if (!n->dirty) {
        n->dirty = true;
        n->dirty_next = inv->dirty;
        inv->dirty = n;
    }
}

/* --- what images reach --- */

/* Adds n to the worklist if this distance is shorter than what it has. */
static void relax(struct node **worklist, struct node *n, int kind, uint8_t depth)
{
    if (depth >= n->depth[kind]) {
        return;
    }
    n->depth[kind] = depth;
    if (!n->working) {
        n->working = true;
        n->work_next = *worklist;
        *worklist = n;
    }
}

/* Distances are at most LIMIT_MANIFEST_DEPTH and only shrink, so this ends whatever the graph. */
static void propagate(struct inventory *inv, struct node *worklist, int kind, bool touch)
{
    while (worklist) {
        struct node *n = worklist;
        worklist = n->work_next;
        n->working = false;
        if (touch) {
            node_touch(inv, n);
        }
        if (!n->contents || n->depth[kind] >= LIMIT_MANIFEST_DEPTH) {
            continue;
        }
        for (size_t i = 0; i < n->contents->child_count; i++) {
            relax(&worklist, n->contents->children[i].child, kind, (uint8_t)(n->depth[kind] + 1));
        }
    }
}

void node_reach(struct inventory *inv, struct node *n, int kind)
{
    struct node *worklist = NULL;
    relax(&worklist, n, kind, 0);
    propagate(inv, worklist, kind, true);
}

void node_spread(struct inventory *inv, struct node *n)
{
    for (int kind = 0; kind < REACH_KINDS; kind++) {
        struct node *worklist = NULL;
        uint8_t depth = n->depth[kind];
        n->depth[kind] = NODE_UNREACHED;
        relax(&worklist, n, kind, depth);
        propagate(inv, worklist, kind, true);
    }
}

void node_unreach(struct inventory *inv, struct node *n)
{
    if (!n->stale) {
        n->stale = true;
        n->stale_next = inv->stale;
        inv->stale = n;
    }
}

/* Until they are measured anew, stale nodes keep the distance 0 they had as images' targets, and
 * everything else is right as long as they count as such. So what depends on them is what has the
 * distance that leads back to one of them. Returns those nodes, marked. */
static struct node *collect_affected(struct inventory *inv, int kind)
{
    struct node *first = NULL, **end = &first;
    for (struct node *n = inv->stale; n; n = n->stale_next) {
        if (n->image_count[kind] == 0 && n->depth[kind] == 0) {
            n->marked = true;
            n->affected_next = NULL;
            *end = n;
            end = &n->affected_next;
        }
    }
    for (struct node *n = first; n; n = n->affected_next) {
        for (size_t i = 0; n->contents && i < n->contents->child_count; i++) {
            struct node *child = n->contents->children[i].child;
            if (!child->marked && child->depth[kind] == n->depth[kind] + 1) {
                child->marked = true;
                child->affected_next = NULL;
                *end = child;
                end = &child->affected_next;
            }
        }
    }
    return first;
}

static void measure_from_parents(struct node **worklist, struct node *n, int kind)
{
    LIST_EACH (link, &n->parents) {
        const struct node *parent = CONTAINER_OF(link, struct edge, link)->parent;
        if (parent->depth[kind] < LIMIT_MANIFEST_DEPTH) {
            relax(worklist, n, kind, (uint8_t)(parent->depth[kind] + 1));
        }
    }
}

static void measure_anew(struct inventory *inv, int kind)
{
    struct node *affected = collect_affected(inv, kind), *worklist = NULL;
    for (struct node *n = affected; n; n = n->affected_next) {
        n->depth[kind] = NODE_UNREACHED;
    }
    for (struct node *n = affected; n; n = n->affected_next) {
        n->marked = false;
        measure_from_parents(&worklist, n, kind);
    }
    propagate(inv, worklist, kind, false);
    for (struct node *n = affected; n; n = n->affected_next) {
        n->early = n->early && n->depth[REACH_ANY] != NODE_UNREACHED;
        node_touch(inv, n);
    }
}

static void measure_stale(struct inventory *inv)
{
    for (int kind = 0; inv->stale && kind < REACH_KINDS; kind++) {
        measure_anew(inv, kind);
    }
    while (inv->stale) {
        inv->stale->stale = false;
        inv->stale = inv->stale->stale_next;
    }
}

/* --- telling the listener --- */

static bool node_should_be_announced(const struct inventory *inv, const struct node *n)
{
    if (!n->held || n->view.filtered) {
        return false;
    }
    return n->view.reached || !filter_has_expressions(inv->filter);
}

bool image_is_answered(const struct image *image)
{
    return !image->filtered && image->target && image->target->held;
}

static void tell_images(struct inventory *inv, struct node *n)
{
    LIST_EACH (link, &n->images) {
        struct image *image = CONTAINER_OF(link, struct image, target_link);
        bool announce = image->tag && image->announce && image_is_answered(image);
        if (announce != image->announced) {
            image->announced = announce;
            inv->listener(inv->arg,
                          &(struct inventory_change){.added = announce, .tag = image->name});
        }
    }
}

static void drop_orphans(struct inventory *inv)
{
    LIST_EACH_SAFE (link, &inv->orphans) {
        struct image *image = CONTAINER_OF(link, struct image, target_link);
        if (image->announced) {
            inv->listener(inv->arg, &(struct inventory_change){.tag = image->name});
        }
        list_remove(link);
        map_remove(&inv->images, &image->link);
        free(image);
    }
}

/* What a manifest says is kept while it is held or reached: the images that reach through it may
 * be filtered. After that nothing needs it. */
static void drop_contents_if_unneeded(struct inventory *inv, struct node *n)
{
    if (n->contents && !n->copies && !n->view.reached && !n->early) {
        struct contents *c = n->contents;
        n->contents = NULL;
        contents_free(inv, c);
    }
}

void inventory_flush(struct inventory *inv)
{
    if (inv->batches || inv->flushing) {
        return;
    }
    inv->flushing = true;
    measure_stale(inv);
    drop_orphans(inv);
    while (inv->dirty) {
        struct node *n = inv->dirty;
        inv->dirty = n->dirty_next;
        n->dirty = false;
        bool announce = node_should_be_announced(inv, n);
        if (announce != n->announced) {
            n->announced = announce;
            inv->listener(inv->arg,
                          &(struct inventory_change){.added = announce, .digest = &n->view.digest});
        }
        tell_images(inv, n);
        drop_contents_if_unneeded(inv, n);
        node_drop_if_unused(inv, n);
    }
    inv->flushing = false;
}
