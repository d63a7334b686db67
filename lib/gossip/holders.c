#include "gossip/holders.h"

#include <errno.h>
#include <string.h>

#define BITMAP 0x8000U
#define GAPS 0x4000U

static int append16(struct buf *b, uint16_t v)
{
    uint8_t bytes[2];
    gossip_store16(bytes, v);
    return buf_append(b, bytes, sizeof(bytes));
}

/* Distances, as bytes; 0: more than fit into max. */
static size_t write_gaps(const uint16_t *holders, size_t count, uint8_t *bytes, size_t max)
{
    size_t n = 0;
    unsigned last = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned gap = holders[i] - last;
        for (; gap > 255 && n < max; gap -= 255) {
            bytes[n++] = 0;
        }
        if (n == max) {
            return 0;
        }
        bytes[n++] = (uint8_t)gap;
        last = holders[i];
    }
    return n;
}

int gossip_holders_append(struct buf *b, const uint16_t *holders, size_t count, size_t members,
                          uint8_t *room)
{
    size_t bitmap_bytes = (members + 7) / 8, list_bytes = 2 * count;
    size_t shortest = list_bytes < bitmap_bytes ? list_bytes : bitmap_bytes;
    size_t gap_bytes = 0;
    if (count < GAPS && shortest > 2) {
        gap_bytes = write_gaps(holders, count, room, shortest - 2);
    }
    if (gap_bytes) {
        int error = append16(b, (uint16_t)(count | GAPS));
        error = error ? error : append16(b, (uint16_t)gap_bytes);
        return error ? error : buf_append(b, room, gap_bytes);
    }
    memset(room, 0, shortest);
    for (size_t i = 0; i < count; i++) {
        uint16_t holder = (uint16_t)(holders[i] - 1);
        if (list_bytes <= bitmap_bytes) {
            gossip_store16(room + 2 * i, holder);
        } else {
            room[holder / 8] |= (uint8_t)(1U << (holder % 8));
        }
    }
    unsigned form = list_bytes <= bitmap_bytes ? 0 : BITMAP;
    int error = append16(b, (uint16_t)(count | form));
    return error ? error : buf_append(b, room, shortest);
}

/* Set bits, eight bytes at a time. */
static size_t read_bitmap(const uint8_t *bytes, size_t n, uint16_t *holders)
{
    size_t count = 0;
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && at + i < n; i++) {
            word |= (uint64_t)bytes[at + i] << (8 * i);
        }
        for (; word; word &= word - 1) {
            holders[count++] = (uint16_t)(at * 8 + (size_t)__builtin_ctzll(word));
        }
    }
    return count;
}

static size_t read_gaps(const uint8_t *bytes, size_t n, uint16_t *holders, size_t max)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        at += bytes[i] ? bytes[i] : 255;
        if (at > max) {
            return 0;
        }
        if (bytes[i]) {
            holders[count++] = (uint16_t)(at - 1);
        }
    }
    return count;
}

static size_t read_list(const uint8_t *bytes, size_t count, uint16_t *holders)
{
    for (size_t i = 0; i < count; i++) {
        holders[i] = gossip_load16(bytes + 2 * i);
        if (i > 0 && holders[i] <= holders[i - 1]) {
            return 0;
        }
    }
    return count;
}

int gossip_holders_read(struct gossip_reader *r, size_t members, uint16_t *ret_holders,
                        size_t *ret_count)
{
    uint16_t head = gossip_read16(r);
    size_t told = head & ~(BITMAP | GAPS), count;
    size_t n = head & BITMAP ? (members + 7) / 8 : head & GAPS ? gossip_read16(r) : told * 2;
    const uint8_t *bytes = gossip_read_bytes(r, n);
    if (!bytes || r->failed || (!(head & BITMAP) && told > members)) {
        return -EPROTO;
    }
    if (head & BITMAP) {
        /* The bits behind the last member's: room for them is the caller's. */
        count = read_bitmap(bytes, n, ret_holders);
        told = count;
    } else if (head & GAPS) {
        count = n > members ? 0 : read_gaps(bytes, n, ret_holders, members);
    } else {
        count = read_list(bytes, told, ret_holders);
    }
    if (count != told || (count > 0 && ret_holders[count - 1] >= members)) {
        return -EPROTO;
    }
    *ret_count = count;
    return 0;
}
