/* size: the table and the three forms of its entries are one representation, and splitting them
 * would put it into a header. */
#include "gossip/index.h"

#include "gossip/key.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An entry's holders, in one word: bit 0 set: up to INLINE slots, 16 bits each from bit 16 up,
 * their number in bits 1-2; all zero: the entry is free; otherwise the address of a struct holders.
 */
#define INLINE 3
#define BITMAP_WORDS (GOSSIP_INDEX_SLOTS / 64 + 1)

struct entry {
    uint64_t key;
    uint64_t word;
};

struct holders {
    uint16_t count;    /* slots, sorted; of a bitmap: bits set (mod 2^16 is never reached) */
    uint16_t capacity; /* slots, or 64-bit words of the bitmap */
    bool is_bitmap;
    union {
        uint64_t bits[1];
        uint16_t slots[4];
    };
};

struct gossip_index {
    struct entry *entries;
    size_t capacity, used; /* capacity: 0 or a power of two; at most 3/4 full */
    size_t outside_bytes;
    uint64_t seed;
};

int gossip_index_new(uint64_t hash_seed, struct gossip_index **ret_index)
{
    struct gossip_index *x = calloc(1, sizeof(*x));
    if (!x) {
        return -ENOMEM;
    }
    x->seed = hash_seed;
    *ret_index = x;
    return 0;
}

static struct holders *outside(uint64_t word)
{
    return (struct holders *)(uintptr_t)word;
}

static bool is_inline(uint64_t word)
{
    return word & 1;
}

static unsigned inline_count(uint64_t word)
{
    return (unsigned)(word >> 1 & 3);
}

static uint16_t inline_slot(uint64_t word, unsigned i)
{
    return (uint16_t)(word >> (16 + 16 * i));
}

static size_t holders_bytes(const struct holders *h)
{
    return offsetof(struct holders, bits) + (size_t)h->capacity * (h->is_bitmap ? 8 : 2);
}

void gossip_index_free(struct gossip_index *x)
{
    if (!x) {
        return;
    }
    for (size_t i = 0; i < x->capacity; i++) {
        if (x->entries[i].word && !is_inline(x->entries[i].word)) {
            free(outside(x->entries[i].word));
        }
    }
    free(x->entries);
    free(x);
}

static size_t home(const struct gossip_index *x, uint64_t key)
{
    return (size_t)gossip_mix(key ^ x->seed) & (x->capacity - 1);
}

static struct entry *find(const struct gossip_index *x, uint64_t key)
{
    if (x->capacity == 0) {
        return NULL;
    }
    for (size_t i = home(x, key);; i = (i + 1) & (x->capacity - 1)) {
        struct entry *e = &x->entries[i];
        if (e->word == 0) {
            return NULL;
        }
        if (e->key == key) {
            return e;
        }
    }
}

static int resize(struct gossip_index *x, size_t capacity)
{
    struct entry *old = x->entries;
    size_t old_capacity = x->capacity;
    struct entry *entries = calloc(capacity, sizeof(*entries));
    if (!entries) {
        return -ENOMEM;
    }
    x->entries = entries;
    x->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].word) {
            size_t at = home(x, old[i].key);
            while (entries[at].word) {
                at = (at + 1) & (capacity - 1);
            }
            entries[at] = old[i];
        }
    }
    free(old);
    return 0;
}

/* The holders in slot order, from *cursor; its meaning is the form's own. */
static bool entry_next(const struct entry *e, uint32_t *cursor, uint16_t *ret_slot)
{
    if (is_inline(e->word)) {
        if (*cursor >= inline_count(e->word)) {
            return false;
        }
        *ret_slot = inline_slot(e->word, (*cursor)++);
        return true;
    }
    const struct holders *h = outside(e->word);
    if (!h->is_bitmap) {
        if (*cursor >= h->count) {
            return false;
        }
        *ret_slot = h->slots[(*cursor)++];
        return true;
    }
    for (uint32_t word = *cursor / 64; word < h->capacity; word++) {
        uint64_t bits = h->bits[word] >> (word == *cursor / 64 ? *cursor % 64 : 0);
        if (bits) {
            uint32_t base = word == *cursor / 64 ? *cursor : word * 64;
            *ret_slot = (uint16_t)(base + (uint32_t)__builtin_ctzll(bits));
            *cursor = *ret_slot + 1U;
            return true;
        }
    }
    return false;
}

