#include "registry/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"

#define SECRET_BYTES 512
#define RELOAD_MS 2000

struct auth {
    struct loop *loop;
    struct timer timer;
    char username_path[512], password_path[512];
    char username[SECRET_BYTES], password[SECRET_BYTES];
    bool enabled;
    char header[SECRET_BYTES * 3];
};

/* Absent counts as empty. False: unreadable or too long, keep what we have. */
static bool auth_read(const char *path, char ret_secret[SECRET_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
            return false;
        }
        ret_secret[0] = 0;
        return true;
    }
    char bytes[SECRET_BYTES + 1];
    ssize_t n = read(fd, bytes, sizeof bytes);
    (void)close(fd);
    if (n < 0 || n >= SECRET_BYTES || memchr(bytes, 0, (size_t)n)) {
        return false;
    }
    if (n > 0 && bytes[n - 1] == '\n') {
        n--;
    }
    memcpy(ret_secret, bytes, (size_t)n);
    ret_secret[n] = 0;
    return true;
}

static void auth_encode(struct auth *a)
{
    char pair[SECRET_BYTES * 2 + 2];
    int n = snprintf(pair, sizeof pair, "%s:%s", a->username, a->password);
    (void)snprintf(a->header, sizeof a->header, "Basic ");
    (void)EVP_EncodeBlock((unsigned char *)a->header + strlen("Basic "), (unsigned char *)pair, n);
    a->enabled = a->username[0] || a->password[0];
}

static void auth_load(void *arg)
{
    struct auth *a = arg;
    char username[SECRET_BYTES], password[SECRET_BYTES];
    if (!auth_read(a->username_path, username)) {
        memcpy(username, a->username, sizeof username);
    }
    if (!auth_read(a->password_path, password)) {
        memcpy(password, a->password, sizeof password);
    }
    if (strcmp(username, a->username) != 0 || strcmp(password, a->password) != 0) {
        memcpy(a->username, username, sizeof username);
        memcpy(a->password, password, sizeof password);
        auth_encode(a);
        log_info("basic auth credentials loaded", LOG_FLAG("enabled", a->enabled));
    }
    (void)timer_start(&a->timer, RELOAD_MS);
}

int auth_new(struct loop *loop, const char *directory, struct auth **ret_auth)
{
    struct auth *a = calloc(1, sizeof *a);
    if (!a) {
        return -ENOMEM;
    }
    a->loop = loop;
    (void)snprintf(a->username_path, sizeof a->username_path, "%s/username", directory);
    (void)snprintf(a->password_path, sizeof a->password_path, "%s/password", directory);
    timer_init(&a->timer, loop, auth_load, a);
    auth_load(a);
    *ret_auth = a;
    return 0;
}

void auth_free(struct auth *a)
{
    if (a) {
        timer_stop(&a->timer);
        OPENSSL_cleanse(a, sizeof *a);
        free(a);
    }
}

bool auth_enabled(const struct auth *a)
{
    return a->enabled;
}

const char *auth_header(const struct auth *a)
{
    return a->enabled ? a->header : NULL;
}

bool auth_allows(const struct auth *a, const char *authorization)
{
    if (!a->enabled) {
        return true;
    }
    /* RFC 7617: the scheme is case-insensitive. */
    if (!authorization || strncasecmp(authorization, "Basic ", 6) != 0) {
        return false;
    }
    const char *want = a->header + strlen("Basic ");
    const char *got = authorization + strlen("Basic ");
    size_t n = strlen(want);
    return strlen(got) == n && CRYPTO_memcmp(want, got, n) == 0;
}
