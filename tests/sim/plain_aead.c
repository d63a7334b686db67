/* plain_aead.c - stands in for lib/gossip/aead.c in the program `sim_plain`: nothing is encrypted,
 * and a tag is a keyed checksum, which tells a wrong key, nonce or byte as well where nobody
 * forges. A cluster simulated with it behaves as with the cipher to the last packet, for half the
 * time of most runs goes into the cipher; the ctest sim/plain compares. */
#include "gossip/aead.h"

#include "gossip/key.h"

#include <stdlib.h>
#include <string.h>

struct gossip_aead {
    uint64_t key, state;
};

/* As the cipher does, it binds where associated data ends only by the order of calls: all callers
 * bind data of a length that its first byte or the protocol says. */
static void absorb(struct gossip_aead *a, const uint8_t *bytes, size_t n)
{
    uint64_t state = a->state, word;
    for (; n >= sizeof(word); n -= sizeof(word), bytes += sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        state = (state << 7 | state >> 57) ^ word;
    }
    word = 0;
    if (n > 0)
        memcpy(&word, bytes, n);
    a->state = ((state << 7 | state >> 57) ^ word) * UINT64_C(0x9e3779b97f4a7c15);
}

struct gossip_aead *gossip_aead_new(const struct gossip_aead *like)
{
    (void)like;
    return calloc(1, sizeof(struct gossip_aead));
}

void gossip_aead_free(struct gossip_aead *a)
{
    free(a);
}

bool gossip_aead_key(struct gossip_aead *a, const uint8_t key[GOSSIP_AEAD_KEY_BYTES], bool seals)
{
    (void)seals;
    a->state = 0;
    absorb(a, key, GOSSIP_AEAD_KEY_BYTES);
    a->key = a->state;
    return true;
}

bool gossip_aead_start(struct gossip_aead *a, const uint8_t nonce[GOSSIP_AEAD_NONCE_BYTES])
{
    a->state = a->key;
    absorb(a, nonce, GOSSIP_AEAD_NONCE_BYTES);
    return true;
}

bool gossip_aead_bind(struct gossip_aead *a, const void *bytes, size_t n)
{
    absorb(a, bytes, n);
    return true;
}

bool gossip_aead_pass(struct gossip_aead *a, const uint8_t *in, size_t n, uint8_t *out)
{
    if (n > 0) {
        absorb(a, in, n);
        memmove(out, in, n);
    }
    return true;
}

bool gossip_aead_tag(struct gossip_aead *a, uint8_t ret_tag[GOSSIP_AEAD_TAG_BYTES])
{
    uint64_t words[2] = {gossip_mix(a->state), gossip_mix(~a->state)};
    memcpy(ret_tag, words, sizeof(words));
    return true;
}

bool gossip_aead_verify(struct gossip_aead *a, const uint8_t tag[GOSSIP_AEAD_TAG_BYTES])
{
    uint8_t ours[GOSSIP_AEAD_TAG_BYTES];
    (void)gossip_aead_tag(a, ours);
    return memcmp(ours, tag, sizeof(ours)) == 0;
}