/* Replaces an entry's outside holders by a copy with other room or form. */
static int reshape(struct gossip_index *x, struct entry *e, size_t capacity, bool is_bitmap)
{
    struct holders *old = is_inline(e->word) ? NULL : outside(e->word);
    struct holders shape = {.capacity = (uint16_t)capacity, .is_bitmap = is_bitmap};
    struct holders *h =
        calloc(1, holders_bytes(&shape) < sizeof(shape) ? sizeof(shape) : holders_bytes(&shape));
    if (!h) {
        return -ENOMEM;
    }
    h->capacity = shape.capacity;
    h->is_bitmap = is_bitmap;
    if (old && old->is_bitmap == is_bitmap) {
        memcpy(h->bits, old->bits, holders_bytes(old) - offsetof(struct holders, bits));
        h->count = old->count;
    } else {
        uint32_t cursor = 0;
        uint16_t slot;
        while (entry_next(e, &cursor, &slot)) {
            if (is_bitmap) {
                h->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
                h->count++;
            } else {
                h->slots[h->count++] = slot;
            }
        }
    }
    x->outside_bytes += holders_bytes(h);
    if (old) {
        x->outside_bytes -= holders_bytes(old);
        free(old);
    }
    e->word = (uint64_t)(uintptr_t)h;
    return 0;
}

