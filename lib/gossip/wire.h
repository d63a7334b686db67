/* wire.h - what is inside a sealed body: messages, each `type u8 | length u16 | fields`.
 *
 * Integers are big-endian. A reader takes the fields it knows and skips what follows them, and
 * skips messages of unknown types, so that later releases can add both; both are counted by the
 * caller. Records carry addresses, ids and keys as plain values; nothing here allocates. */
#pragma once

#include "gossip/addr.h"

#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gossip_message {
    GOSSIP_MSG_PING = 1,
    GOSSIP_MSG_ACK = 2,
    GOSSIP_MSG_NACK = 3,
    GOSSIP_MSG_PING_REQ = 4,
    GOSSIP_MSG_ALIVE = 5,
    GOSSIP_MSG_SUSPECT = 6,
    GOSSIP_MSG_DEAD = 7,
    GOSSIP_MSG_LEFT = 8,
    GOSSIP_MSG_OPS = 9,
    GOSSIP_MSG_SUM = 10,
    GOSSIP_MSG_ENT = 11,
    GOSSIP_MSG_DELTA_REQ = 12,
    GOSSIP_MSG_DELTA_NO = 13, /* what was asked for is not kept: fetch the set */
    GOSSIP_MSG_CHALLENGE = 14,
    GOSSIP_MSG_ECHO = 15,
    GOSSIP_MSG_WANT = 16, /* these: swarm_state.h */
    GOSSIP_MSG_GRANT = 17,
    GOSSIP_MSG_OFFER = 18,
    GOSSIP_MSG_RENEW = 19,
    GOSSIP_MSG_GIVE_UP = 20,
};

/* Of an ALIVE: its subject hears nothing over UDP. Nobody probes it; a new incarnation now and then
 * is what says that it lives. See exchange.c. */
#define GOSSIP_ALIVE_TCP_ONLY 1

#define GOSSIP_ACK_WRONG_TARGET 1 /* somebody else lives at this address now */
#define GOSSIP_ACK_RELAYED 2      /* passed on: hash and load are not the sender's */

/* --- integers --- */

static inline uint16_t gossip_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t gossip_load32(const uint8_t *p)
{
    return (uint32_t)gossip_load16(p) << 16 | gossip_load16(p + 2);
}

static inline uint64_t gossip_load48(const uint8_t *p)
{
    return (uint64_t)gossip_load16(p) << 32 | gossip_load32(p + 2);
}

static inline uint64_t gossip_load64(const uint8_t *p)
{
    return (uint64_t)gossip_load32(p) << 32 | gossip_load32(p + 4);
}

static inline void gossip_store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void gossip_store32(uint8_t *p, uint32_t v)
{
    gossip_store16(p, (uint16_t)(v >> 16));
    gossip_store16(p + 2, (uint16_t)v);
}

static inline void gossip_store48(uint8_t *p, uint64_t v)
{
    gossip_store16(p, (uint16_t)(v >> 32));
    gossip_store32(p + 2, (uint32_t)v);
}

static inline void gossip_store64(uint8_t *p, uint64_t v)
{
    gossip_store32(p, (uint32_t)(v >> 32));
    gossip_store32(p + 4, (uint32_t)v);
}

/* --- reading: past the end everything reads as 0 and `failed` stays set --- */

struct gossip_reader {
    const uint8_t *at, *end;
    bool failed;
};

void gossip_reader_init(struct gossip_reader *r, const uint8_t *bytes, size_t n);
size_t gossip_reader_left(const struct gossip_reader *r);
const uint8_t *gossip_read_bytes(struct gossip_reader *r, size_t n); /* NULL: not that many */
uint8_t gossip_read8(struct gossip_reader *r);
uint16_t gossip_read16(struct gossip_reader *r);
uint32_t gossip_read32(struct gossip_reader *r);
uint64_t gossip_read48(struct gossip_reader *r);
uint64_t gossip_read64(struct gossip_reader *r);

/* The next message: 1 with its type and a reader of its fields, 0 at the end, -EPROTO when the
 * length runs over. */
int gossip_read_message(struct gossip_reader *r, uint8_t *ret_type, struct gossip_reader *ret_body);

/* --- writing into a fixed room; `full` stays set once something did not fit --- */

struct gossip_writer {
    uint8_t *bytes;
    size_t len, max;
    bool full;
};

void gossip_writer_init(struct gossip_writer *w, uint8_t *bytes, size_t max);
void gossip_write_bytes(struct gossip_writer *w, const void *bytes, size_t n);
void gossip_write8(struct gossip_writer *w, uint8_t v);
void gossip_write16(struct gossip_writer *w, uint16_t v);
void gossip_write32(struct gossip_writer *w, uint32_t v);
void gossip_write48(struct gossip_writer *w, uint64_t v);
void gossip_write64(struct gossip_writer *w, uint64_t v);

