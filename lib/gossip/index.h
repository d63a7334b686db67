/* index.h - key → who holds it, for the whole cluster, in memory.
 *
 * Open addressing, 16 bytes an entry: up to three holders stand in the entry itself; more are
 * sorted slots or a bitmap outside, whichever is smaller. Holders are member slots (member.h).
 * There is no forward index: one member's set is a column scan. A departed member's column stays,
 * masked by the member's state, until it is cleared long after. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_INDEX_SLOTS 65535

struct gossip_index;

int gossip_index_new(uint64_t hash_seed, struct gossip_index **ret_index); /* 0, -ENOMEM */
void gossip_index_free(struct gossip_index *x);

/* 1 added, 0 was there, -ENOMEM, -ENOBUFS over LIMIT_GOSSIP_INDEX_KEYS. A failure changes nothing.
 */
int gossip_index_add(struct gossip_index *x, uint64_t key, uint16_t slot);

/* The same for several slots, in rising order, none of which has the key. 0; -EEXIST, -ENOMEM or
 * -ENOBUFS: then some may have been added. */
int gossip_index_add_many(struct gossip_index *x, uint64_t key, const uint16_t *slots,
                          size_t count);

/* 1 removed, 0 was not there. Never fails. */
int gossip_index_remove(struct gossip_index *x, uint64_t key, uint16_t slot);

bool gossip_index_has(const struct gossip_index *x, uint64_t key, uint16_t slot);

/* Walks the holders of a key in slot order: start with *cursor = 0; false at the end. */
bool gossip_index_holders(const struct gossip_index *x, uint64_t key, uint32_t *cursor,
                          uint16_t *ret_slot);

/* The same without looking the key up at each step, from anywhere and around: `start` (any number)
 * says after which part of the holders to begin. Valid only while nothing is added or removed. */
struct gossip_index_walk { /* the fields are index.c's */
    const void *entry;
    uint32_t start, cursor;
    bool wrapped;
};
bool gossip_index_walk(const struct gossip_index *x, uint64_t key, uint32_t start,
                       struct gossip_index_walk *ret_walk); /* false: nobody holds it */
bool gossip_index_walk_next(struct gossip_index_walk *w, uint16_t *ret_slot);

/* All of them at once, in slot order; room for GOSSIP_INDEX_SLOTS, or for as many as there can be.
 * Returns how many. */
size_t gossip_index_all(const struct gossip_index *x, uint64_t key, uint16_t *ret_slots);

size_t gossip_index_keys(const struct gossip_index *x);
size_t gossip_index_bytes(const struct gossip_index *x);

/* Walks all keys: start with *cursor = 0. Valid only while nothing is added or removed. */
bool gossip_index_next(const struct gossip_index *x, size_t *cursor, uint64_t *ret_key);

/* Walks all keys over as long a time as it takes, while others are added and removed between its
 * parts: each key that was there at the beginning and still is comes exactly once, however entries
 * were moved. What came later may come or not; gossip_index_scan_passed tells what cannot come any
 * more. Which keys came depends on their hashes alone: a part ends at a free place of the table,
 * and everything that hashes below it has come, whatever moves (linear probing leaves no entry
 * behind a free place that belongs before it). A table that grew is walked again, without what had
 * come. */
#define GOSSIP_INDEX_SCAN_GROWTHS 8
struct gossip_index_scan { /* zeroed to begin; the fields are index.c's */
    const void *entry;     /* the one that came last */
    size_t capacity, at;   /* of the table as it was, and the next place */
    size_t below;          /* home places below this one have come */
    struct {
        size_t capacity, below;
    } grown[GOSSIP_INDEX_SCAN_GROWTHS];
    size_t grown_count;
    bool ended;
};

/* After every change of the index, and at the beginning. False: it grew more often than can be
 * followed, and the walk has to begin anew. */
bool gossip_index_scan_resume(const struct gossip_index *x, struct gossip_index_scan *scan);
/* 1 with the next key; 0: here the walk may be left for a while, or go on; -ENOENT: the end. */
int gossip_index_scan_next(const struct gossip_index *x, struct gossip_index_scan *scan,
                           uint64_t *ret_key);
bool gossip_index_scan_passed(const struct gossip_index *x, const struct gossip_index_scan *scan,
                              uint64_t key);
/* Of the key that came last: all its holders as gossip_index_all, whether this is one of them. */
size_t gossip_index_scan_all(const struct gossip_index_scan *scan, uint16_t *ret_slots);
bool gossip_index_scan_has(const struct gossip_index_scan *scan, uint16_t slot);

/* Walks the keys of one slot. */
bool gossip_index_column(const struct gossip_index *x, uint16_t slot, size_t *cursor,
                         uint64_t *ret_key);

/* Takes a slot out of every entry, at once: O(entries). */
void gossip_index_clear(struct gossip_index *x, uint16_t slot);
