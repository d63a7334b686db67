#include <string.h>

#include "base/limits.h"
#include "store/inventory_internal.h"

#define IMAGE(map_node_pointer) CONTAINER_OF(map_node_pointer, struct image, link)
#define NODE(map_node_pointer) CONTAINER_OF(map_node_pointer, struct node, link)

#define NAME_BYTES (REFERENCE_REGISTRY_BYTES + REFERENCE_REPOSITORY_BYTES + REFERENCE_TAG_BYTES + 2)

#define EACH_IMAGE(image, inv)                                                                     \
    for (struct map_node *image##_node = map_next(&(inv)->images, NULL);                           \
         image##_node && ((image) = IMAGE(image##_node), true);                                    \
         image##_node = map_next(&(inv)->images, image##_node))

/* --- one tag --- */

static const struct image *find_tag(const struct inventory *inv, const char *registry,
                                    const char *repository, const char *tag)
{
    char name[INVENTORY_NAME_BYTES];
    size_t n = strlen(registry), m = strlen(repository), t = strlen(tag);
    if (n + m + t + sizeof "/:" > sizeof name) {
        return NULL;
    }
    memcpy(name, registry, n);
    name[n] = '/';
    memcpy(name + n + 1, repository, m);
    name[n + 1 + m] = ':';
    memcpy(name + n + m + 2, tag, t);
    struct map_node *found = map_get(&inv->images, name, n + m + t + 2);
    const struct image *image = found ? IMAGE(found) : NULL;
    return image && image->tag && image_is_answered(image) ? image : NULL;
}

/* The only answered image of that repository and tag, under any registry. */
static const struct image *find_only_tag(const struct inventory *inv, const char *repository,
                                         const char *tag, size_t *ret_choices)
{
    const struct image *image, *only = NULL;
    size_t choices = 0;
    EACH_IMAGE(image, inv)
    {
        if (image->tag && !strcmp(image->tag, tag) && !strcmp(image->repository, repository) &&
            image_is_answered(image)) {
            only = image;
            choices++;
        }
    }
    *ret_choices = choices;
    return choices == 1 ? only : NULL;
}

const struct inventory_blob *inventory_tag(const struct inventory *inv, const char *registry,
                                           const char *repository, const char *tag,
                                           size_t *ret_choices)
{
    size_t choices = 0;
    const struct image *image = NULL;
    if (registry && registry[0]) {
        image = find_tag(inv, registry, repository, tag);
    }
    if (!image) {
        image = find_tag(inv, "", repository, tag);
    }
    choices = image ? 1 : 0;
    if (!image && (!registry || !registry[0])) {
        image = find_only_tag(inv, repository, tag, &choices);
    }
    if (ret_choices) {
        *ret_choices = choices;
    }
    return image ? &image->target->view : NULL;
}

/* --- sorted lists --- */

/* A sorted run without doubles, of the first `max` of all that are offered. */
struct sorted {
    const char **texts;
    size_t count, max;
    bool more;
};

static void sorted_offer(struct sorted *s, const char *text)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(s->texts[middle], text);
        if (order == 0) {
            return;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    if (s->count == s->max) {
        s->more = true;
        if (low == s->max) {
            return;
        }
        s->count--; /* the greatest gives way */
    }
    memmove(s->texts + low + 1, s->texts + low, (s->count - low) * sizeof(const char *));
    s->texts[low] = text;
    s->count++;
}

static bool registry_fits(const struct image *image, const char *registry)
{
    return !registry || !registry[0] || !image->registry[0] || !strcmp(image->registry, registry);
}

size_t inventory_registries_of(const struct inventory *inv, const char *repository,
                               const char **ret_registries, size_t max)
{
    struct sorted s = {.texts = ret_registries, .max = max};
    const struct image *image;
    EACH_IMAGE(image, inv)
    {
        if (image->registry[0] && !strcmp(image->repository, repository) &&
            image_is_answered(image)) {
            sorted_offer(&s, image->registry);
        }
    }
    return s.count;
}

size_t inventory_repositories(const struct inventory *inv, const char *registry, const char *last,
                              const char **ret_names, size_t max, bool *ret_more)
{
    struct sorted s = {.texts = ret_names, .max = max};
    const struct image *image;
    EACH_IMAGE(image, inv)
    {
        if (image_is_answered(image) && registry_fits(image, registry) &&
            strcmp(image->repository, last) > 0) {
            sorted_offer(&s, image->repository);
        }
    }
    *ret_more = s.more;
    return s.count;
}

size_t inventory_tags(const struct inventory *inv, const char *registry, const char *repository,
                      const char *last, const char **ret_tags, size_t max, bool *ret_more)
{
    struct sorted s = {.texts = ret_tags, .max = max};
    const struct image *image;
    EACH_IMAGE(image, inv)
    {
        if (image->tag && image_is_answered(image) && registry_fits(image, registry) &&
            !strcmp(image->repository, repository) && strcmp(image->tag, last) > 0) {
            sorted_offer(&s, image->tag);
        }
    }
    *ret_more = s.more;
    return s.count;
}

bool inventory_has_repository(const struct inventory *inv, const char *registry,
                              const char *repository)
{
    const struct image *image;
    EACH_IMAGE(image, inv)
    {
        if (image_is_answered(image) && registry_fits(image, registry) &&
            !strcmp(image->repository, repository)) {
            return true;
        }
    }
    return false;
}

/* --- referrers --- */

void inventory_referrers(const struct inventory *inv, const struct digest *d,
                         inventory_referrer_fn *fn, void *arg)
{
    struct map_node *found = map_get(&inv->subjects, d->bytes, DIGEST_BYTES);
    if (!found) {
        return;
    }
    LIST_EACH (link, &CONTAINER_OF(found, struct subject, link)->referrers) {
        const struct referrer *r = CONTAINER_OF(link, struct referrer, link);
        if (r->node->held && !r->node->view.filtered) {
            fn(arg, &r->node->view, &r->manifest);
        }
    }
}

/* --- everything that is announced, and how much of it --- */

void inventory_announced(const struct inventory *inv, inventory_listener *fn, void *arg)
{
    const struct image *image;
    for (struct map_node *m = map_next(&inv->nodes, NULL); m; m = map_next(&inv->nodes, m)) {
        if (NODE(m)->announced) {
            fn(arg, &(struct inventory_change){.added = true, .digest = &NODE(m)->view.digest});
        }
    }
    EACH_IMAGE(image, inv)
    {
        if (image->announced) {
            fn(arg, &(struct inventory_change){.added = true, .tag = image->name});
        }
    }
}

/* Marks and counts what images of one registry reach: level by level, so that the first visit of a
 * node is the one at its least distance. */
static void count_registry(const struct inventory *inv, struct inventory_figures *f)
{
    const struct image *image;
    struct node *level = NULL;
    EACH_IMAGE(image, inv)
    {
        struct node *n = image->target;
        if (image->filtered || !n || strcmp(image->registry, f->registry) != 0) {
            continue;
        }
        f->tags += image->announced;
        if (!n->marked) {
            n->marked = true;
            n->work_next = level;
            level = n;
            f->image_digests += n->announced;
        }
    }
    for (size_t depth = 0; level; depth++) {
        struct node *below = NULL;
        for (struct node *n = level; n; n = n->work_next) {
            f->content_digests += n->announced;
            size_t children =
                n->contents && depth < LIMIT_MANIFEST_DEPTH ? n->contents->child_count : 0;
            for (size_t i = 0; i < children; i++) {
                struct node *child = n->contents->children[i].child;
                if (!child->marked) {
                    child->marked = true;
                    child->work_next = below;
                    below = child;
                }
            }
        }
        level = below;
    }
    for (struct map_node *m = map_next(&inv->nodes, NULL); m; m = map_next(&inv->nodes, m)) {
        NODE(m)->marked = false;
    }
}

size_t inventory_figures(const struct inventory *inv, struct inventory_figures *ret_figures,
                         size_t max)
{
    const struct image *image;
    const char *names[64];
    struct sorted s = {.texts = names, .max = max < 64 ? max : 64};
    if (max == 0) {
        return 0;
    }
    sorted_offer(&s, "");
    EACH_IMAGE(image, inv)
    {
        if (!image->filtered) {
            sorted_offer(&s, image->registry);
        }
    }
    for (size_t i = 0; i < s.count; i++) {
        ret_figures[i] = (struct inventory_figures){.registry = names[i]};
        count_registry(inv, &ret_figures[i]);
    }
    for (struct map_node *m = map_next(&inv->nodes, NULL); m; m = map_next(&inv->nodes, m)) {
        ret_figures[0].content_digests += NODE(m)->announced && !NODE(m)->view.reached;
    }
    return s.count;
}

/* --- images whose layers are here --- */

/* +1: half of its layers are here; -1: fewer; 0: no image, or its configuration is not here. A
 * copy that was found corrupt counts as here: containerd has kept it. */
static int judge_manifest(const struct node *n, size_t *budget)
{
    size_t here = 0, layers = 0;
    bool has_config = false;
    for (size_t i = 0; i < n->contents->child_count && *budget; i++, --*budget) {
        const struct node *child = n->contents->children[i].child;
        has_config = has_config || (child->named_config && child->copies);
        layers += child->named_layer;
        here += child->named_layer && child->copies;
    }
    return !has_config || !layers ? 0 : 2 * here >= layers ? 1 : -1;
}

static int judge_image(const struct node *n, size_t *budget)
{
    if (!n->copies || !n->contents || n->view.filtered) {
        return 0;
    }
    if (!n->contents->is_index) {
        return judge_manifest(n, budget);
    }
    int verdict = 0;
    for (size_t i = 0; i < n->contents->child_count && *budget && verdict <= 0; i++, --*budget) {
        const struct node *child = n->contents->children[i].child;
        bool is_manifest = child->copies && child->contents && !child->contents->is_index;
        int one = is_manifest ? judge_manifest(child, budget) : 0;
        verdict = one ? one : verdict;
    }
    return verdict;
}

struct inventory_layers inventory_layers(const struct inventory *inv)
{
    struct inventory_layers layers = {0};
    size_t budget = LIMIT_LAYER_LOOKS;
    const struct image *image;
    EACH_IMAGE(image, inv)
    {
        /* Of several names for one digest, the first stands for all. */
        bool first = image->target && image->target->images.next == &image->target_link;
        int verdict = first ? judge_image(image->target, &budget) : 0;
        if (budget == 0) {
            break; /* of this one, only a part was seen */
        }
        budget--;
        layers.with += verdict > 0;
        layers.without += verdict < 0;
    }
    return layers;
}
