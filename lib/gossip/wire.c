#include "gossip/wire.h"

#include "base/check.h"

#include <errno.h>
#include <string.h>

void gossip_reader_init(struct gossip_reader *r, const uint8_t *bytes, size_t n)
{
    static const uint8_t none[1];
    *r = (struct gossip_reader){.at = bytes ? bytes : none, .end = (bytes ? bytes : none) + n};
}

size_t gossip_reader_left(const struct gossip_reader *r)
{
    return (size_t)(r->end - r->at);
}

const uint8_t *gossip_read_bytes(struct gossip_reader *r, size_t n)
{
    if (r->failed || gossip_reader_left(r) < n) {
        r->failed = true;
        return NULL;
    }
    r->at += n;
    return r->at - n;
}

uint8_t gossip_read8(struct gossip_reader *r)
{
    const uint8_t *p = gossip_read_bytes(r, 1);
    return p ? *p : 0;
}

uint16_t gossip_read16(struct gossip_reader *r)
{
    const uint8_t *p = gossip_read_bytes(r, 2);
    return p ? gossip_load16(p) : 0;
}

uint32_t gossip_read32(struct gossip_reader *r)
{
    const uint8_t *p = gossip_read_bytes(r, 4);
    return p ? gossip_load32(p) : 0;
}

uint64_t gossip_read48(struct gossip_reader *r)
{
    const uint8_t *p = gossip_read_bytes(r, 6);
    return p ? gossip_load48(p) : 0;
}

uint64_t gossip_read64(struct gossip_reader *r)
{
    const uint8_t *p = gossip_read_bytes(r, 8);
    return p ? gossip_load64(p) : 0;
}

int gossip_read_message(struct gossip_reader *r, uint8_t *ret_type, struct gossip_reader *ret_body)
{
    if (gossip_reader_left(r) == 0) {
        return 0;
    }
    uint8_t type = gossip_read8(r);
    uint16_t n = gossip_read16(r);
    const uint8_t *body = gossip_read_bytes(r, n);
    if (!body) {
        return -EPROTO;
    }
    *ret_type = type;
    gossip_reader_init(ret_body, body, n);
    return 1;
}

void gossip_writer_init(struct gossip_writer *w, uint8_t *bytes, size_t max)
{
    *w = (struct gossip_writer){.bytes = bytes, .max = max};
}

static uint8_t *writer_take(struct gossip_writer *w, size_t n)
{
    if (w->full || w->max - w->len < n) {
        w->full = true;
        return NULL;
    }
    w->len += n;
    return w->bytes + w->len - n;
}

void gossip_write_bytes(struct gossip_writer *w, const void *bytes, size_t n)
{
    uint8_t *p = writer_take(w, n);
    if (p && n) {
        memcpy(p, bytes, n);
    }
}

void gossip_write8(struct gossip_writer *w, uint8_t v)
{
    uint8_t *p = writer_take(w, 1);
    if (p) {
        *p = v;
    }
}

void gossip_write16(struct gossip_writer *w, uint16_t v)
{
    uint8_t *p = writer_take(w, 2);
    if (p) {
        gossip_store16(p, v);
    }
}

void gossip_write32(struct gossip_writer *w, uint32_t v)
{
    uint8_t *p = writer_take(w, 4);
    if (p) {
        gossip_store32(p, v);
    }
}

void gossip_write48(struct gossip_writer *w, uint64_t v)
{
    uint8_t *p = writer_take(w, 6);
    if (p) {
        gossip_store48(p, v);
    }
}

void gossip_write64(struct gossip_writer *w, uint64_t v)
{
    uint8_t *p = writer_take(w, 8);
    if (p) {
        gossip_store64(p, v);
    }
}

size_t gossip_write_begin(struct gossip_writer *w, enum gossip_message type)
{
    size_t mark = w->len;
    CHECK(!w->full);
    gossip_write8(w, (uint8_t)type);
    gossip_write16(w, 0);
    return mark;
}

bool gossip_write_end(struct gossip_writer *w, size_t mark)
{
    if (w->full || w->len - mark - 3 > UINT16_MAX) {
        w->len = mark;
        w->full = false;
        return false;
    }
    gossip_store16(w->bytes + mark + 1, (uint16_t)(w->len - mark - 3));
    return true;
}
