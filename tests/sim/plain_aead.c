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
    uint64_t word; /* bytes that are not enough for one yet */
    size_t filled;
};

static void take_word(struct gossip_aead *a, uint64_t word)
{
    a->state = (a->state << 7 | a->state >> 57) ^ word;
}

/* As the cipher does, it takes a body in pieces of any length. */
static void absorb(struct gossip_aead *a, const uint8_t *bytes, size_t n)
{
    uint64_t word;
    for (; n > 0 && a->filled > 0; n--) {
        a->word |= (uint64_t)*bytes++ << 8 * a->filled;
        a->filled = (a->filled + 1) % sizeof(word);
        if (a->filled == 0) {
            take_word(a, a->word);
            a->word = 0;
        }
    }
    for (; n >= sizeof(word); n -= sizeof(word), bytes += sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        take_word(a, word);
    }
    for (; n > 0; n--) {
        a->word |= (uint64_t)*bytes++ << 8 * a->filled++;
    }
}

/* Where one thing ends and another begins. */
static void finish(struct gossip_aead *a)
{
    take_word(a, a->word);
    a->state *= UINT64_C(0x9e3779b97f4a7c15);
    a->word = 0;
    a->filled = 0;
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
    a->state = a->word = 0;
    a->filled = 0;
    absorb(a, key, GOSSIP_AEAD_KEY_BYTES);
    finish(a);
    a->key = a->state;
    return true;
}

bool gossip_aead_start(struct gossip_aead *a, const uint8_t nonce[GOSSIP_AEAD_NONCE_BYTES])
{
    a->state = a->key;
    a->word = 0;
    a->filled = 0;
    absorb(a, nonce, GOSSIP_AEAD_NONCE_BYTES);
    finish(a);
    return true;
}

bool gossip_aead_bind(struct gossip_aead *a, const void *bytes, size_t n)
{
    absorb(a, bytes, n);
    finish(a);
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
    finish(a);
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
