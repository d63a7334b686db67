#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/inventory_internal.h"

int inventory_intern(struct inventory *inv, const char *media_type, const char **ret_interned)
{
    *ret_interned = NULL;
    if (!media_type || !media_type_is_sane(media_type)) {
        return 0;
    }
    size_t n = strlen(media_type);
    struct map_node *found = map_get(&inv->media_types, media_type, n);
    if (found) {
        *ret_interned = CONTAINER_OF(found, struct interned, link)->text;
        return 0;
    }
    if (inv->media_types.count >= LIMIT_MEDIA_TYPES) {
        return 0;
    }
    struct interned *added = calloc(1, sizeof *added + n + 1);
    if (!added) {
        return -ENOMEM;
    }
    memcpy(added->text, media_type, n);
    if (map_insert(&inv->media_types, &added->link, added->text, n) < 0) {
        free(added);
        return -ENOMEM;
    }
    *ret_interned = added->text;
    return 0;
}

static void subject_drop_if_unused(struct inventory *inv, struct subject *s)
{
    if (list_empty(&s->referrers)) {
        map_remove(&inv->subjects, &s->link);
        free(s);
    }
}

static struct subject *subject_get(struct inventory *inv, const struct digest *d)
{
    struct map_node *found = map_get(&inv->subjects, d->bytes, DIGEST_BYTES);
    if (found) {
        return CONTAINER_OF(found, struct subject, link);
    }
    struct subject *s = calloc(1, sizeof *s);
    if (!s) {
        return NULL;
    }
    s->digest = *d;
    list_init(&s->referrers);
    if (map_insert(&inv->subjects, &s->link, s->digest.bytes, DIGEST_BYTES) < 0) {
        free(s);
        return NULL;
    }
    return s;
}

static struct referrer *referrer_new(struct inventory *inv, struct node *n,
                                     const struct manifest *m)
{
    struct referrer *r = calloc(1, sizeof *r);
    if (!r) {
        return NULL;
    }
    r->node = n;
    r->manifest = *m;
    r->manifest.children = NULL;
    r->manifest.child_count = 0;
    r->manifest.annotations_json = m->annotations_json ? strdup(m->annotations_json) : NULL;
    r->subject = subject_get(inv, &m->subject);
    if (!r->subject || (m->annotations_json && !r->manifest.annotations_json)) {
        if (r->subject) {
            subject_drop_if_unused(inv, r->subject);
        }
        free(r->manifest.annotations_json);
        free(r);
        return NULL;
    }
    list_push_back(&r->subject->referrers, &r->link);
    return r;
}

/* Children that nothing else speaks of go with it. A child may be the freed manifest's own node, or
 * one that is being flushed: those are dirty, and left to the flush. */
void contents_free(struct inventory *inv, struct contents *c)
{
    for (size_t i = 0; i < c->child_count; i++) {
        struct edge *edge = &c->children[i];
        list_remove(&edge->link);
        if (list_empty(&edge->child->parents)) {
            node_touch(inv, edge->child);
        }
    }
    if (c->referrer) {
        list_remove(&c->referrer->link);
        subject_drop_if_unused(inv, c->referrer->subject);
        manifest_done(&c->referrer->manifest);
        free(c->referrer);
    }
    free(c);
}

/* Everything of it that allocates; nothing in the graph has changed when this fails, new nodes for
 * children excepted, to which edges of `c` lead. */
static int contents_fill(struct inventory *inv, struct contents *c, struct node *n,
                         const struct manifest *m)
{
    for (size_t i = 0; i < m->child_count; i++) {
        const struct manifest_child *from = &m->children[i];
        struct node *child = node_get(inv, &from->digest);
        if (!child) {
            return -ENOMEM;
        }
        struct edge *edge = &c->children[c->child_count++];
        *edge = (struct edge){.parent = n, .child = child};
        list_push_back(&child->parents, &edge->link);
        const char *media_type = NULL;
        if (from->is_manifest && !child->named_type &&
            inventory_intern(inv, from->media_type, &media_type) < 0) {
            return -ENOMEM;
        }
        child->named_type = child->named_type ? child->named_type : media_type;
    }
    if (m->has_subject) {
        c->referrer = referrer_new(inv, n, m);
        if (!c->referrer) {
            return -ENOMEM;
        }
    }
    return inventory_intern(inv, m->media_type, &c->media_type);
}

static int contents_new(struct inventory *inv, struct node *n, const struct manifest *m)
{
    struct contents *c = calloc(1, sizeof *c + m->child_count * sizeof(struct edge));
    if (!c) {
        return -ENOMEM;
    }
    c->is_index = m->is_index;
    int r = contents_fill(inv, c, n, m);
    if (r < 0) {
        contents_free(inv, c);
        return r;
    }
    n->contents = c;
    for (size_t i = 0; i < m->child_count; i++) {
        struct node *child = c->children[i].child;
        child->named_config |= media_type_is_config(m->children[i].media_type);
        child->named_layer |= media_type_is_layer(m->children[i].media_type);
        if (m->children[i].is_manifest && !child->named_manifest) {
            child->named_manifest = true;
            node_touch(inv, child);
        }
    }
    return 0;
}

int inventory_set_manifest(struct inventory *inv, const struct digest *d, const struct manifest *m)
{
    struct node *n = node_get(inv, d);
    if (!n) {
        return -ENOMEM;
    }
    int r = n->contents ? 0 : contents_new(inv, n, m);
    if (r == 0) {
        n->early = !n->copies;
        n->recheck = n->unparsable = false;
        node_spread(inv, n);
        node_touch(inv, n);
    } else {
        node_drop_if_unused(inv, n);
    }
    inventory_flush(inv);
    return r;
}

size_t inventory_unparsed(struct inventory *inv, struct digest *ret_digests, size_t max)
{
    size_t n = 0;
    while (n < max && !list_empty(&inv->unparsed)) {
        struct node *node = CONTAINER_OF(inv->unparsed.next, struct node, unparsed);
        node->asked = true;
        list_remove(&node->unparsed);
        ret_digests[n++] = node->view.digest;
    }
    return n;
}

void inventory_set_unparsable(struct inventory *inv, const struct digest *d)
{
    struct node *n = node_find(inv, d);
    if (n && !n->contents) {
        n->unparsable = true;
        n->recheck = false;
        node_touch(inv, n);
        inventory_flush(inv);
    }
}

void inventory_recheck(struct inventory *inv, const struct digest *d)
{
    struct node *n = node_find(inv, d);
    if (n) {
        n->asked = false;
        n->recheck = n->contents != NULL || n->unparsable;
        node_touch(inv, n);
        inventory_flush(inv);
    }
}
