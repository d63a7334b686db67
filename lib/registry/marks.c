#include "registry/marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct marked {
    struct map_node node;
    struct list link;
    struct digest digest;
    struct mark marks[MARKS_HOLDERS];
    size_t count;
};

void marks_init(struct marks *m, size_t max_digests)
{
    map_init(&m->by_digest);
    list_init(&m->oldest_first);
    m->max_digests = max_digests;
}

static void marked_free(struct marks *m, struct marked *e)
{
    map_remove(&m->by_digest, &e->node);
    list_remove(&e->link);
    free(e);
}

void marks_done(struct marks *m)
{
    LIST_EACH_SAFE (link, &m->oldest_first) {
        marked_free(m, CONTAINER_OF(link, struct marked, link));
    }
    map_done(&m->by_digest);
}

static struct marked *marked_find(const struct marks *m, const struct digest *digest)
{
    struct map_node *node = map_get(&m->by_digest, digest->bytes, DIGEST_BYTES);
    return node ? CONTAINER_OF(node, struct marked, node) : NULL;
}

static struct marked *marked_add(struct marks *m, const struct digest *digest)
{
    if (m->by_digest.count >= m->max_digests) {
        marked_free(m, CONTAINER_OF(m->oldest_first.next, struct marked, link));
    }
    struct marked *e = calloc(1, sizeof(*e));
    if (!e) {
        return NULL;
    }
    e->digest = *digest;
    list_init(&e->link);
    if (map_insert(&m->by_digest, &e->node, e->digest.bytes, DIGEST_BYTES) < 0) {
        free(e);
        return NULL;
    }
    return e;
}

static struct mark *mark_find(struct marked *e, const uint8_t *node_id)
{
    for (size_t i = 0; e && i < e->count; i++) {
        if (memcmp(e->marks[i].node_id, node_id, MARKS_NODE_BYTES) == 0) {
            return &e->marks[i];
        }
    }
    return NULL;
}

static struct mark *mark_oldest(struct marked *e)
{
    struct mark *oldest = &e->marks[0];
    for (size_t i = 1; i < e->count; i++) {
        if (e->marks[i].at_ms < oldest->at_ms) {
            oldest = &e->marks[i];
        }
    }
    return oldest;
}

int marks_set(struct marks *m, const struct digest *digest, const uint8_t *node_id, uint8_t kind,
              uint64_t now_ms)
{
    struct marked *e = marked_find(m, digest);
    if (!e && !(e = marked_add(m, digest))) {
        return -ENOMEM;
    }
    struct mark *mark = mark_find(e, node_id);
    if (!mark) {
        mark = e->count < MARKS_HOLDERS ? &e->marks[e->count++] : mark_oldest(e);
        memcpy(mark->node_id, node_id, MARKS_NODE_BYTES);
    }
    mark->kind = kind;
    mark->at_ms = now_ms;
    list_remove(&e->link);
    list_push_back(&m->oldest_first, &e->link);
    return 0;
}

static void mark_drop(struct marks *m, struct marked *e, struct mark *mark)
{
    *mark = e->marks[--e->count];
    if (e->count == 0) {
        marked_free(m, e);
    }
}

void marks_clear(struct marks *m, const struct digest *digest, const uint8_t *node_id)
{
    struct marked *e = marked_find(m, digest);
    struct mark *mark = mark_find(e, node_id);
    if (mark) {
        mark_drop(m, e, mark);
    }
}

void marks_forget_node(struct marks *m, const uint8_t *node_id)
{
    LIST_EACH_SAFE (link, &m->oldest_first) {
        struct marked *e = CONTAINER_OF(link, struct marked, link);
        struct mark *mark = mark_find(e, node_id);
        if (mark) {
            mark_drop(m, e, mark);
        }
    }
}

struct mark *marks_get(const struct marks *m, const struct digest *digest, const uint8_t *node_id)
{
    return mark_find(marked_find(m, digest), node_id);
}

struct mark *marks_of(const struct marks *m, const struct digest *digest, size_t *ret_count)
{
    struct marked *e = marked_find(m, digest);
    *ret_count = e ? e->count : 0;
    return e ? e->marks : NULL;
}
