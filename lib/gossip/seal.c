/* size: what knows of the keys stands together: the ring, the sub-keys made of it, and the two
 * ways to use them. */
#include "gossip/seal.h"

#include "gossip/aead.h"
#include "gossip/key.h"
#include "gossip/wire.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

/* The sub-keys of senders lately heard, each ready to open with: sets of a few places, the one used
 * last in front. */
#define WAYS 4
#define SETS (LIMIT_GOSSIP_SUBKEYS / WAYS)

struct subkey {
    struct gossip_sender sender;
    struct gossip_aead *aead; /* keyed while `set`; NULL: none was needed yet */
    uint8_t key_index;
    bool set;
};

struct ring_key {
    uint8_t key[32], id;
    EVP_MAC_CTX *mac; /* HMAC-SHA256, keyed with it */
};

struct ring {
    struct ring_key keys[GOSSIP_SEAL_KEYS];
    size_t count;
};

struct gossip_seal {
    struct ring ring;
    struct gossip_sender sender;
    uint64_t counter;
    bool has_sender;
    struct gossip_aead *own; /* keyed for what we seal */
    struct subkey cache[SETS][WAYS];
};

static bool hmac(EVP_MAC_CTX *mac, const void *bytes, size_t n, uint8_t ret_mac[32])
{
    size_t len = 0;
    return EVP_MAC_init(mac, NULL, 0, NULL) && EVP_MAC_update(mac, bytes, n) &&
           EVP_MAC_final(mac, ret_mac, &len, 32) && len == 32;
}

static EVP_MAC_CTX *mac_new(const uint8_t key[32])
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof(digest) - 1),
        OSSL_PARAM_construct_end()};
    EVP_MAC *hmac_of = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = hmac_of ? EVP_MAC_CTX_new(hmac_of) : NULL; /* holds on to it */
    EVP_MAC_free(hmac_of);
    if (mac && !EVP_MAC_init(mac, key, 32, params)) {
        EVP_MAC_CTX_free(mac);
        mac = NULL;
    }
    return mac;
}

static void ring_done(struct ring *ring)
{
    for (size_t i = 0; i < GOSSIP_SEAL_KEYS; i++) {
        EVP_MAC_CTX_free(ring->keys[i].mac);
    }
    OPENSSL_cleanse(ring, sizeof(*ring));
}

/* Takes the keys of a zeroed ring into use: what each makes, and its id. */
static bool ring_open(struct ring *ring)
{
    static const char what[] = "spegel key id";
    for (size_t i = 0; i < ring->count; i++) {
        struct ring_key *k = &ring->keys[i];
        uint8_t mac[32];
        k->mac = mac_new(k->key);
        if (!k->mac || !hmac(k->mac, what, sizeof(what) - 1, mac)) {
            return false;
        }
        k->id = mac[0];
    }
    return true;
}

int gossip_seal_new(const char *label, const uint8_t (*keys)[32], size_t key_count,
                    struct gossip_seal **ret_seal)
{
    struct gossip_seal *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    s->own = gossip_aead_new(NULL);
    int error = s->own ? 0 : -ENOMEM;
    error = error ? error : gossip_seal_set_keys(s, label, keys, key_count);
    if (error) {
        gossip_seal_free(s);
        return error;
    }
    *ret_seal = s;
    return 0;
}

static void forget_subkeys(struct gossip_seal *s)
{
    for (size_t i = 0; i < SETS * WAYS; i++) {
        struct subkey *k = &s->cache[i / WAYS][i % WAYS];
        gossip_aead_free(k->aead);
        *k = (struct subkey){0};
    }
}

void gossip_seal_free(struct gossip_seal *s)
{
    if (!s) {
        return;
    }
    forget_subkeys(s);
    gossip_aead_free(s->own);
    ring_done(&s->ring);
    free(s);
}

/* Keys it for what `sender` seals under a key of the ring. */
static bool derive(const struct ring_key *key, const struct gossip_sender *sender, bool seals,
                   struct gossip_aead *aead)
{
    uint8_t info[16], subkey[32];
    gossip_store48(info, sender->id);
    gossip_store48(info + 6, sender->boot);
    gossip_store32(info + 12, sender->salt);
    bool fine = hmac(key->mac, info, sizeof(info), subkey) && gossip_aead_key(aead, subkey, seals);
    OPENSSL_cleanse(subkey, sizeof(subkey));
    return fine;
}

