/* map.h - a hash table of caller-owned elements keyed by bytes.
 *
 * The element embeds a `struct map_node`; its key's bytes belong to the element and must not move
 * or change while it is in the map. The table grows by itself; hashing is seeded per process
 * (SipHash), so that a peer cannot choose collisions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next; /* internal */
    const void *key;
    size_t key_bytes;
    uint64_t hash;
};

struct map {
    struct map_node **buckets;
    size_t bucket_count; /* 0 or a power of two */
    size_t count;
};

void map_init(struct map *m);
void map_done(struct map *m); /* frees the table, never the elements */

struct map_node *map_get(const struct map *m, const void *key, size_t key_bytes);

/* 0, -EEXIST (an element has that key; nothing changed), -ENOMEM. */
int map_insert(struct map *m, struct map_node *node, const void *key, size_t key_bytes);
void map_remove(struct map *m, struct map_node *node);

/* Walk: start with NULL. The node returned last may be removed or freed before the next call only
 * if its successor was fetched first. Order is arbitrary. */
struct map_node *map_next(const struct map *m, const struct map_node *after);

/* The seeded hash itself; stable for the life of the process only. */
uint64_t map_hash(const void *bytes, size_t n);
