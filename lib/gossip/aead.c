#include "gossip/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

struct gossip_aead {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    bool seals;
};

struct gossip_aead *gossip_aead_new(const struct gossip_aead *like)
{
    struct gossip_aead *a = calloc(1, sizeof(*a));
    if (!a) {
        return NULL;
    }
    if (!like) {
        a->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    } else if (EVP_CIPHER_up_ref(like->cipher)) {
        a->cipher = like->cipher;
    }
    a->ctx = EVP_CIPHER_CTX_new();
    if (!a->cipher || !a->ctx) {
        gossip_aead_free(a);
        return NULL;
    }
    return a;
}

void gossip_aead_free(struct gossip_aead *a)
{
    if (a) {
        EVP_CIPHER_CTX_free(a->ctx);
        EVP_CIPHER_free(a->cipher);
        free(a);
    }
}

bool gossip_aead_key(struct gossip_aead *a, const uint8_t key[GOSSIP_AEAD_KEY_BYTES], bool seals)
{
    a->seals = seals;
    return EVP_CipherInit_ex2(a->ctx, a->cipher, key, NULL, seals, NULL);
}

bool gossip_aead_start(struct gossip_aead *a, const uint8_t nonce[GOSSIP_AEAD_NONCE_BYTES])
{
    return EVP_CipherInit_ex2(a->ctx, NULL, NULL, nonce, a->seals, NULL);
}

bool gossip_aead_bind(struct gossip_aead *a, const void *bytes, size_t n)
{
    int done = 0;
    return n == 0 || EVP_CipherUpdate(a->ctx, NULL, &done, bytes, (int)n);
}

bool gossip_aead_pass(struct gossip_aead *a, const uint8_t *in, size_t n, uint8_t *out)
{
    int done = 0;
    return n == 0 || EVP_CipherUpdate(a->ctx, out, &done, in, (int)n);
}

/* The tag as a parameter: EVP_CIPHER_CTX_ctrl comes to the same by a longer way. */
static void tag_param(uint8_t *tag, OSSL_PARAM ret_params[2])
{
    ret_params[0] =
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, GOSSIP_AEAD_TAG_BYTES);
    ret_params[1] = OSSL_PARAM_construct_end();
}

bool gossip_aead_tag(struct gossip_aead *a, uint8_t ret_tag[GOSSIP_AEAD_TAG_BYTES])
{
    uint8_t none[16];
    OSSL_PARAM params[2];
    int done = 0;
    tag_param(ret_tag, params);
    return EVP_CipherFinal_ex(a->ctx, none, &done) && EVP_CIPHER_CTX_get_params(a->ctx, params);
}

bool gossip_aead_verify(struct gossip_aead *a, const uint8_t tag[GOSSIP_AEAD_TAG_BYTES])
{
    uint8_t copy[GOSSIP_AEAD_TAG_BYTES], none[16];
    OSSL_PARAM params[2];
    int done = 0;
    memcpy(copy, tag, sizeof(copy));
    tag_param(copy, params);
    return EVP_CIPHER_CTX_set_params(a->ctx, params) && EVP_CipherFinal_ex(a->ctx, none, &done) > 0;
}