int gossip_seal_set_keys(struct gossip_seal *s, const char *label, const uint8_t (*keys)[32],
                         size_t key_count)
{
    static const char prefix[] = "spegel cluster label";
    struct ring ring = {.count = key_count ? key_count : 1};
    struct gossip_aead *own = NULL;
    bool fine = true;
    if (key_count > GOSSIP_SEAL_KEYS || !label) {
        return -EINVAL;
    }
    for (size_t i = 0; i < key_count; i++) {
        memcpy(ring.keys[i].key, keys[i], 32);
    }
    if (key_count == 0) {
        fine = HMAC(EVP_sha256(), prefix, sizeof(prefix) - 1, (const uint8_t *)label, strlen(label),
                    ring.keys[0].key, NULL) != NULL;
    }
    fine = fine && ring_open(&ring);
    if (s->has_sender) {
        own = gossip_aead_new(s->own);
        fine = fine && own && derive(&ring.keys[0], &s->sender, true, own);
    }
    if (!fine) {
        gossip_aead_free(own);
        ring_done(&ring);
        return -ENOMEM;
    }
    ring_done(&s->ring);
    s->ring = ring;
    if (own) {
        gossip_aead_free(s->own);
        s->own = own;
    }
    forget_subkeys(s); /* they are told apart by their keys' places in the ring */
    OPENSSL_cleanse(&ring, sizeof(ring));
    return 0;
}

int gossip_seal_set_sender(struct gossip_seal *s, const struct gossip_sender *sender)
{
    s->sender = *sender;
    s->counter = 0;
    s->has_sender = derive(&s->ring.keys[0], sender, true, s->own);
    return s->has_sender ? 0 : -ENOMEM;
}

/* The nonce and the associated data: header, purpose, what it is bound to. */
static bool begin(struct gossip_aead *aead, const uint8_t *header,
                  const struct gossip_binding *binding)
{
    uint8_t nonce[GOSSIP_AEAD_NONCE_BYTES] = {0}, bound[GOSSIP_SEAL_HEADER_BYTES + 1];
    memcpy(nonce + 6, header + 18, 6);
    memcpy(bound, header, GOSSIP_SEAL_HEADER_BYTES);
    bound[GOSSIP_SEAL_HEADER_BYTES] = (uint8_t)binding->purpose;
    return gossip_aead_start(aead, nonce) && gossip_aead_bind(aead, bound, sizeof(bound)) &&
           gossip_aead_bind(aead, binding->bytes, binding->len);
}

static void write_header(struct gossip_seal *s, uint8_t *out)
{
    out[0] = GOSSIP_SEAL_VERSION;
    out[1] = s->ring.keys[0].id;
    gossip_store48(out + 2, s->sender.id);
    gossip_store48(out + 8, s->sender.boot);
    gossip_store32(out + 14, s->sender.salt);
    gossip_store48(out + 18, ++s->counter);
}

int gossip_seal_write(struct gossip_seal *s, const struct gossip_binding *binding,
                      const uint8_t *body, size_t n, uint8_t *out)
{
    if (!s->has_sender || n > LIMIT_GOSSIP_SNAPSHOT_BYTES) {
        return -EIO;
    }
    write_header(s, out);
    uint8_t *sealed = out + GOSSIP_SEAL_HEADER_BYTES;
    bool fine = begin(s->own, out, binding) && gossip_aead_pass(s->own, body, n, sealed) &&
                gossip_aead_tag(s->own, sealed + n);
    return fine ? 0 : -EIO;
}

int gossip_seal_peek(const uint8_t *bytes, size_t len, struct gossip_header *ret_header)
{
    if (len < GOSSIP_SEAL_OVERHEAD_BYTES) {
        return -EMSGSIZE;
    }
    if (bytes[0] != GOSSIP_SEAL_VERSION) {
        return -EPROTONOSUPPORT;
    }
    *ret_header = (struct gossip_header){
        .version = bytes[0],
        .key_id = bytes[1],
        .sender = {.id = gossip_load48(bytes + 2),
                   .boot = gossip_load48(bytes + 8),
                   .salt = gossip_load32(bytes + 14)},
        .counter = gossip_load48(bytes + 18),
    };
    return 0;
}

static bool is_for(const struct subkey *k, const struct gossip_sender *sender, size_t key_index)
{
    return k->set && k->key_index == key_index && k->sender.id == sender->id &&
           k->sender.boot == sender->boot && k->sender.salt == sender->salt;
}

static struct subkey *cached_subkey(struct gossip_seal *s, const struct gossip_sender *sender,
                                    size_t key_index)
{
    uint64_t hash = gossip_mix(sender->id ^ gossip_mix(sender->boot + sender->salt + key_index));
    struct subkey *set = s->cache[hash % SETS];
    size_t at = 0;
    while (at < WAYS - 1 && !is_for(&set[at], sender, key_index)) {
        at++;
    }
    struct subkey k = set[at];
    memmove(set + 1, set, at * sizeof(*set));
    if (!is_for(&k, sender, key_index)) {
        k.aead = k.aead ? k.aead : gossip_aead_new(s->own);
        k.set = k.aead && derive(&s->ring.keys[key_index], sender, false, k.aead);
        k.sender = *sender;
        k.key_index = (uint8_t)key_index;
    }
    set[0] = k;
    return k.set ? &set[0] : NULL;
}

