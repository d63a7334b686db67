#include "certsd/credentials.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/limits.h"
#include "certsd/files.h"

static int credentials_file(const char *directory, const char *name, struct buf *pair,
                            struct error *err)
{
    char path[PATH_MAX];
    size_t begin = pair->len;
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    int r = files_read(-1, path, pair, NULL, err);
    if (r == 0 && pair->len > begin && pair->data[pair->len - 1] == '\n') {
        pair->data[--pair->len] = 0;
    }
    return r == -ENOENT ? 0 : r;
}

static int credentials_encode(const struct buf *pair, struct buf *header)
{
    int r = buf_puts(header, "Basic ");
    size_t bytes = (pair->len + 2) / 3 * 4;
    char *encoded = r < 0 ? NULL : buf_reserve(header, bytes);
    if (!encoded) {
        return r < 0 ? r : -ENOMEM;
    }
    (void)EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)pair->data,
                          (int)pair->len);
    buf_commit(header, bytes);
    return 0;
}

int credentials_read(const char *directory, struct buf *header, struct error *err)
{
    struct buf pair;
    buf_init(&pair, LIMIT_BASIC_AUTH_BYTES);
    int r = credentials_file(directory, "username", &pair, err);
    if (r == 0) {
        r = buf_puts(&pair, ":");
        r = r < 0 ? error_set(err, r, "the basic auth credentials are too long")
                  : credentials_file(directory, "password", &pair, err);
    }
    if (r == 0 && pair.len > 1) {
        r = credentials_encode(&pair, header);
        r = r < 0 ? error_set(err, r, "out of memory") : 0;
    }
    credentials_done(&pair);
    return r;
}

void credentials_done(struct buf *header)
{
    if (header->data) {
        OPENSSL_cleanse(header->data, header->len);
    }
    buf_done(header);
}
