#include "cluster/holding.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"

#define CAPACITY_FIRST 64

/* In runs of one kind, in order: a key that came and went must end as it is now. */
static void holding_flush(void *arg)
{
    struct holding *h = arg;
    if (!h->listed) {
        return;
    }
    if (!h->told && (h->count == 0 || !h->added[0])) {
        h->tell(h->arg, true, NULL, 0);
    }
    h->told = true;
    for (size_t first = 0, end; first < h->count; first = end) {
        end = first + 1;
        while (end < h->count && h->added[end] == h->added[first]) {
            end++;
        }
        h->tell(h->arg, h->added[first], h->keys + first, end - first);
    }
    free(h->keys);
    free(h->added);
    h->keys = NULL;
    h->added = NULL;
    h->count = h->capacity = 0;
}

static int holding_grow(struct holding *h)
{
    size_t capacity = h->capacity ? h->capacity * 2 : CAPACITY_FIRST;
    if (capacity > LIMIT_HOLDING_CHANGES) {
        return -ENOBUFS;
    }
    uint64_t *keys = realloc(h->keys, capacity * sizeof *keys);
    h->keys = keys ? keys : h->keys;
    bool *added = keys ? realloc(h->added, capacity * sizeof *added) : NULL;
    h->added = added ? added : h->added;
    if (!added) {
        return -ENOMEM;
    }
    h->capacity = capacity;
    return 0;
}

int holding_change(struct holding *h, uint64_t key, bool added)
{
    int r = h->count == h->capacity ? holding_grow(h) : 0;
    if (r < 0) {
        return r;
    }
    h->keys[h->count] = key;
    h->added[h->count++] = added;
    if (h->listed) {
        defer_start(h->loop, &h->flush);
    }
    return 0;
}

void holding_set_listed(struct holding *h)
{
    if (!h->listed) {
        h->listed = true;
        defer_start(h->loop, &h->flush);
    }
}

void holding_init(struct holding *h, struct loop *loop,
                  void (*tell)(void *arg, bool added, const uint64_t *keys, size_t count),
                  void *arg)
{
    *h = (struct holding){.loop = loop, .tell = tell, .arg = arg};
    defer_init(&h->flush, holding_flush, h);
}

void holding_done(struct holding *h)
{
    defer_stop(&h->flush);
    free(h->keys);
    free(h->added);
    *h = (struct holding){0};
}
