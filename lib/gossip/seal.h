/* seal.h - the envelope of everything the cluster says, over UDP and HTTP alike.
 *
 *     version 1 | key id 1 | sender 6 | boot 6 | salt 4 | counter 6 | sealed body | tag 16
 *     `----------------- 24 bytes, clear, associated data ---------'
 *
 * AES-256-GCM. The sub-key is HMAC-SHA256(cluster key, sender ‖ boot ‖ salt) and the nonce is the
 * counter, so that nodes sharing a key never share a nonce. What a body is for (a packet, a set, …)
 * and what it answers are associated data too: one kind cannot be passed off as another. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_SEAL_VERSION 1
#define GOSSIP_SEAL_HEADER_BYTES 24
#define GOSSIP_SEAL_TAG_BYTES 16
#define GOSSIP_SEAL_OVERHEAD_BYTES (GOSSIP_SEAL_HEADER_BYTES + GOSSIP_SEAL_TAG_BYTES)
#define GOSSIP_SEAL_KEYS 3

/* One life of one node: every process start makes a new one. */
struct gossip_sender {
    uint64_t id;   /* 48 bits */
    uint64_t boot; /* 48 bits, milliseconds */
    uint32_t salt; /* random */
};

enum gossip_purpose {
    GOSSIP_FOR_PACKET,
    GOSSIP_FOR_AUTH,
    GOSSIP_FOR_SET,
    GOSSIP_FOR_SNAPSHOT,
    GOSSIP_FOR_EXCHANGE,
    GOSSIP_FOR_BADGE
};

struct gossip_header {
    struct gossip_sender sender;
    uint64_t counter; /* 48 bits, from 1 */
    uint8_t version, key_id;
};

/* What is bound to a sealed body besides its header. */
struct gossip_binding {
    enum gossip_purpose purpose;
    const void *bytes; /* may be NULL */
    size_t len;
};

struct gossip_seal; /* key ring, own sub-key, a cache of others' */

/* `keys` are copied; key_count 0 derives one from the label. 0, -EINVAL, -ENOMEM. */
int gossip_seal_new(const char *label, const uint8_t (*keys)[32], size_t key_count,
                    struct gossip_seal **ret_seal);
void gossip_seal_free(struct gossip_seal *s); /* wipes the keys */

/* Another ring from now on; key_count 0 derives one from the label again. The counter goes on, so
 * that no nonce comes twice should a key come back. 0, -EINVAL, -ENOMEM; a failure changes nothing.
 */
int gossip_seal_set_keys(struct gossip_seal *s, const char *label, const uint8_t (*keys)[32],
                         size_t key_count);

/* Who we are from now on; the counter starts again. 0 or -ENOMEM (then sealing fails). */
int gossip_seal_set_sender(struct gossip_seal *s, const struct gossip_sender *sender);

/* Seals n bytes into out[n + GOSSIP_SEAL_OVERHEAD_BYTES]; out may be where body starts minus the
 * header (in place). 0 or -EIO. */
int gossip_seal_write(struct gossip_seal *s, const struct gossip_binding *binding,
                      const uint8_t *body, size_t n, uint8_t *out);

/* Reads the clear header; nothing in it is true until gossip_seal_open agrees. 0; -EMSGSIZE (too
 * short); -EPROTONOSUPPORT (another version). */
int gossip_seal_peek(const uint8_t *bytes, size_t len, struct gossip_header *ret_header);

/* Opens into out[len - GOSSIP_SEAL_OVERHEAD_BYTES], which may not overlap. 0; -ENOKEY (no such key
 * id); -EBADMSG (not sealed by a holder of the key for this binding; `out` is then garbage). */
int gossip_seal_open(struct gossip_seal *s, const struct gossip_header *header,
                     const struct gossip_binding *binding, const uint8_t *bytes, size_t len,
                     uint8_t *out);

/* --- the same of a large body, a piece at a time, so that no piece takes long ---
 *
 * The bytes are those of gossip_seal_write: header, sealed body, tag. A stream has a cipher of its
 * own, so packets may be sealed and opened, keys changed and the seal freed between its pieces. */

struct gossip_stream;
#define GOSSIP_STREAM_PIECE_BYTES                                                                  \
    (64 * 1024) /* 15 to 500 us, by what the processor has for AES                                 \
                 */

/* Begins to seal; the header comes first. 0, -ENOMEM, -EIO (no sender). */
int gossip_stream_seal(struct gossip_seal *s, const struct gossip_binding *binding,
                       uint8_t ret_header[GOSSIP_SEAL_HEADER_BYTES],
                       struct gossip_stream **ret_stream);
/* Begins to open a whole envelope of `len` bytes. Two keys of a ring may share an id: begin with
 * *at = 0, and when the tag does not fit, begin again with *at as it was left. 0; -EMSGSIZE,
 * -EPROTONOSUPPORT, -EBADMSG (too long); -ENOKEY: no (other) such key; -ENOMEM. */
int gossip_stream_open(const struct gossip_seal *s, const struct gossip_binding *binding,
                       const uint8_t *bytes, size_t len, size_t *at,
                       struct gossip_stream **ret_stream);
/* The body's next n <= GOSSIP_STREAM_PIECE_BYTES; `out` may be `in`. What is opened is not to be
 * used before gossip_stream_verify agrees. 0 or -EIO. */
int gossip_stream_pass(struct gossip_stream *stream, const uint8_t *in, size_t n, uint8_t *out);
int gossip_stream_tag(struct gossip_stream *stream, uint8_t ret_tag[GOSSIP_SEAL_TAG_BYTES]);
int gossip_stream_verify(struct gossip_stream *stream, const uint8_t tag[GOSSIP_SEAL_TAG_BYTES]);
void gossip_stream_free(struct gossip_stream *stream); /* NULL is fine */

/* HMAC-SHA256 under the first cluster key, for cookies; 0 on failure. */
uint64_t gossip_seal_cookie(struct gossip_seal *s, const void *bytes, size_t n);

/* --- replay window, one per sender tuple; starts at the first packet --- */

#define GOSSIP_WINDOW_COUNTERS 128

struct gossip_window {
    uint64_t top;     /* highest counter accepted; 0: none yet */
    uint64_t bits[2]; /* bit i: top - i was accepted */
};

/* Whether the counter is new; changes nothing. Call before opening, accept after. */
bool gossip_window_is_new(const struct gossip_window *w, uint64_t counter);
void gossip_window_accept(struct gossip_window *w, uint64_t counter);
