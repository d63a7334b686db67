/* ops.c - the OPS message of wire.h. In a rollout everybody says the same keys, a few at a time, so
 * this is what most bytes are spent on:
 *
 *     owner 48 | boot low 16 | first version 7 bits a byte | check 32 | versions 8 | op ...
 *     op: DEL 1 | last of its version 1 | number in the packet's dictionary 6 (| key 64) */
#include "gossip/wire.h"

#include <errno.h>
#include <string.h>

#define OP_DEL 0x80
#define OP_LAST 0x40
#define OP_INDEX 0x3f
#define OP_SPELLED 0x3f /* the key follows, and is in the dictionary from now on */
#define OP_NONE 0x3e    /* a version that changes nothing */

bool gossip_ops_append(struct gossip_ops *ops, const struct gossip_op *more, size_t count)
{
    if (ops->versions == LIMIT_GOSSIP_OPS || ops->count + count > LIMIT_GOSSIP_OPS) {
        return false;
    }
    if (count) {
        memcpy(ops->ops + ops->count, more, count * sizeof(*more));
    }
    ops->count = (uint8_t)(ops->count + count);
    ops->ends[ops->versions++] = ops->count;
    return true;
}

static void dictionary_add(struct gossip_dictionary *d, uint64_t key)
{
    if (d->count < GOSSIP_DICTIONARY_KEYS) {
        d->keys[d->count++] = key;
    }
}

static uint32_t read_number(struct gossip_reader *r)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = gossip_read8(r);
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            r->failed = r->failed || number > UINT32_MAX;
            return (uint32_t)number;
        }
    }
    r->failed = true;
    return 0;
}

static void write_number(struct gossip_writer *w, uint32_t number)
{
    for (; number >= 0x80; number >>= 7) {
        gossip_write8(w, (uint8_t)(number | 0x80));
    }
    gossip_write8(w, (uint8_t)number);
}

static int read_op(struct gossip_reader *r, struct gossip_dictionary *dictionary, uint8_t head,
                   struct gossip_ops *ops)
{
    uint8_t index = head & OP_INDEX;
    if (index == OP_NONE) {
        return head & OP_LAST ? 0 : -EPROTO;
    }
    if (ops->count == LIMIT_GOSSIP_OPS || (index != OP_SPELLED && index >= dictionary->count)) {
        return -EPROTO;
    }
    struct gossip_op *op = &ops->ops[ops->count++];
    op->del = (head & OP_DEL) != 0;
    if (index == OP_SPELLED) {
        op->key = gossip_read64(r);
        dictionary_add(dictionary, op->key);
    } else {
        op->key = dictionary->keys[index];
    }
    return 0;
}

int gossip_ops_read(struct gossip_reader *r, struct gossip_dictionary *dictionary,
                    struct gossip_ops *ret_ops)
{
    ret_ops->owner = gossip_read48(r);
    ret_ops->boot_low = gossip_read16(r);
    ret_ops->first = read_number(r);
    ret_ops->check = gossip_read32(r);
    ret_ops->versions = gossip_read8(r);
    ret_ops->count = 0;
    if (r->failed || ret_ops->first == 0 || ret_ops->versions == 0 ||
        ret_ops->versions > LIMIT_GOSSIP_OPS || UINT32_MAX - ret_ops->first < ret_ops->versions) {
        return -EPROTO;
    }
    for (size_t done = 0; done < ret_ops->versions;) {
        uint8_t head = gossip_read8(r);
        if (r->failed || read_op(r, dictionary, head, ret_ops)) {
            return -EPROTO;
        }
        if (head & OP_LAST) {
            ret_ops->ends[done++] = ret_ops->count;
        }
    }
    return r->failed ? -EPROTO : 0;
}

static void write_op(struct gossip_writer *w, struct gossip_dictionary *dictionary, size_t known,
                     const struct gossip_op *op, bool last)
{
    size_t index = 0;
    uint8_t flags = (uint8_t)((op->del ? OP_DEL : 0) | (last ? OP_LAST : 0));
    while (index < known && dictionary->keys[index] != op->key) {
        index++;
    }
    if (index < known) {
        gossip_write8(w, (uint8_t)(flags | index));
    } else {
        gossip_write8(w, flags | OP_SPELLED);
        gossip_write64(w, op->key);
        dictionary_add(dictionary, op->key);
    }
}

bool gossip_ops_write(struct gossip_writer *w, struct gossip_dictionary *dictionary,
                      const struct gossip_ops *ops)
{
    size_t known = dictionary->count;
    size_t mark = gossip_write_begin(w, GOSSIP_MSG_OPS);
    gossip_write48(w, ops->owner);
    gossip_write16(w, ops->boot_low);
    write_number(w, ops->first);
    gossip_write32(w, ops->check);
    gossip_write8(w, ops->versions);
    for (size_t version = 0, i = 0; version < ops->versions && !w->full; version++) {
        if (i == ops->ends[version]) {
            gossip_write8(w, OP_NONE | OP_LAST);
        }
        for (; i < ops->ends[version]; i++) {
            write_op(w, dictionary, known, &ops->ops[i], i + 1U == ops->ends[version]);
        }
    }
    if (!gossip_write_end(w, mark)) {
        dictionary->count = known;
        return false;
    }
    return true;
}
