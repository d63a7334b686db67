/* world.h - an inventory whose listener keeps a diary, for the tests of the inventory.
 *
 * The diary is the oracle: what is announced at the end must be what the changes add up to, each
 * told once. Digests are numbers, in their first two bytes; lists of numbers end with 0. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/inventory.h"
#include "support.h"

#define MAX_TAGS 64

static const struct blob_root root_a = {.path = (char *)"/nowhere/a"};
static const struct blob_root root_b = {.path = (char *)"/nowhere/b"};

struct world {
    struct filter *filter;
    struct inventory *inv;
    unsigned char announced[65536]; /* by the first two bytes of the digest */
    char tags[MAX_TAGS][128];
    size_t changes;
};

static inline struct digest digest_n(unsigned n)
{
    struct digest d = {{0}};
    d.bytes[0] = (uint8_t)(n >> 8);
    d.bytes[1] = (uint8_t)n;
    return d;
}

static inline void note(void *arg, const struct inventory_change *change)
{
    struct world *w = arg;
    w->changes++;
    assert_true((change->digest != NULL) != (change->tag != NULL));
    if (change->digest) {
        unsigned n = (unsigned)(change->digest->bytes[0] << 8 | change->digest->bytes[1]);
        assert_int_equal(w->announced[n], !change->added); /* exactly once */
        w->announced[n] = change->added;
        return;
    }
    size_t at = MAX_TAGS, unused = MAX_TAGS;
    for (size_t i = 0; i < MAX_TAGS; i++) {
        at = strcmp(w->tags[i], change->tag) ? at : i;
        unused = w->tags[i][0] ? unused : i;
    }
    if (change->added) {
        assert_int_equal(at, MAX_TAGS);
        assert_true(unused < MAX_TAGS);
        (void)snprintf(w->tags[unused], sizeof w->tags[0], "%s", change->tag);
    } else {
        assert_true(at < MAX_TAGS);
        w->tags[at][0] = 0;
    }
}

static inline bool tag_is_announced(const struct world *w, const char *tag)
{
    for (size_t i = 0; i < MAX_TAGS; i++) {
        if (!strcmp(w->tags[i], tag)) {
            return true;
        }
    }
    return false;
}

static inline struct world *world_new(const char *expression, const char *registry)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(
        filter_new(&expression, expression != NULL, &registry, registry != NULL, &w->filter, NULL),
        0);
    assert_int_equal(inventory_new(w->filter, note, w, &w->inv), 0);
    return w;
}

struct census {
    size_t digests, tags;
};

static inline void count_announced(void *arg, const struct inventory_change *change)
{
    struct census *c = arg;
    assert_true(change->added);
    c->digests += change->digest != NULL;
    c->tags += change->tag != NULL;
}

static inline void world_free(struct world *w)
{
    struct census told = {0}, walked = {0};
    for (size_t i = 0; i < 65536; i++) {
        told.digests += w->announced[i];
    }
    for (size_t i = 0; i < MAX_TAGS; i++) {
        told.tags += w->tags[i][0] != 0;
    }
    inventory_announced(w->inv, count_announced, &walked);
    assert_int_equal(told.digests, walked.digests);
    assert_int_equal(told.tags, walked.tags);
    inventory_free(w->inv);
    filter_free(w->filter);
    free(w);
}

static inline void blob(struct world *w, unsigned n)
{
    struct digest d = digest_n(n);
    assert_int_equal(inventory_add_blob(w->inv, &d, 100 + n, &root_a), 0);
}

static inline void gone(struct world *w, unsigned n)
{
    struct digest d = digest_n(n);
    inventory_remove_blob(w->inv, &d);
}

static inline void image(struct world *w, const char *name, unsigned target)
{
    struct digest d = digest_n(target);
    struct error err = {0};
    if (inventory_set_image(w->inv, name, &d, NULL, true, &err) != 0) {
        fail_msg("%s: %s", name, err.text);
    }
}

/* `children` ends with 0. */
static inline int manifest_of(struct inventory *inv, unsigned n, bool is_index,
                              const unsigned *children)
{
    struct manifest m = {.is_index = is_index};
    struct manifest_child list[16];
    memset(list, 0, sizeof list);
    for (; children[m.child_count]; m.child_count++) {
        list[m.child_count].digest = digest_n(children[m.child_count]);
        list[m.child_count].is_manifest = is_index;
    }
    m.children = list;
    struct digest d = digest_n(n);
    return inventory_set_manifest(inv, &d, &m);
}

static inline void manifest(struct world *w, unsigned n, const unsigned *children)
{
    assert_int_equal(manifest_of(w->inv, n, false, children), 0);
}

static inline void index_of(struct world *w, unsigned n, const unsigned *children)
{
    assert_int_equal(manifest_of(w->inv, n, true, children), 0);
}

#define LIST(...) ((const unsigned[]){__VA_ARGS__, 0})

static const struct inventory_blob *find(const struct world *w, unsigned n)
{
    struct digest d = digest_n(n);
    return inventory_blob(w->inv, &d);
}

static inline bool unparsed_is(struct world *w, const unsigned *expected)
{
    struct digest got[8];
    size_t n = inventory_unparsed(w->inv, got, 8), want = 0;
    for (; expected[want]; want++) {
        bool found = false;
        for (size_t i = 0; i < n; i++) {
            struct digest d = digest_n(expected[want]);
            found = found || digest_equal(&got[i], &d);
        }
        if (!found) {
            return false;
        }
    }
    return n == want;
}