/* Begin returns a mark for end. End gives false, and takes the whole message back, when it did not
 * fit; the writer is then usable again. */
size_t gossip_write_begin(struct gossip_writer *w, enum gossip_message type);
bool gossip_write_end(struct gossip_writer *w, size_t mark);

/* --- messages; each `_read` gives 0 or -EPROTO, each `_write` whether it fitted --- */

struct gossip_ping {
    uint64_t target; /* 0: whoever you are */
    uint32_t nonce;
    uint64_t cluster_hash;
    uint8_t state; /* enum gossip_state the sender believes the target in */
    uint16_t incarnation;
};

struct gossip_ack {
    uint32_t nonce;
    uint64_t cluster_hash;
    uint8_t load, flags;
};

struct gossip_ping_req {
    uint64_t target;
    struct gossip_addr addr;
    uint32_t nonce;
};

/* What its sender knows of a node, and which version of its set the sender holds: whoever sends an
 * ALIVE with a version can also serve that set. Version 0: none. */
struct gossip_alive {
    uint64_t id, boot;
    uint32_t salt;
    uint16_t incarnation;
    uint8_t protocol, flags;
    struct gossip_addr addrs[2]; /* ports unused */
    uint16_t gossip_port, registry_port;
    char zone[32];
    uint32_t version, count;
    uint64_t hash;
};

struct gossip_accusation {
    uint64_t id, boot;
    uint16_t incarnation;
    uint64_t from;
};

struct gossip_entry { /* of an ENT message */
    uint64_t id, boot;
    uint16_t incarnation;
    uint8_t state;
    uint32_t version, hash_low;
};

#define GOSSIP_ENTRY_BYTES 23

struct gossip_delta_req {
    uint64_t owner, boot;
    uint32_t from, to; /* versions, both included; 0, 0: the owner's ALIVE */
};

int gossip_ping_read(struct gossip_reader *r, struct gossip_ping *ret_ping);
bool gossip_ping_write(struct gossip_writer *w, const struct gossip_ping *ping);
int gossip_ack_read(struct gossip_reader *r, struct gossip_ack *ret_ack);
bool gossip_ack_write(struct gossip_writer *w, const struct gossip_ack *ack);
int gossip_ping_req_read(struct gossip_reader *r, struct gossip_ping_req *ret_req);
bool gossip_ping_req_write(struct gossip_writer *w, const struct gossip_ping_req *req);
int gossip_alive_read(struct gossip_reader *r, struct gossip_alive *ret_alive);
bool gossip_alive_write(struct gossip_writer *w, const struct gossip_alive *alive);
int gossip_accusation_read(struct gossip_reader *r, struct gossip_accusation *ret_accusation);
bool gossip_accusation_write(struct gossip_writer *w, enum gossip_message type,
                             const struct gossip_accusation *accusation);
int gossip_delta_req_read(struct gossip_reader *r, struct gossip_delta_req *ret_req);
bool gossip_delta_req_write(struct gossip_writer *w, enum gossip_message type,
                            const struct gossip_delta_req *req);

/* --- OPS: one version of one owner's set, or several in a row --- */

struct gossip_op {
    uint64_t key;
    bool del;
};

/* What to do to the set at `first - 1` to have it at `first + versions - 1`. A receiver that holds
 * one in between takes what follows it. */
struct gossip_ops {
    uint64_t owner;
    uint16_t boot_low;
    uint32_t first;
    uint32_t check; /* low half of the set's hash after the last */
    uint8_t versions;
    uint8_t count;
    uint8_t ends[LIMIT_GOSSIP_OPS]; /* how many ops up to the end of each version */
    struct gossip_op ops[LIMIT_GOSSIP_OPS];
};

/* One more version at the end; false, and nothing changed, when it has no room. */
bool gossip_ops_append(struct gossip_ops *ops, const struct gossip_op *more, size_t count);

/* The keys a packet has spelled out so far, in order; later OPS of the packet name them by number.
 */
#define GOSSIP_DICTIONARY_KEYS 62
struct gossip_dictionary {
    uint64_t keys[GOSSIP_DICTIONARY_KEYS];
    size_t count;
};

int gossip_ops_read(struct gossip_reader *r, struct gossip_dictionary *dictionary,
                    struct gossip_ops *ret_ops);
/* At least one version. */
bool gossip_ops_write(struct gossip_writer *w, struct gossip_dictionary *dictionary,
                      const struct gossip_ops *ops);
