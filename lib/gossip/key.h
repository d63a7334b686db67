/* key.h - the 8-byte names under which content travels in gossip.
 *
 * A digest's key is its first 8 bytes, a tag's a hash; the top bit is the kind (0 digest, 1 tag),
 * so the two never meet. A collision costs one 404 from a peer and a retry elsewhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_KEY_TAG_BIT (UINT64_C(1) << 63)

/* `sha256` is the raw digest, 32 bytes. */
uint64_t gossip_key_digest(const uint8_t sha256[32]);

/* `name` is "registry/repository:tag". */
uint64_t gossip_key_tag(const char *name);

static inline bool gossip_key_is_tag(uint64_t key)
{
    return (key & GOSSIP_KEY_TAG_BIT) != 0;
}

/* A good 64-bit mix (splitmix64); a set's hash is the XOR of the mix
 * of its keys. Unkeyed: whoever can forge a set's hash already holds the cluster key. */
uint64_t gossip_mix(uint64_t x);
