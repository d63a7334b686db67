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

#define GOSSIP_HOLDERS_MORE 64 /* room besides that for all members */

/* 0 with the numbers, from 0, rising and below `members`; the reader is then behind them; -EPROTO.
 * `ret_holders` has room for members + GOSSIP_HOLDERS_MORE. */
int gossip_holders_read(struct gossip_reader *r, size_t members, uint16_t *ret_holders,
                        size_t *ret_count);
