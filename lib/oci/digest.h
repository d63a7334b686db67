/* digest.h - content digests, "sha256:<64 lower-case hex>" (OCI image-spec, "Digests").
 *
 * Only sha256 is mirrored: any other registered algorithm parses as -ENOTSUP, which callers answer
 * like an unknown digest, so that containerd goes upstream. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32
#define DIGEST_TEXT_BYTES 72 /* "sha256:" + 64 hex + NUL */
#define DIGEST_HEX_BYTES 65  /* 64 hex + NUL */

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

/* 0; -EINVAL not a digest at all; -ENOTSUP well-formed, other algorithm. */
int digest_parse(const char *text, size_t text_bytes, struct digest *ret_digest);

/* From 64 hex characters (a file name under blobs/sha256). 0 or -EINVAL. */
int digest_parse_hex(const char *hex, size_t hex_bytes, struct digest *ret_digest);

void digest_format(const struct digest *d, char ret_text[DIGEST_TEXT_BYTES]);
void digest_format_hex(const struct digest *d, char ret_hex[DIGEST_HEX_BYTES]);
bool digest_equal(const struct digest *a, const struct digest *b);

/* Incremental SHA-256. `new` returns NULL without memory; `final` may be called once and frees. */
struct digester;
struct digester *digester_new(void);
void digester_update(struct digester *d, const void *bytes, size_t n);
void digester_final(struct digester *d, struct digest *ret_digest);
void digester_free(struct digester *d); /* without a result; NULL is fine */

void digest_of(const void *bytes, size_t n, struct digest *ret_digest);
