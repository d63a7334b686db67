#include "store/blob_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

static int blob_path(const char *root_path, const struct digest *d, char ret_path[PATH_MAX])
{
    char hex[DIGEST_HEX_BYTES];
    digest_format_hex(d, hex);
    int n = snprintf(ret_path, PATH_MAX, "%s/blobs/sha256/%s", root_path, hex);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* What says that the file as named is not there, rather than that we cannot see it now. */
static int absent(int error)
{
    return error == ENOTDIR || error == ELOOP || error == EISDIR || error == ENXIO ? -ENOENT
                                                                                   : -error;
}

int blob_file_open(const char *root_path, const struct digest *d, int *ret_fd, int64_t *ret_size)
{
    char path[PATH_MAX];
    int r = blob_path(root_path, d, path);
    if (r < 0) {
        return r;
    }
    /* O_NONBLOCK: a FIFO in a blob's place must not stop the loop. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return absent(errno);
    }
    struct stat st;
    r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -ENOENT;
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    *ret_size = st.st_size;
    return 0;
}

int blob_file_size(const char *root_path, const struct digest *d, int64_t *ret_size)
{
    char path[PATH_MAX];
    struct stat st;
    int r = blob_path(root_path, d, path);
    if (r < 0) {
        return r;
    }
    if (lstat(path, &st) < 0) {
        return absent(errno);
    }
    if (!S_ISREG(st.st_mode)) {
        return -ENOENT;
    }
    *ret_size = st.st_size;
    return 0;
}

/* Exactly n bytes; a file that became shorter is corrupt, as its hash would say. */
static int read_whole(int fd, char *bytes, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(fd, bytes + got, n - got, (off_t)got);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r <= 0) {
            return r < 0 ? -errno : -EBADMSG;
        }
        got += (size_t)r;
    }
    return 0;
}

static int read_manifest(int fd, size_t n, const struct digest *d, struct manifest *ret_manifest,
                         struct error *err)
{
    char *bytes = malloc(n + 1);
    if (!bytes) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    struct digest actual;
    int r = read_whole(fd, bytes, n);
    if (r == 0) {
        digest_of(bytes, n, &actual);
        r = digest_equal(&actual, d) ? 0 : -EBADMSG;
    }
    if (r < 0) {
        free(bytes);
        return error_set(err, r, "%s",
                         r == -EBADMSG ? "the file's bytes are not those of its digest"
                                       : strerror(-r));
    }
    r = manifest_parse(bytes, n, ret_manifest, err);
    free(bytes);
    return r;
}

int blob_file_manifest(const char *root_path, const struct digest *d, struct manifest *ret_manifest,
                       struct error *err)
{
    int fd = -1;
    int64_t size_bytes = 0;
    int r = blob_file_open(root_path, d, &fd, &size_bytes);
    if (r < 0) {
        return error_set(err, r, "%s", strerror(-r));
    }
    r = size_bytes > LIMIT_MANIFEST_BYTES
            ? error_set(err, -E2BIG, "a file of %lld bytes", (long long)size_bytes)
            : read_manifest(fd, (size_t)size_bytes, d, ret_manifest, err);
    (void)close(fd);
    return r;
}
