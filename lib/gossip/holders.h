/* holders.h - the holders of one key as a snapshot has them (body.c): numbers of members in rising
 * order, in the shortest of three forms.
 *
 *     count u16 | number u16 ...                        a list, from 0
 *     count u16, top bit set | bitmap                   over all members, lowest bit first
 *     count u16, next bit set | bytes u16 | byte ...    distances from the one before (from -1),
 *                                                       where 0 stands for 255 more */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "gossip/wire.h"

/* Appends `count` > 0 holders of `members`: numbers from 1, rising. `room` has members / 8 + 2
 * bytes of scratch. 0, -ENOMEM, -ENOBUFS. */
int gossip_holders_append(struct buf *b, const uint16_t *holders, size_t count, size_t members,
                          uint8_t *room);

struct gossip_holders { /* a walk over what was read; points into the reader's bytes */
    const uint8_t *bytes, *end;
    size_t left, at; /* holders, for lists; the last holder's number from 1, or the bit */
    unsigned form;
};

/* 0, the reader is then behind them; -EPROTO. */
int gossip_holders_read(struct gossip_reader *r, size_t members, struct gossip_holders *ret_h);
/* 1 with a number from 0, which may be `members` or more; 0 at the end; -EPROTO. */
int gossip_holders_next(struct gossip_holders *h, size_t *ret_holder);
