#include "oci/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hex.h"

struct digester {
    EVP_MD_CTX *context;
};

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* image-spec "Digests": component (separator component)*, where a separator is one of "+._-". */
static bool is_algorithm(const char *text, size_t n)
{
    bool after_component = false;
    for (size_t i = 0; i < n; i++) {
        if (is_lower_alnum(text[i])) {
            after_component = true;
        } else if (after_component && strchr("+._-", text[i]) && text[i]) {
            after_component = false;
        } else {
            return false;
        }
    }
    return after_component;
}

static bool is_encoded(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!is_lower_alnum(c) && !(c >= 'A' && c <= 'Z') && c != '=' && c != '_' && c != '-') {
            return false;
        }
    }
    return n > 0;
}

static bool is_hex(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (hex_digit(text[i]) < 0) {
            return false;
        }
    }
    return true;
}

int digest_parse_hex(const char *hex, size_t hex_bytes, struct digest *ret_digest)
{
    if (hex_bytes != 2 * DIGEST_BYTES) {
        return -EINVAL;
    }
    struct digest digest;
    if (hex_read(hex, DIGEST_BYTES, digest.bytes)) {
        return -EINVAL;
    }
    *ret_digest = digest;
    return 0;
}

int digest_parse(const char *text, size_t text_bytes, struct digest *ret_digest)
{
    const char *colon = memchr(text, ':', text_bytes);
    if (!colon) {
        return -EINVAL;
    }
    size_t algorithm_bytes = (size_t)(colon - text);
    const char *encoded = colon + 1;
    size_t encoded_bytes = text_bytes - algorithm_bytes - 1;
    if (algorithm_bytes == 6 && !memcmp(text, "sha256", 6)) {
        return digest_parse_hex(encoded, encoded_bytes, ret_digest);
    }
    if (!is_algorithm(text, algorithm_bytes) || !is_encoded(encoded, encoded_bytes)) {
        return -EINVAL;
    }
    if (algorithm_bytes == 6 && !memcmp(text, "sha512", 6) &&
        (encoded_bytes != 128 || !is_hex(encoded, encoded_bytes))) {
        return -EINVAL;
    }
    return -ENOTSUP;
}

void digest_format_hex(const struct digest *d, char ret_hex[DIGEST_HEX_BYTES])
{
    hex_write(d->bytes, DIGEST_BYTES, ret_hex);
}

void digest_format(const struct digest *d, char ret_text[DIGEST_TEXT_BYTES])
{
    memcpy(ret_text, "sha256:", 7);
    digest_format_hex(d, ret_text + 7);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return !memcmp(a->bytes, b->bytes, DIGEST_BYTES);
}

struct digester *digester_new(void)
{
    struct digester *d = calloc(1, sizeof *d);
    if (!d) {
        return NULL;
    }
    d->context = EVP_MD_CTX_new();
    if (!d->context || EVP_DigestInit_ex(d->context, EVP_sha256(), NULL) != 1) {
        digester_free(d);
        return NULL;
    }
    return d;
}

void digester_update(struct digester *d, const void *bytes, size_t n)
{
    CHECK(EVP_DigestUpdate(d->context, bytes, n) == 1);
}

void digester_final(struct digester *d, struct digest *ret_digest)
{
    CHECK(EVP_DigestFinal_ex(d->context, ret_digest->bytes, NULL) == 1);
    digester_free(d);
}

void digester_free(struct digester *d)
{
    if (d) {
        EVP_MD_CTX_free(d->context);
        free(d);
    }
}

void digest_of(const void *bytes, size_t n, struct digest *ret_digest)
{
    CHECK(EVP_Digest(bytes, n, ret_digest->bytes, NULL, EVP_sha256(), NULL) == 1);
}
