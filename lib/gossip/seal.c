#include "gossip/seal.h"

#include "gossip/key.h"
#include "gossip/wire.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

struct subkey {
    struct gossip_sender sender;
    uint8_t key[32];
    uint8_t key_index;
    bool set;
};

struct gossip_seal {
    uint8_t keys[GOSSIP_SEAL_KEYS][32];
    uint8_t key_ids[GOSSIP_SEAL_KEYS];
    size_t key_count;
    struct gossip_sender sender;
    uint64_t counter;
    uint8_t own[32];
    bool has_sender;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    struct subkey cache[LIMIT_GOSSIP_SUBKEYS]; /* direct-mapped by sender */
};

static uint8_t key_id_of(const uint8_t key[32])
{
    uint8_t mac[32] = {0};
    static const uint8_t what[] = "spegel key id";
    (void)HMAC(EVP_sha256(), key, 32, what, sizeof(what) - 1, mac, NULL);
    return mac[0];
}

int gossip_seal_new(const char *label, const uint8_t (*keys)[32], size_t key_count,
                    struct gossip_seal **ret_seal)
{
    struct gossip_seal *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    s->ctx = EVP_CIPHER_CTX_new();
    s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    int error = s->ctx && s->cipher ? 0 : -ENOMEM;
    error = error ? error : gossip_seal_set_keys(s, label, keys, key_count);
    if (error) {
        gossip_seal_free(s);
        return error;
    }
    *ret_seal = s;
    return 0;
}

void gossip_seal_free(struct gossip_seal *s)
{
    if (!s) {
        return;
    }
    EVP_CIPHER_CTX_free(s->ctx);
    EVP_CIPHER_free(s->cipher);
    OPENSSL_cleanse(s, sizeof(*s));
    free(s);
}

static int derive(const uint8_t key[32], const struct gossip_sender *sender, uint8_t ret_subkey[32])
{
    uint8_t info[16];
    gossip_store48(info, sender->id);
    gossip_store48(info + 6, sender->boot);
    gossip_store32(info + 12, sender->salt);
    return HMAC(EVP_sha256(), key, 32, info, sizeof(info), ret_subkey, NULL) ? 0 : -ENOMEM;
}

int gossip_seal_set_keys(struct gossip_seal *s, const char *label, const uint8_t (*keys)[32],
                         size_t key_count)
{
    static const char prefix[] = "spegel cluster label";
    uint8_t ring[GOSSIP_SEAL_KEYS][32], own[32];
    bool fine = true;
    if (key_count > GOSSIP_SEAL_KEYS || !label) {
        return -EINVAL;
    }
    if (key_count == 0) {
        fine = HMAC(EVP_sha256(), prefix, sizeof(prefix) - 1, (const uint8_t *)label, strlen(label),
                    ring[0], NULL) != NULL;
        key_count = 1;
    } else {
        memcpy(ring, keys, key_count * 32);
    }
    fine = fine && (!s->has_sender || derive(ring[0], &s->sender, own) == 0);
    if (fine) {
        memcpy(s->keys, ring, key_count * 32);
        s->key_count = key_count;
        for (size_t i = 0; i < key_count; i++) {
            s->key_ids[i] = key_id_of(s->keys[i]);
        }
        if (s->has_sender) {
            memcpy(s->own, own, sizeof(own));
        }
        OPENSSL_cleanse(s->cache, sizeof(s->cache)); /* of keys by their place in the ring */
    }
    OPENSSL_cleanse(ring, sizeof(ring));
    OPENSSL_cleanse(own, sizeof(own));
    return fine ? 0 : -ENOMEM;
}

int gossip_seal_set_sender(struct gossip_seal *s, const struct gossip_sender *sender)
{
    s->sender = *sender;
    s->counter = 0;
    s->has_sender = derive(s->keys[0], sender, s->own) == 0;
    return s->has_sender ? 0 : -ENOMEM;
}

/* Keys the context and feeds the associated data: header, purpose, what it is bound to. */
static bool cipher_start(struct gossip_seal *s, const uint8_t subkey[32], const uint8_t *header,
                         const struct gossip_binding *binding, int encrypt)
{
    uint8_t nonce[12] = {0};
    uint8_t purpose = (uint8_t)binding->purpose;
    int n = 0;
    memcpy(nonce + 6, header + 18, 6);
    return EVP_CipherInit_ex2(s->ctx, s->cipher, subkey, nonce, encrypt, NULL) &&
           EVP_CipherUpdate(s->ctx, NULL, &n, header, GOSSIP_SEAL_HEADER_BYTES) &&
           EVP_CipherUpdate(s->ctx, NULL, &n, &purpose, 1) &&
           (binding->len == 0 ||
            EVP_CipherUpdate(s->ctx, NULL, &n, binding->bytes, (int)binding->len));
}

