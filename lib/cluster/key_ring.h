/* key_ring.h - the cluster's keys as text: one a line, the first sends, all are accepted.
 *
 *     # since March
 *     i2v0KuAW4lRJtcYQm5sL4mKrPqXyXW8CkI7V0pX1m0E=
 *     9Zk3q1y0b6b8m0Rr9m3sK6tM0Yw1lq8oP3mO4b2J2jg=
 *
 * Blank lines and those that begin with # are skipped, blanks around a key too. A key is base64 of
 * 32 bytes (RFC 4648 section 4, padded), which is what `openssl rand -base64 32` prints. A key that
 * stands there again is one key. No sentence made here shows any of the text. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gossip/core.h"

#define KEY_RING_MAX 3
#define KEY_FINGERPRINT_BYTES 9 /* 8 hex digits and the NUL */

struct key_ring {
    uint8_t keys[KEY_RING_MAX][GOSSIP_KEY_BYTES]; /* what is not used is zero */
    size_t count;                                 /* never 0 after key_ring_parse */
};

/* `text` may hold anything. 0, or -EINVAL (no key at all, a line that is none) or -E2BIG (more than
 * KEY_RING_MAX keys) with the sentence. */
int key_ring_parse(const char *text, size_t text_bytes, struct key_ring *ret_ring,
                   struct error *err);

/* Tells keys apart in metrics and logs, so that a rotation can be followed; from it nothing can be
 * learnt of the key. Never fails; without memory it is all zeros. */
void key_ring_fingerprint(const uint8_t key[GOSSIP_KEY_BYTES],
                          char ret_text[KEY_FINGERPRINT_BYTES]);