static bool outside_has(const struct holders *h, uint16_t slot, size_t *ret_at)
{
    size_t low = 0, high = h->count;
    if (h->is_bitmap) {
        return slot / 64 < h->capacity && (h->bits[slot / 64] >> (slot % 64) & 1);
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (h->slots[middle] < slot) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_at = low;
    return low < h->count && h->slots[low] == slot;
}

static bool entry_has(const struct entry *e, uint16_t slot)
{
    size_t at;
    if (!is_inline(e->word)) {
        return outside_has(outside(e->word), slot, &at);
    }
    for (unsigned i = 0; i < inline_count(e->word); i++) {
        if (inline_slot(e->word, i) == slot) {
            return true;
        }
    }
    return false;
}

static uint64_t make_inline(const uint16_t *slots, unsigned count)
{
    uint64_t word = 1 | (uint64_t)count << 1;
    for (unsigned i = 0; i < count; i++) {
        word |= (uint64_t)slots[i] << (16 + 16 * i);
    }
    return word;
}

static unsigned read_inline(uint64_t word, uint16_t *slots)
{
    unsigned count = inline_count(word);
    for (unsigned i = 0; i < count; i++) {
        slots[i] = inline_slot(word, i);
    }
    return count;
}

/* The slot is not in the entry. */
static int entry_insert(struct gossip_index *x, struct entry *e, uint16_t slot)
{
    if (is_inline(e->word)) {
        uint16_t slots[INLINE + 1];
        unsigned count = read_inline(e->word, slots);
        if (count < INLINE) {
            unsigned at = count;
            for (; at > 0 && slots[at - 1] > slot; at--) {
                slots[at] = slots[at - 1];
            }
            slots[at] = slot;
            e->word = make_inline(slots, count + 1);
            return 0;
        }
        int error = reshape(x, e, 8, false);
        if (error) {
            return error;
        }
    }
    struct holders *h = outside(e->word);
    if (!h->is_bitmap && h->count == h->capacity) {
        /* A bitmap up to the highest slot, once that is no larger than twice as many slots. */
        uint16_t highest = h->slots[h->count - 1] > slot ? h->slots[h->count - 1] : slot;
        size_t words = (size_t)highest / 64 + 1;
        bool to_bitmap = words * 8 <= (size_t)h->capacity * 4;
        int error = reshape(x, e, to_bitmap ? words : (size_t)h->capacity * 2, to_bitmap);
        if (error) {
            return error;
        }
    } else if (h->is_bitmap && slot / 64 >= h->capacity) {
        size_t words = (size_t)slot / 64 + 1; /* and an eighth more: members come in numbers */
        words += words / 8;
        int error = reshape(x, e, words < BITMAP_WORDS ? words : BITMAP_WORDS, true);
        if (error) {
            return error;
        }
    }
    h = outside(e->word);
    if (h->is_bitmap) {
        h->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
    } else {
        size_t at = 0;
        (void)outside_has(h, slot, &at);
        memmove(&h->slots[at + 1], &h->slots[at], (h->count - at) * sizeof(h->slots[0]));
        h->slots[at] = slot;
    }
    h->count++;
    return 0;
}

/* A new entry, without holders yet, for the key, which has none; the caller fills in its word. */
static int make_entry(struct gossip_index *x, uint64_t key, struct entry **ret_entry)
{
    if (x->used >= LIMIT_GOSSIP_INDEX_KEYS) {
        return -ENOBUFS;
    }
    if ((x->used + 1) * 4 > x->capacity * 3) {
        int error = resize(x, x->capacity ? x->capacity * 2 : 64);
        if (error) {
            return error;
        }
    }
    size_t at = home(x, key);
    while (x->entries[at].word) {
        at = (at + 1) & (x->capacity - 1);
    }
    x->entries[at].key = key;
    *ret_entry = &x->entries[at];
    return 0;
}

int gossip_index_add(struct gossip_index *x, uint64_t key, uint16_t slot)
{
    struct entry *e = find(x, key);
    CHECK(slot < GOSSIP_INDEX_SLOTS);
    int error = !e ? make_entry(x, key, &e) : entry_has(e, slot) ? 1 : entry_insert(x, e, slot);
    if (error) {
        return error == 1 ? 0 : error;
    }
    if (!e->word) {
        e->word = make_inline(&slot, 1);
        x->used++;
    }
    return 1;
}

/* Holders outside, exactly as large as these need; the smaller of the two forms. */
static struct holders *make_outside(struct gossip_index *x, const uint16_t *slots, size_t count)
{
    struct holders shape = {.count = (uint16_t)count, .capacity = (uint16_t)count};
    size_t words = (size_t)slots[count - 1] / 64 + 1;
    if (words * 8 <= count * 2) {
        shape.is_bitmap = true;
        shape.capacity = (uint16_t)words;
    } else if (count < 8) {
        shape.capacity = 8;
    }
    struct holders *h = calloc(1, holders_bytes(&shape));
    if (!h) {
        return NULL;
    }
    h->count = shape.count;
    h->capacity = shape.capacity;
    h->is_bitmap = shape.is_bitmap;
    for (size_t i = 0; i < count && h->is_bitmap; i++) {
        h->bits[slots[i] / 64] |= UINT64_C(1) << (slots[i] % 64);
    }
    if (!h->is_bitmap) {
        memcpy(h->slots, slots, count * sizeof(slots[0]));
    }
    x->outside_bytes += holders_bytes(h);
    return h;
}

int gossip_index_add_many(struct gossip_index *x, uint64_t key, const uint16_t *slots, size_t count)
{
    struct entry *e = find(x, key);
    if (!e && count > INLINE) {
        int error = make_entry(x, key, &e);
        struct holders *h = error ? NULL : make_outside(x, slots, count);
        if (!h) {
            return error ? error : -ENOMEM;
        }
        e->word = (uint64_t)(uintptr_t)h;
        x->used++;
        return 0;
    }
    struct holders *h = e && !is_inline(e->word) ? outside(e->word) : NULL;
    if (h && h->is_bitmap && slots[count - 1] / 64 < h->capacity) {
        for (size_t i = 0; i < count; i++) {
            uint64_t bit = UINT64_C(1) << (slots[i] % 64);
            if (h->bits[slots[i] / 64] & bit) {
                return -EEXIST;
            }
            h->bits[slots[i] / 64] |= bit;
            h->count++;
        }
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        int added = gossip_index_add(x, key, slots[i]);
        if (added != 1) {
            return added < 0 ? added : -EEXIST;
        }
    }
    return 0;
}

/* Backward-shift deletion: no tombstones, so look-ups never get slower. */
static void erase(struct gossip_index *x, struct entry *e)
{
    size_t mask = x->capacity - 1, hole = (size_t)(e - x->entries);
    x->used--;
    for (size_t i = (hole + 1) & mask; x->entries[i].word; i = (i + 1) & mask) {
        size_t wanted = home(x, x->entries[i].key);
        if (((i - wanted) & mask) >= ((i - hole) & mask)) {
            x->entries[hole] = x->entries[i];
            hole = i;
        }
    }
    x->entries[hole].word = 0;
}

/* The slot is in the entry. True when the entry is gone with it. */
static bool entry_remove(struct gossip_index *x, struct entry *e, uint16_t slot)
{
    uint16_t slots[INLINE];
    unsigned count = 0;
    if (is_inline(e->word)) {
        for (unsigned i = 0; i < inline_count(e->word); i++) {
            if (inline_slot(e->word, i) != slot) {
                slots[count++] = inline_slot(e->word, i);
            }
        }
    } else {
        struct holders *h = outside(e->word);
        size_t at = 0;
        (void)outside_has(h, slot, &at);
        h->count--;
        if (h->is_bitmap) {
            h->bits[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        } else {
            memmove(&h->slots[at], &h->slots[at + 1], (h->count - at) * sizeof(h->slots[0]));
        }
        if (h->count > INLINE - 1) { /* one less than it takes to leave: no flapping */
            return false;
        }
        uint32_t cursor = 0;
        while (count < h->count && entry_next(e, &cursor, &slots[count])) {
            count++;
        }
        x->outside_bytes -= holders_bytes(h);
        free(h);
    }
    if (count == 0) {
        erase(x, e);
        return true;
    }
    e->word = make_inline(slots, count);
    return false;
}

int gossip_index_remove(struct gossip_index *x, uint64_t key, uint16_t slot)
{
    struct entry *e = find(x, key);
    if (!e || !entry_has(e, slot)) {
        return 0;
    }
    (void)entry_remove(x, e, slot);
    return 1;
}

bool gossip_index_has(const struct gossip_index *x, uint64_t key, uint16_t slot)
{
    const struct entry *e = find(x, key);
    return e && entry_has(e, slot);
}

bool gossip_index_holders(const struct gossip_index *x, uint64_t key, uint32_t *cursor,
                          uint16_t *ret_slot)
{
    const struct entry *e = find(x, key);
    return e && entry_next(e, cursor, ret_slot);
}

bool gossip_index_walk(const struct gossip_index *x, uint64_t key, uint32_t start,
                       struct gossip_index_walk *ret_walk)
{
    const struct entry *e = find(x, key);
    if (!e) {
        return false;
    }
    uint32_t places = inline_count(e->word);
    if (!is_inline(e->word)) {
        const struct holders *h = outside(e->word);
        places = h->is_bitmap ? h->capacity * 64U : h->count;
    }
    start = places ? start % places : 0;
    *ret_walk = (struct gossip_index_walk){.entry = e, .start = start, .cursor = start};
    return true;
}

bool gossip_index_walk_next(struct gossip_index_walk *w, uint16_t *ret_slot)
{
    if (!w->wrapped) {
        if (entry_next(w->entry, &w->cursor, ret_slot)) {
            return true;
        }
        w->wrapped = true;
        w->cursor = 0;
    }
    uint32_t cursor = w->cursor;
    if (w->cursor >= w->start || !entry_next(w->entry, &cursor, ret_slot) || cursor > w->start) {
        return false;
    }
    w->cursor = cursor;
    return true;
}

static size_t entry_all(const struct entry *e, uint16_t *ret_slots)
{
    if (is_inline(e->word)) {
        return read_inline(e->word, ret_slots);
    }
    const struct holders *h = outside(e->word);
    if (!h->is_bitmap) {
        memcpy(ret_slots, h->slots, h->count * sizeof(h->slots[0]));
        return h->count;
    }
    size_t count = 0;
    for (size_t word = 0; word < h->capacity; word++) {
        for (uint64_t bits = h->bits[word]; bits; bits &= bits - 1) {
            ret_slots[count++] = (uint16_t)(word * 64 + (size_t)__builtin_ctzll(bits));
        }
    }
    return count;
}

size_t gossip_index_all(const struct gossip_index *x, uint64_t key, uint16_t *ret_slots)
{
    const struct entry *e = find(x, key);
    return e ? entry_all(e, ret_slots) : 0;
}

size_t gossip_index_keys(const struct gossip_index *x)
{
    return x->used;
}

size_t gossip_index_bytes(const struct gossip_index *x)
{
    return sizeof(*x) + x->capacity * sizeof(struct entry) + x->outside_bytes;
}

bool gossip_index_next(const struct gossip_index *x, size_t *cursor, uint64_t *ret_key)
{
    while (*cursor < x->capacity) {
        const struct entry *e = &x->entries[(*cursor)++];
        if (e->word) {
            *ret_key = e->key;
            return true;
        }
    }
    return false;
}

/* --- a walk in parts --- */

static bool came(const struct gossip_index_scan *scan, uint64_t hash)
{
    for (size_t i = 0; i < scan->grown_count; i++) {
        if ((hash & (scan->grown[i].capacity - 1)) < scan->grown[i].below) {
            return true;
        }
    }
    return false;
}

bool gossip_index_scan_resume(const struct gossip_index *x, struct gossip_index_scan *scan)
{
    if (scan->capacity == x->capacity) {
        return true;
    }
    if (scan->below > 0) {
        if (scan->grown_count == GOSSIP_INDEX_SCAN_GROWTHS) {
            return false;
        }
        scan->grown[scan->grown_count].capacity = scan->capacity;
        scan->grown[scan->grown_count++].below = scan->below;
    }
    scan->capacity = x->capacity;
    scan->at = scan->below = 0;
    return true;
}

int gossip_index_scan_next(const struct gossip_index *x, struct gossip_index_scan *scan,
                           uint64_t *ret_key)
{
    size_t mask = x->capacity - 1;
    while (!scan->ended && x->capacity > 0) {
        size_t at = scan->at++;
        const struct entry *e = &x->entries[at & mask];
        if (e->word == 0) {
            scan->ended = at >= x->capacity;
            scan->below = scan->ended ? x->capacity : at;
            if (scan->ended || at % 8 == 0) { /* often enough */
                return scan->ended ? -ENOENT : 0;
            }
            continue;
        }
        /* The entries of the run around the end that lie in front come last. */
        uint64_t hash = gossip_mix(e->key ^ x->seed);
        size_t home_at = (size_t)hash & mask;
        bool wrapped = home_at > (at & mask);
        if (home_at >= scan->below && wrapped == (at >= x->capacity) && !came(scan, hash)) {
            scan->entry = e;
            *ret_key = e->key;
            return 1;
        }
    }
    return -ENOENT;
}

bool gossip_index_scan_passed(const struct gossip_index *x, const struct gossip_index_scan *scan,
                              uint64_t key)
{
    uint64_t hash = gossip_mix(key ^ x->seed);
    return scan->ended || came(scan, hash) || (hash & (scan->capacity - 1)) < scan->below;
}

size_t gossip_index_scan_all(const struct gossip_index_scan *scan, uint16_t *ret_slots)
{
    return entry_all(scan->entry, ret_slots);
}

bool gossip_index_scan_has(const struct gossip_index_scan *scan, uint16_t slot)
{
    return entry_has(scan->entry, slot);
}

bool gossip_index_column(const struct gossip_index *x, uint16_t slot, size_t *cursor,
                         uint64_t *ret_key)
{
    while (*cursor < x->capacity) {
        const struct entry *e = &x->entries[(*cursor)++];
        if (e->word && entry_has(e, slot)) {
            *ret_key = e->key;
            return true;
        }
    }
    return false;
}

void gossip_index_clear(struct gossip_index *x, uint16_t slot)
{
    /* Deleting shifts later entries back, so the same place is looked at again after it. An entry
     * that wrapped from the end to the front can be met twice, never missed: a shift moves entries
     * only towards lower places of the same run, and the run that wraps starts behind us. */
    for (size_t i = 0; i < x->capacity;) {
        struct entry *e = &x->entries[i];
        if (!(e->word && entry_has(e, slot) && entry_remove(x, e, slot))) {
            i++;
        }
    }
}