int gossip_seal_write(struct gossip_seal *s, const struct gossip_binding *binding,
                      const uint8_t *body, size_t n, uint8_t *out)
{
    int done = 0;
    if (!s->has_sender || n > LIMIT_GOSSIP_SNAPSHOT_BYTES) {
        return -EIO;
    }
    out[0] = GOSSIP_SEAL_VERSION;
    out[1] = s->key_ids[0];
    gossip_store48(out + 2, s->sender.id);
    gossip_store48(out + 8, s->sender.boot);
    gossip_store32(out + 14, s->sender.salt);
    gossip_store48(out + 18, ++s->counter);
    uint8_t *sealed = out + GOSSIP_SEAL_HEADER_BYTES;
    bool fine =
        cipher_start(s, s->own, out, binding, 1) &&
        (n == 0 || EVP_CipherUpdate(s->ctx, sealed, &done, body, (int)n)) &&
        EVP_CipherFinal_ex(s->ctx, sealed + n, &done) &&
        EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_GET_TAG, GOSSIP_SEAL_TAG_BYTES, sealed + n);
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

static struct subkey *cached_subkey(struct gossip_seal *s, const struct gossip_sender *sender,
                                    size_t key_index)
{
    uint64_t hash = gossip_mix(sender->id ^ gossip_mix(sender->boot + sender->salt + key_index));
    struct subkey *k = &s->cache[hash % LIMIT_GOSSIP_SUBKEYS];
    if (k->set && k->key_index == key_index && k->sender.id == sender->id &&
        k->sender.boot == sender->boot && k->sender.salt == sender->salt) {
        return k;
    }
    k->set = derive(s->keys[key_index], sender, k->key) == 0;
    k->sender = *sender;
    k->key_index = (uint8_t)key_index;
    return k->set ? k : NULL;
}

static int open_with(struct gossip_seal *s, const uint8_t subkey[32],
                     const struct gossip_binding *binding, const uint8_t *bytes, size_t len,
                     uint8_t *out)
{
    int done = 0;
    size_t n = len - GOSSIP_SEAL_OVERHEAD_BYTES;
    uint8_t tag[GOSSIP_SEAL_TAG_BYTES], none[16];
    memcpy(tag, bytes + len - GOSSIP_SEAL_TAG_BYTES, sizeof(tag));
    bool fine = cipher_start(s, subkey, bytes, binding, 0) &&
                (n == 0 ||
                 EVP_CipherUpdate(s->ctx, out, &done, bytes + GOSSIP_SEAL_HEADER_BYTES, (int)n)) &&
                EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) &&
                EVP_CipherFinal_ex(s->ctx, none, &done) > 0;
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
    for (size_t i = 0; i < s->key_count && result != 0; i++) {
        if (s->key_ids[i] != header->key_id) {
            continue;
        }
        struct subkey *k = cached_subkey(s, &header->sender, i);
        result = k ? open_with(s, k->key, binding, bytes, len, out) : -EBADMSG;
    }
    return result;
}

uint64_t gossip_seal_cookie(struct gossip_seal *s, const void *bytes, size_t n)
{
    uint8_t mac[32] = {0};
    (void)HMAC(EVP_sha256(), s->keys[0], 32, bytes, n, mac, NULL);
    return gossip_load64(mac);
}

bool gossip_window_is_new(const struct gossip_window *w, uint64_t counter)
{
    if (counter == 0) {
        return false;
    }
    if (counter > w->top) {
        return true;
    }
    uint64_t age = w->top - counter;
    return age < GOSSIP_WINDOW_COUNTERS && !(w->bits[age / 64] >> (age % 64) & 1);
}

void gossip_window_accept(struct gossip_window *w, uint64_t counter)
{
    if (counter <= w->top) {
        uint64_t age = w->top - counter;
        w->bits[age / 64] |= UINT64_C(1) << (age % 64);
        return;
    }
    uint64_t shift = counter - w->top;
    if (w->top == 0 || shift >= GOSSIP_WINDOW_COUNTERS) {
        w->bits[0] = w->bits[1] = 0;
    } else if (shift >= 64) {
        w->bits[1] = shift == 64 ? w->bits[0] : w->bits[0] << (shift - 64);
        w->bits[0] = 0;
    } else {
        w->bits[1] = w->bits[1] << shift | w->bits[0] >> (64 - shift);
        w->bits[0] <<= shift;
    }
    w->bits[0] |= 1;
    w->top = counter;
}
