#include "store/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/blob_file.h"
#include "store/inventory_internal.h"

#define IMAGE(map_node_pointer) CONTAINER_OF(map_node_pointer, struct image, link)

int inventory_new(const struct filter *filter, inventory_listener *listener, void *arg,
                  struct inventory **ret_inventory)
{
    struct inventory *inv = calloc(1, sizeof *inv);
    if (!inv) {
        return -ENOMEM;
    }
    inv->filter = filter;
    inv->listener = listener;
    inv->arg = arg;
    list_init(&inv->unparsed);
    list_init(&inv->orphans);
    *ret_inventory = inv;
    return 0;
}

static void node_free_whole(struct node *n)
{
    while (n->copies) {
        struct copy *next = n->copies->next;
        free(n->copies);
        n->copies = next;
    }
    if (n->contents && n->contents->referrer) {
        manifest_done(&n->contents->referrer->manifest);
        free(n->contents->referrer);
    }
    free(n->contents);
    free(n);
}

void inventory_free(struct inventory *inv)
{
    if (!inv) {
        return;
    }
    struct map_node *m, *next;
    for (m = map_next(&inv->nodes, NULL); m; m = next) {
        next = map_next(&inv->nodes, m);
        node_free_whole(CONTAINER_OF(m, struct node, link));
    }
    for (m = map_next(&inv->images, NULL); m; m = next) {
        next = map_next(&inv->images, m);
        free(IMAGE(m));
    }
    for (m = map_next(&inv->subjects, NULL); m; m = next) {
        next = map_next(&inv->subjects, m);
        free(CONTAINER_OF(m, struct subject, link));
    }
    for (m = map_next(&inv->media_types, NULL); m; m = next) {
        next = map_next(&inv->media_types, m);
        free(CONTAINER_OF(m, struct interned, link));
    }
    map_done(&inv->nodes);
    map_done(&inv->images);
    map_done(&inv->subjects);
    map_done(&inv->media_types);
    free(inv);
}

void inventory_batch_begin(struct inventory *inv)
{
    inv->batches++;
}

void inventory_batch_end(struct inventory *inv)
{
    inv->batches--;
    inventory_flush(inv);
}

/* --- copies --- */

static struct copy **copy_find(struct node *n, const struct blob_root *root)
{
    struct copy **at = &n->copies;
    while (*at && (*at)->root != root) {
        at = &(*at)->next;
    }
    return at;
}

int inventory_add_blob(struct inventory *inv, const struct digest *d, int64_t size_bytes,
                       const struct blob_root *root)
{
    struct node *n = node_get(inv, d);
    if (!n) {
        return -ENOMEM;
    }
    struct copy **at = copy_find(n, root);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at) {
            node_drop_if_unused(inv, n);
            return -ENOMEM;
        }
        (*at)->root = root;
    } else if ((*at)->size_bytes == size_bytes) {
        return 0;
    }
    (*at)->size_bytes = size_bytes;
    (*at)->condemned = false;
    node_touch(inv, n);
    inventory_flush(inv);
    return 0;
}

/* `root` NULL: all copies. */
static void remove_copies(struct inventory *inv, const struct digest *d,
                          const struct blob_root *root)
{
    struct node *n = node_find(inv, d);
    if (!n || !n->copies) {
        return;
    }
    for (struct copy **at = &n->copies, *copy; (copy = *at);) {
        if (root && copy->root != root) {
            at = &copy->next;
            continue;
        }
        *at = copy->next;
        free(copy);
    }
    if (!n->copies) {
        n->asked = n->unparsable = n->early = false;
        n->recheck = n->contents != NULL; /* another file, when it comes again */
    }
    node_touch(inv, n);
    inventory_flush(inv);
}

void inventory_remove_blob(struct inventory *inv, const struct digest *d)
{
    remove_copies(inv, d, NULL);
}

void inventory_remove_copy(struct inventory *inv, const struct digest *d,
                           const struct blob_root *root)
{
    remove_copies(inv, d, root);
}

void inventory_condemn(struct inventory *inv, const struct digest *d)
{
    struct node *n = node_find(inv, d);
    struct copy *copy = n ? n->copies : NULL;
    while (copy && copy->condemned) {
        copy = copy->next;
    }
    if (copy) {
        copy->condemned = true;
        n->asked = false; /* the next copy has bytes of its own */
        node_touch(inv, n);
        inventory_flush(inv);
    }
}

int inventory_open(struct inventory *inv, const struct digest *d)
{
    for (;;) {
        struct node *n = node_find(inv, d);
        if (!n || !n->held) {
            return -ENOENT;
        }
        int fd = -1;
        int64_t size_bytes = 0;
        int r = blob_file_open(n->view.root->path, d, &fd, &size_bytes);
        if (r == 0 && size_bytes == n->view.size_bytes) {
            return fd;
        }
        if (r == 0) {
            (void)close(fd);
        } else if (r != -ENOENT) {
            return r;
        }
        inventory_remove_copy(inv, d, n->view.root);
    }
}

/* --- images --- */

/* "registry/repository[:tag]", or "/repository[:tag]" for an image without a registry. */
static int parse_name(const char *name, struct reference *ret_reference, struct error *err)
{
    if (name[0] != '/') {
        return reference_parse(name, ret_reference, err);
    }
    char with_registry[sizeof "localhost" + INVENTORY_NAME_BYTES + DIGEST_TEXT_BYTES];
    size_t n = strlen(name);
    if (n + sizeof "localhost" > sizeof with_registry) {
        (void)error_set(err, -EINVAL, "malformed repository");
        return -EINVAL;
    }
    memcpy(with_registry, "localhost", 9);
    memcpy(with_registry + 9, name, n + 1);
    int r = reference_parse(with_registry, ret_reference, err);
    if (r == 0) {
        ret_reference->registry[0] = 0;
    }
    return r;
}

