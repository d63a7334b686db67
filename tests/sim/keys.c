#include "sim.h"

#include "gossip/key.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

static size_t place(const struct sim_keys *k, uint64_t key)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (k->keys[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool sim_keys_has(const struct sim_keys *k, uint64_t key)
{
    size_t at = place(k, key);
    return at < k->count && k->keys[at] == key;
}

void sim_keys_add(struct sim_keys *k, uint64_t key)
{
    size_t at = place(k, key);
    if (at < k->count && k->keys[at] == key) {
        return;
    }
    if (k->count == k->capacity) {
        k->capacity = k->capacity ? k->capacity * 2 : 16;
        k->keys = realloc(k->keys, k->capacity * sizeof(*k->keys));
        CHECK(k->keys);
    }
    memmove(&k->keys[at + 1], &k->keys[at], (k->count - at) * sizeof(*k->keys));
    k->keys[at] = key;
    k->count++;
    k->hash ^= gossip_mix(key);
}

void sim_keys_del(struct sim_keys *k, uint64_t key)
{
    size_t at = place(k, key);
    if (at < k->count && k->keys[at] == key) {
        k->count--;
        memmove(&k->keys[at], &k->keys[at + 1], (k->count - at) * sizeof(*k->keys));
        k->hash ^= gossip_mix(key);
    }
}

#define IMAGES 2000
#define IMAGE_OWN 8  /* manifest, config, layers of its own */
#define IMAGE_BASE 4 /* layers of its base image */
#define BASES 60

/* One of `n`, the first ones more often: 1/rank, the popularity that registries see. */
static size_t popular(struct sim *s, size_t n)
{
    /* Inverse of the harmonic sum, by ln: rank = n^u is distributed as 1/rank. */
    double u = (double)(sim_random(s) >> 11) / 9007199254740992.0;
    double rank = 1, base = (double)n;
    for (double bit = 0.5; bit > 1e-6; bit /= 2) { /* n^u without libm: by square roots */
        double root = base, guess = base;
        for (int i = 0; i < 60 && guess * guess - root > 1e-9 * root; i++) {
            guess = (guess + root / guess) / 2;
        }
        base = guess;
        if (u >= bit) {
            u -= bit;
            rank *= base;
        }
    }
    size_t at = (size_t)rank - 1;
    return at < n ? at : n - 1;
}

static uint64_t key_of(uint64_t what, size_t number, size_t part)
{
    return gossip_mix(gossip_mix(what + number) + part) >> 1; /* a digest's: top bit clear */
}

void sim_keys_image_mix(struct sim *s, struct sim_keys *k, size_t count)
{
    size_t end = k->count + count;
    while (k->count < end) {
        size_t image = popular(s, IMAGES);
        for (size_t i = 0; i < IMAGE_OWN; i++) {
            sim_keys_add(k, key_of(1000000, image, i));
        }
        for (size_t i = 0; i < IMAGE_BASE; i++) {
            sim_keys_add(k, key_of(2000000, image % BASES, i));
        }
    }
}

void sim_add(struct sim *s, size_t node, const uint64_t *keys, size_t count)
{
    struct sim_node *n = &s->nodes[node];
    for (size_t i = 0; i < count; i++) {
        sim_keys_add(&n->held, keys[i]);
        sim_keys_add(&n->ever, keys[i]);
    }
    struct gossip_event event = {.kind = GOSSIP_LOCAL_ADD, .keys = {keys, count}};
    sim_event(s, node, &event);
}

void sim_del(struct sim *s, size_t node, const uint64_t *keys, size_t count)
{
    uint64_t *copied = malloc((count + 1) * sizeof(*keys));
    CHECK(copied);
    memcpy(copied, keys, count * sizeof(*keys));
    for (size_t i = 0; i < count; i++) {
        sim_keys_del(&s->nodes[node].held, copied[i]);
    }
    struct gossip_event event = {.kind = GOSSIP_LOCAL_DEL, .keys = {copied, count}};
    sim_event(s, node, &event);
    free(copied);
}

void sim_add_random(struct sim *s, size_t node, size_t count)
{
    uint64_t *keys = malloc((count + 1) * sizeof(*keys));
    CHECK(keys);
    for (size_t i = 0; i < count; i++) {
        /* Half of what a node has, others have too. */
        uint64_t random = sim_random(s);
        keys[i] = gossip_mix(random % 2 ? random : random % 1000) >> 1;
    }
    sim_add(s, node, keys, count);
    free(keys);
}
