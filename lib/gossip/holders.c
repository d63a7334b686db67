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

int gossip_holders_read(struct gossip_reader *r, size_t members, struct gossip_holders *ret_h)
{
    uint16_t head = gossip_read16(r);
    struct gossip_holders h = {.form = head & (BITMAP | GAPS)};
    size_t n;
    if (head & BITMAP) {
        h.form = BITMAP;
        h.left = members;
        n = (members + 7) / 8;
    } else if (head & GAPS) {
        h.left = head & ~GAPS;
        n = gossip_read16(r);
    } else {
        h.left = head;
        n = h.left * 2;
    }
    h.bytes = gossip_read_bytes(r, n);
    h.end = h.bytes ? h.bytes + n : NULL;
    *ret_h = h;
    return h.bytes && !r->failed ? 0 : -EPROTO;
}

int gossip_holders_next(struct gossip_holders *h, size_t *ret_holder)
{
    if (h->form == BITMAP) {
        for (; h->at < h->left; h->at++) {
            if (h->bytes[h->at / 8] >> (h->at % 8) & 1) {
                *ret_holder = h->at++;
                return 1;
            }
        }
        return 0;
    }
    if (h->left == 0) {
        return 0;
    }
    h->left--;
    if (h->form != GAPS) {
        *ret_holder = gossip_load16(h->bytes);
        h->bytes += 2;
        return 1;
    }
    for (; h->bytes < h->end && *h->bytes == 0; h->bytes++) {
        h->at += 255;
    }
    if (h->bytes == h->end) {
        return -EPROTO;
    }
    h->at += *h->bytes++;
    *ret_holder = h->at - 1;
    return 1;
}
