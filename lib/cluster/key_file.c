#include "cluster/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

struct key_file {
    struct timer timer;
    char *path;
    struct key_ring ring;
    struct key_file_counters counters;
    int (*changed)(void *arg, const struct key_ring *ring);
    void *arg;
    bool failing;
};

/* All of an open regular file; how many bytes, or negative errno. */
static ssize_t read_all(int fd, char *bytes, size_t max)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    if (!S_ISREG(status.st_mode)) {
        return -EINVAL;
    }
    size_t n = 0;
    while (n <= max) {
        ssize_t got = read(fd, bytes + n, max + 1 - n);
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            return (ssize_t)n;
        }
        n += (size_t)got;
    }
    return -E2BIG;
}

static int key_file_read(const char *path, struct key_ring *ret_ring, struct error *err)
{
    char bytes[LIMIT_KEY_FILE_BYTES + 1];
    /* O_NONBLOCK: a named pipe without a writer would stop the loop right here. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -errno : read_all(fd, bytes, LIMIT_KEY_FILE_BYTES);
    if (fd >= 0) {
        (void)close(fd);
    }
    int r = 0;
    if (n == -EINVAL) {
        r = error_set(err, -EINVAL, "%s: not a regular file", path);
    } else if (n == -E2BIG) {
        r = error_set(err, -E2BIG, "%s: longer than %d bytes", path, LIMIT_KEY_FILE_BYTES);
    } else if (n < 0) {
        r = error_set(err, (int)n, "%s: %s", path, strerror((int)-n));
    } else {
        r = key_ring_parse(bytes, (size_t)n, ret_ring, err);
        r = r < 0 ? error_wrap(err, r, "%s", path) : 0;
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    return r;
}

static void key_file_take(struct key_file *f, const struct key_ring *ring)
{
    char sends[KEY_FINGERPRINT_BYTES];
    f->ring = *ring;
    f->counters.loads++;
    key_ring_fingerprint(ring->keys[0], sends);
    log_info("gossip keys loaded", LOG_INT("keys", ring->count), LOG_STR("sends", sends));
}

static int key_file_look(struct key_file *f, struct error *err)
{
    struct key_ring ring;
    int r = key_file_read(f->path, &ring, err);
    if (r < 0) {
        return r;
    }
    if (CRYPTO_memcmp(&ring, &f->ring, sizeof ring) != 0) {
        r = f->changed(f->arg, &ring);
        if (r < 0) {
            (void)error_set(err, r, "%s: %s", f->path, strerror(-r));
        } else {
            key_file_take(f, &ring);
        }
    }
    OPENSSL_cleanse(&ring, sizeof ring);
    return r;
}

static void key_file_tick(void *arg)
{
    struct key_file *f = arg;
    struct error err;
    bool failed = key_file_look(f, &err) < 0;
    f->counters.failures += failed;
    if (failed && !f->failing) {
        log_warn("gossip keys stay as they were", LOG_STR("err", err.text));
    }
    f->failing = failed;
    (void)timer_start(&f->timer, LIMIT_KEY_FILE_LOOK_MS);
}

int key_file_new(struct loop *loop, const char *path,
                 int (*changed)(void *arg, const struct key_ring *ring), void *arg,
                 struct key_file **ret_file, struct error *err)
{
    struct key_ring ring;
    struct key_file *f = calloc(1, sizeof *f);
    if (!f) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    f->changed = changed;
    f->arg = arg;
    timer_init(&f->timer, loop, key_file_tick, f);
    f->path = strdup(path);
    int r = f->path ? key_file_read(path, &ring, err) : error_set(err, -ENOMEM, "out of memory");
    if (r == 0 && timer_start(&f->timer, LIMIT_KEY_FILE_LOOK_MS) < 0) {
        r = error_set(err, -ENOMEM, "out of memory");
    }
    if (r < 0) {
        key_file_free(f);
        return r;
    }
    key_file_take(f, &ring);
    OPENSSL_cleanse(&ring, sizeof ring);
    *ret_file = f;
    return 0;
}

void key_file_free(struct key_file *f)
{
    if (f) {
        timer_stop(&f->timer);
        OPENSSL_cleanse(&f->ring, sizeof f->ring);
        free(f->path);
        free(f);
    }
}

const struct key_ring *key_file_ring(const struct key_file *f)
{
    return &f->ring;
}

const struct key_file_counters *key_file_counters(const struct key_file *f)
{
    return &f->counters;
}
