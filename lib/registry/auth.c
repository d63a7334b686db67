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
    struct timer timer;
    char username_path[512], password_path[512];
    char username[SECRET_BYTES], password[SECRET_BYTES];
    bool enabled, failing;
    char header[SECRET_BYTES * 3];
};

/* Absent counts as empty. Otherwise nothing is written when the file cannot be used. */
static int auth_read(const char *path, char ret_secret[SECRET_BYTES], struct error *err)
{
    char bytes[SECRET_BYTES + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        ret_secret[0] = 0;
        return 0;
    }
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    int r = n < 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (n < 0) {
        return error_set(err, r, "%s: %s", path, strerror(-r));
    }
    n -= n > 0 && bytes[n - 1] == '\n';
    if (n >= SECRET_BYTES) {
        return error_set(err, -E2BIG, "%s: longer than %d bytes", path, SECRET_BYTES - 1);
    }
    if (memchr(bytes, 0, (size_t)n)) {
        return error_set(err, -EINVAL, "%s: has a NUL byte", path);
    }
    memcpy(ret_secret, bytes, (size_t)n);
    ret_secret[n] = 0;
    return 0;
}

static void auth_encode(struct auth *a)
{
    char pair[SECRET_BYTES * 2 + 2];
    int n = snprintf(pair, sizeof pair, "%s:%s", a->username, a->password);
    (void)snprintf(a->header, sizeof a->header, "Basic ");
    (void)EVP_EncodeBlock((unsigned char *)a->header + strlen("Basic "), (unsigned char *)pair, n);
    a->enabled = a->username[0] || a->password[0];
}

static int auth_load(struct auth *a, struct error *err)
{
    char username[SECRET_BYTES], password[SECRET_BYTES];
    int r = auth_read(a->username_path, username, err);
    r = r < 0 ? r : auth_read(a->password_path, password, err);
    if (r == 0 && (strcmp(username, a->username) != 0 || strcmp(password, a->password) != 0)) {
        memcpy(a->username, username, sizeof username);
        memcpy(a->password, password, sizeof password);
        auth_encode(a);
        log_info("basic auth credentials loaded", LOG_FLAG("enabled", a->enabled));
    }
    OPENSSL_cleanse(username, sizeof username);
    OPENSSL_cleanse(password, sizeof password);
    return r;
}

static void auth_reload(void *arg)
{
    struct auth *a = arg;
    struct error err;
    bool failed = auth_load(a, &err) < 0;
    if (failed && !a->failing) {
        log_warn("basic auth credentials stay as they were", LOG_STR("err", err.text));
    }
    a->failing = failed;
    (void)timer_start(&a->timer, RELOAD_MS);
}

int auth_new(struct loop *loop, const char *directory, struct auth **ret_auth, struct error *err)
{
    struct auth *a = calloc(1, sizeof *a);
    if (!a) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    (void)snprintf(a->username_path, sizeof a->username_path, "%s/username", directory);
    (void)snprintf(a->password_path, sizeof a->password_path, "%s/password", directory);
    timer_init(&a->timer, loop, auth_reload, a);
    int r = auth_load(a, err);
    if (r == 0 && timer_start(&a->timer, RELOAD_MS) < 0) {
        r = error_set(err, -ENOMEM, "out of memory");
    }
    if (r < 0) {
        auth_free(a);
        return r;
    }
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