/* The name, and its parts each with a NUL of its own. */
static struct image *image_new(const char *name, const struct reference *ref)
{
    size_t name_bytes = strlen(name) + 1;
    size_t registry_bytes = strlen(ref->registry) + 1;
    size_t repository_bytes = strlen(ref->repository) + 1;
    size_t tag_bytes = strlen(ref->tag) + 1;
    struct image *image =
        calloc(1, sizeof *image + name_bytes + registry_bytes + repository_bytes + tag_bytes);
    if (!image) {
        return NULL;
    }
    char *at = image->name;
    memcpy(at, name, name_bytes);
    image->registry = memcpy(at += name_bytes, ref->registry, registry_bytes);
    image->repository = memcpy(at += registry_bytes, ref->repository, repository_bytes);
    at += repository_bytes;
    if (ref->tag[0] && !ref->has_digest) {
        image->tag = memcpy(at, ref->tag, tag_bytes);
    }
    list_init(&image->target_link);
    return image;
}

static void image_attach(struct inventory *inv, struct image *image, struct node *target)
{
    image->target = target;
    list_remove(&image->target_link);
    list_push_back(&target->images, &image->target_link);
    for (int kind = 0; kind < REACH_KINDS; kind++) {
        if (kind == REACH_CLEAN && image->filtered) {
            continue;
        }
        target->image_count[kind]++;
        node_reach(inv, target, kind);
    }
    node_touch(inv, target);
}

static void image_detach(struct inventory *inv, struct image *image)
{
    struct node *target = image->target;
    list_remove(&image->target_link);
    for (int kind = 0; kind < REACH_KINDS; kind++) {
        if (kind == REACH_CLEAN && image->filtered) {
            continue;
        }
        if (--target->image_count[kind] == 0) {
            node_unreach(inv, target);
        }
    }
    image->target = NULL;
    node_touch(inv, target);
}

/* 0 with the image of that name, made if it is new. */
static int image_get(struct inventory *inv, const char *name, struct image **ret_image,
                     struct error *err)
{
    struct map_node *found = map_get(&inv->images, name, strlen(name));
    if (found) {
        *ret_image = IMAGE(found);
        return 0;
    }
    struct reference ref;
    int r = parse_name(name, &ref, err);
    if (r < 0) {
        return r;
    }
    struct image *image = image_new(name, &ref);
    if (!image || map_insert(&inv->images, &image->link, image->name, strlen(name)) < 0) {
        free(image);
        (void)error_set(err, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    image->filtered = filter_matches(inv->filter, ref.registry, ref.repository, ref.tag);
    *ret_image = image;
    return 0;
}

int inventory_set_image(struct inventory *inv, const char *name, const struct digest *target,
                        const char *media_type, bool announce_tag, struct error *err)
{
    struct image *image;
    int r = image_get(inv, name, &image, err);
    if (r < 0) {
        return r;
    }
    const char *interned = NULL;
    struct node *n = node_get(inv, target);
    if (!n || inventory_intern(inv, media_type, &interned) < 0) {
        if (n) {
            node_drop_if_unused(inv, n);
        }
        if (!image->target && list_empty(&image->target_link)) {
            map_remove(&inv->images, &image->link);
            free(image);
        }
        return error_set(err, -ENOMEM, "out of memory");
    }
    image->announce = announce_tag && image->registry[0];
    n->named_manifest = true;
    n->named_type = n->named_type ? n->named_type : interned;
    if (image->target != n) {
        if (image->target) {
            image_detach(inv, image);
        }
        image_attach(inv, image, n);
    } else {
        node_touch(inv, n);
    }
    inventory_flush(inv);
    return 0;
}

void inventory_remove_image(struct inventory *inv, const char *name)
{
    struct map_node *found = map_get(&inv->images, name, strlen(name));
    if (!found || !IMAGE(found)->target) {
        return;
    }
    struct image *image = IMAGE(found);
    image_detach(inv, image);
    list_push_back(&inv->orphans, &image->target_link);
    inventory_flush(inv);
}

/* --- look-ups --- */

const struct inventory_blob *inventory_blob(const struct inventory *inv, const struct digest *d)
{
    const struct node *n = node_find(inv, d);
    return n && n->held ? &n->view : NULL;
}

size_t inventory_blob_count(const struct inventory *inv)
{
    return inv->held_count;
}

const struct digest *inventory_image(const struct inventory *inv, const char *name)
{
    struct map_node *found = map_get(&inv->images, name, strlen(name));
    return found && IMAGE(found)->target ? &IMAGE(found)->target->view.digest : NULL;
}

void inventory_each_blob(struct inventory *inv, const struct blob_root *root, inventory_blob_fn *fn,
                         void *arg)
{
    inventory_batch_begin(inv); /* nodes live until its end */
    for (struct map_node *m = map_next(&inv->nodes, NULL); m; m = map_next(&inv->nodes, m)) {
        struct node *n = CONTAINER_OF(m, struct node, link);
        const struct copy *copy = *copy_find(n, root);
        if (copy) {
            struct inventory_blob view = n->view;
            view.size_bytes = copy->size_bytes;
            view.root = root;
            fn(arg, &view);
        }
    }
    inventory_batch_end(inv);
}

void inventory_each_image(struct inventory *inv, inventory_image_fn *fn, void *arg)
{
    struct map_node *next;
    inventory_batch_begin(inv);
    for (struct map_node *m = map_next(&inv->images, NULL); m; m = next) {
        next = map_next(&inv->images, m);
        if (IMAGE(m)->target) {
            fn(arg, IMAGE(m)->name, &IMAGE(m)->target->view.digest);
        }
    }
    inventory_batch_end(inv);
}
