/* aead.h - AES-256-GCM under a key that stays: what seal.c seals and opens with. Private to
 * gossip/.
 *
 * A context is keyed once, in one direction; a message after that costs no more than setting its
 * nonce. Of each message: start, bind any further associated data, pass its body in any pieces,
 * then tag (sealing) or verify (opening). tests/sim/plain_aead.c stands in for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_AEAD_KEY_BYTES 32
#define GOSSIP_AEAD_NONCE_BYTES 12
#define GOSSIP_AEAD_TAG_BYTES 16

struct gossip_aead;

/* Not keyed yet. `like`, which may be NULL, saves asking OpenSSL for the cipher again. NULL: out of
 * memory. */
struct gossip_aead *gossip_aead_new(const struct gossip_aead *like);
void gossip_aead_free(struct gossip_aead *a); /* wipes the key; NULL is fine */

/* The others are false after a failure of OpenSSL's, which is to say without memory; `verify` also
 * where the tag does not fit: what was passed is then garbage. */
bool gossip_aead_key(struct gossip_aead *a, const uint8_t key[GOSSIP_AEAD_KEY_BYTES], bool seals);
bool gossip_aead_start(struct gossip_aead *a, const uint8_t nonce[GOSSIP_AEAD_NONCE_BYTES]);
/* n <= INT_MAX; 0 is fine. */
bool gossip_aead_bind(struct gossip_aead *a, const void *bytes, size_t n);
/* The same of n. `out` may be `in`. */
bool gossip_aead_pass(struct gossip_aead *a, const uint8_t *in, size_t n, uint8_t *out);
bool gossip_aead_tag(struct gossip_aead *a, uint8_t ret_tag[GOSSIP_AEAD_TAG_BYTES]);
bool gossip_aead_verify(struct gossip_aead *a, const uint8_t tag[GOSSIP_AEAD_TAG_BYTES]);
