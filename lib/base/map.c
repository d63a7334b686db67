#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND                                                                                  \
    do {                                                                                           \
        v0 += v1, v1 = ROTL(v1, 13), v1 ^= v0, v0 = ROTL(v0, 32);                                  \
        v2 += v3, v3 = ROTL(v3, 16), v3 ^= v2;                                                     \
        v0 += v3, v3 = ROTL(v3, 21), v3 ^= v0;                                                     \
        v2 += v1, v1 = ROTL(v1, 17), v1 ^= v2, v2 = ROTL(v2, 32);                                  \
    } while (0)

static uint64_t seed[2];

__attribute__((constructor)) static void map_seed(void)
{
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed[0] = (uint64_t)(uintptr_t)&seed;
    }
}

/* SipHash-1-3, from its description by Aumasson and Bernstein. */
uint64_t map_hash(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t v0 = seed[0] ^ 0x736f6d6570736575u, v1 = seed[1] ^ 0x646f72616e646f6du;
    uint64_t v2 = seed[0] ^ 0x6c7967656e657261u, v3 = seed[1] ^ 0x7465646279746573u;
    uint64_t word = 0, last = (uint64_t)n << 56;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        v3 ^= word;
        SIP_ROUND;
        v0 ^= word;
    }
    for (size_t i = 0; i < n; i++) {
        last |= (uint64_t)p[i] << (8 * i);
    }
    v3 ^= last;
    SIP_ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    free(m->buckets);
    map_init(m);
}

static struct map_node **map_slot(const struct map *m, uint64_t hash)
{
    return &m->buckets[hash & (m->bucket_count - 1)];
}

struct map_node *map_get(const struct map *m, const void *key, size_t key_bytes)
{
    if (!m->bucket_count) {
        return NULL;
    }
    uint64_t hash = map_hash(key, key_bytes);
    for (struct map_node *n = *map_slot(m, hash); n; n = n->next) {
        if (n->hash == hash && n->key_bytes == key_bytes && !memcmp(n->key, key, key_bytes)) {
            return n;
        }
    }
    return NULL;
}

/* A table that cannot grow still works, with longer chains; only the first allocation can fail. */
static int map_grow(struct map *m)
{
    size_t count = m->bucket_count ? m->bucket_count * 2 : 16;
    struct map_node **buckets = calloc(count, sizeof(struct map_node *));
    if (!buckets) {
        return m->bucket_count ? 0 : -ENOMEM;
    }
    struct map grown = {.buckets = buckets, .bucket_count = count, .count = m->count};
    for (size_t i = 0; i < m->bucket_count; i++) {
        for (struct map_node *n = m->buckets[i], *next; n; n = next) {
            next = n->next;
            struct map_node **slot = map_slot(&grown, n->hash);
            n->next = *slot;
            *slot = n;
        }
    }
    free(m->buckets);
    *m = grown;
    return 0;
}

int map_insert(struct map *m, struct map_node *node, const void *key, size_t key_bytes)
{
    if (map_get(m, key, key_bytes)) {
        return -EEXIST;
    }
    if (m->count >= m->bucket_count) {
        int r = map_grow(m);
        if (r < 0) {
            return r;
        }
    }
    *node = (struct map_node){.key = key, .key_bytes = key_bytes, .hash = map_hash(key, key_bytes)};
    struct map_node **slot = map_slot(m, node->hash);
    node->next = *slot;
    *slot = node;
    m->count++;
    return 0;
}

void map_remove(struct map *m, struct map_node *node)
{
    struct map_node **slot = map_slot(m, node->hash);
    while (*slot && *slot != node) {
        slot = &(*slot)->next;
    }
    CHECK(*slot == node);
    *slot = node->next;
    node->next = NULL;
    m->count--;
}

struct map_node *map_next(const struct map *m, const struct map_node *after)
{
    size_t i = 0;
    if (after) {
        if (after->next) {
            return after->next;
        }
        i = (size_t)(after->hash & (m->bucket_count - 1)) + 1;
    }
    for (; i < m->bucket_count; i++) {
        if (m->buckets[i]) {
            return m->buckets[i];
        }
    }
    return NULL;
}