static int open_with(struct gossip_aead *aead, const struct gossip_binding *binding,
                     const uint8_t *bytes, size_t len, uint8_t *out)
{
    size_t n = len - GOSSIP_SEAL_OVERHEAD_BYTES;
    bool fine = begin(aead, bytes, binding) &&
                gossip_aead_pass(aead, bytes + GOSSIP_SEAL_HEADER_BYTES, n, out) &&
                gossip_aead_verify(aead, bytes + GOSSIP_SEAL_HEADER_BYTES + n);
    return fine ? 0 : -EBADMSG;
}

int gossip_seal_open(struct gossip_seal *s, const struct gossip_header *header,
                     const struct gossip_binding *binding, const uint8_t *bytes, size_t len,
                     uint8_t *out)
{
    int result = -ENOKEY;
    CHECK(len >= GOSSIP_SEAL_OVERHEAD_BYTES);
    if (len > LIMIT_GOSSIP_SNAPSHOT_BYTES + GOSSIP_SEAL_OVERHEAD_BYTES) {
        return -EBADMSG;
    }
    /* Two keys of a ring may share an id (one byte): each that fits is tried. */
    for (size_t i = 0; i < s->ring.count && result != 0; i++) {
        if (s->ring.keys[i].id != header->key_id) {
            continue;
        }
        struct subkey *k = cached_subkey(s, &header->sender, i);
        result = k ? open_with(k->aead, binding, bytes, len, out) : -EBADMSG;
    }
    return result;
}

/* --- bodies in pieces --- */

struct gossip_stream {
    struct gossip_aead *aead; /* its own: packets are sealed and opened between two pieces */
};

static int stream_new(const struct gossip_seal *s, const struct ring_key *key,
                      const struct gossip_sender *sender, const uint8_t *header,
                      const struct gossip_binding *binding, bool seals,
                      struct gossip_stream **ret_stream)
{
    struct gossip_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        return -ENOMEM;
    }
    stream->aead = gossip_aead_new(s->own);
    if (!stream->aead || !derive(key, sender, seals, stream->aead) ||
        !begin(stream->aead, header, binding)) {
        gossip_stream_free(stream);
        return -ENOMEM;
    }
    *ret_stream = stream;
    return 0;
}

int gossip_stream_seal(struct gossip_seal *s, const struct gossip_binding *binding,
                       uint8_t ret_header[GOSSIP_SEAL_HEADER_BYTES],
                       struct gossip_stream **ret_stream)
{
    if (!s->has_sender) {
        return -EIO;
    }
    write_header(s, ret_header);
    return stream_new(s, &s->ring.keys[0], &s->sender, ret_header, binding, true, ret_stream);
}

int gossip_stream_open(const struct gossip_seal *s, const struct gossip_binding *binding,
                       const uint8_t *bytes, size_t len, size_t *at,
                       struct gossip_stream **ret_stream)
{
    struct gossip_header header;
    int error = gossip_seal_peek(bytes, len, &header);
    if (error || len > LIMIT_GOSSIP_SNAPSHOT_BYTES + GOSSIP_SEAL_OVERHEAD_BYTES) {
        return error ? error : -EBADMSG;
    }
    for (; *at < s->ring.count; (*at)++) {
        const struct ring_key *key = &s->ring.keys[*at];
        if (key->id == header.key_id) {
            (*at)++;
            return stream_new(s, key, &header.sender, bytes, binding, false, ret_stream);
        }
    }
    return -ENOKEY;
}

int gossip_stream_pass(struct gossip_stream *stream, const uint8_t *in, size_t n, uint8_t *out)
{
    CHECK(n <= GOSSIP_STREAM_PIECE_BYTES);
    return gossip_aead_pass(stream->aead, in, n, out) ? 0 : -EIO;
}

int gossip_stream_tag(struct gossip_stream *stream, uint8_t ret_tag[GOSSIP_SEAL_TAG_BYTES])
{
    return gossip_aead_tag(stream->aead, ret_tag) ? 0 : -EIO;
}

int gossip_stream_verify(struct gossip_stream *stream, const uint8_t tag[GOSSIP_SEAL_TAG_BYTES])
{
    return gossip_aead_verify(stream->aead, tag) ? 0 : -EBADMSG;
}

void gossip_stream_free(struct gossip_stream *stream)
{
    if (stream) {
        gossip_aead_free(stream->aead);
        free(stream);
    }
}

uint64_t gossip_seal_cookie(struct gossip_seal *s, const void *bytes, size_t n)
{
    uint8_t mac[32] = {0};
    return hmac(s->ring.keys[0].mac, bytes, n, mac) ? gossip_load64(mac) : 0;
}
