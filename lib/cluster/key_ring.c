#include "cluster/key_ring.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define KEY_TEXT_BYTES 44 /* 32 bytes in base64, one '=' at the end */

static int sextet(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* Strict, where OpenSSL's decoder takes blanks and padding anywhere. Two bits are left over at the
 * end; they must be zero, since a mistyped last character should not pass. */
static bool decode(const char *text, size_t n, uint8_t ret_key[GOSSIP_KEY_BYTES])
{
    if (n != KEY_TEXT_BYTES || text[n - 1] != '=') {
        return false;
    }
    uint32_t bits = 0;
    size_t bit_count = 0, filled = 0;
    for (size_t i = 0; i < n - 1; i++) {
        int six = sextet(text[i]);
        if (six < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)six;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            ret_key[filled++] = (uint8_t)(bits >> bit_count);
        }
    }
    return (bits & ((1U << bit_count) - 1)) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool has_key(const struct key_ring *ring, const uint8_t key[GOSSIP_KEY_BYTES])
{
    for (size_t i = 0; i < ring->count; i++) {
        if (!CRYPTO_memcmp(ring->keys[i], key, GOSSIP_KEY_BYTES)) {
            return true;
        }
    }
    return false;
}

static int read_line(const char *line, size_t n, size_t number, struct key_ring *ring,
                     struct error *err)
{
    uint8_t key[GOSSIP_KEY_BYTES];
    int r = 0;
    while (n > 0 && is_blank(line[n - 1])) {
        n--;
    }
    while (n > 0 && is_blank(line[0])) {
        line++;
        n--;
    }
    if (n == 0 || line[0] == '#') {
        return 0;
    }
    if (!decode(line, n, key)) {
        r = error_set(err, -EINVAL,
                      "line %zu is no key: give 32 bytes in base64 (%d characters), as `openssl "
                      "rand -base64 32` prints them",
                      number, KEY_TEXT_BYTES);
    } else if (has_key(ring, key)) {
        r = 0;
    } else if (ring->count == KEY_RING_MAX) {
        r = error_set(err, -E2BIG, "line %zu: more than %d keys", number, KEY_RING_MAX);
    } else {
        memcpy(ring->keys[ring->count++], key, sizeof key);
    }
    OPENSSL_cleanse(key, sizeof key);
    return r;
}

int key_ring_parse(const char *text, size_t text_bytes, struct key_ring *ret_ring,
                   struct error *err)
{
    struct key_ring ring = {0};
    int r = 0;
    const char *line = text, *end = text + text_bytes;
    for (size_t number = 1; line < end && r == 0; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)((newline ? newline : end) - line);
        r = read_line(line, n, number, &ring, err);
        line += n + 1;
    }
    if (r == 0 && ring.count == 0) {
        r = error_set(err, -EINVAL, "there is no key in it");
    }
    if (r == 0) {
        *ret_ring = ring;
    }
    OPENSSL_cleanse(&ring, sizeof ring);
    return r;
}

void key_ring_fingerprint(const uint8_t key[GOSSIP_KEY_BYTES], char ret_text[KEY_FINGERPRINT_BYTES])
{
    static const uint8_t what[] = "spegel key fingerprint";
    uint8_t mac[EVP_MAX_MD_SIZE] = {0};
    (void)HMAC(EVP_sha256(), key, GOSSIP_KEY_BYTES, what, sizeof what - 1, mac, NULL);
    (void)snprintf(ret_text, KEY_FINGERPRINT_BYTES, "%02x%02x%02x%02x", mac[0], mac[1], mac[2],
                   mac[3]);
}
