#include "certsd/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

#define TEMPORARY FILES_TEMPORARY_NEW

int files_fail(struct error *err, const char *what, const char *name)
{
    int code = -errno;
    return error_set(err, code, "%s %s: %s", what, name, strerror(-code));
}

int files_make_path(const char *path, int *ret_dir, struct error *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) {
        return error_set(err, -EINVAL, "\"%.200s\" is no path", path);
    }
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] && part[i] != '/') {
            continue;
        }
        char kept = part[i];
        part[i] = 0;
        /* What cannot be made because a parent is read-only may still be there: open decides. */
        if (mkdir(part, 0755) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES) {
            return files_fail(err, "making directory", part);
        }
        part[i] = kept;
    }
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return files_fail(err, "opening directory", path);
    }
    *ret_dir = dir;
    return 0;
}

static int read_all(int fd, struct buf *out)
{
    for (;;) {
        char chunk[4096];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : 0;
        }
        int r = buf_append(out, chunk, (size_t)n);
        if (r < 0) {
            return r == -ENOBUFS ? -EFBIG : r;
        }
    }
}

int files_read(int dir, const char *name, struct buf *out, mode_t *ret_mode, struct error *err)
{
    /* O_NONBLOCK: a pipe of that name must not hold us up. */
    int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? -ENOENT : files_fail(err, "opening", name);
    }
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? read_all(fd, out) : -EINVAL;
    (void)close(fd);
    if (r < 0) {
        return error_set(err, r, "reading %s: %s", name,
                         r == -EINVAL ? "not a regular file" : strerror(-r));
    }
    if (ret_mode) {
        *ret_mode = st.st_mode & 07777;
    }
    return 0;
}

int files_write(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return -errno;
        }
        bytes += written;
        n -= (size_t)written;
    }
    return 0;
}

int files_open_temporary(int dir)
{
    if (unlinkat(dir, TEMPORARY, 0) < 0 && errno != ENOENT) {
        return -errno;
    }
    int fd = openat(dir, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int files_finish_temporary(int dir, int fd, const char *name, int r)
{
    if (r == 0 && fsync(fd) < 0) {
        r = -errno;
    }
    if (close(fd) < 0 && r == 0) {
        r = -errno;
    }
    if (r == 0 && renameat(dir, TEMPORARY, dir, name) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlinkat(dir, TEMPORARY, 0);
        return r;
    }
    return fsync(dir) < 0 ? -errno : 0;
}

int files_replace(int dir, const char *name, const void *bytes, size_t n, mode_t mode,
                  struct error *err)
{
    int fd = files_open_temporary(dir);
    int r = fd;
    if (fd >= 0) {
        r = files_write(fd, bytes, n);
        if (r == 0 && fchmod(fd, mode) < 0) {
            r = -errno;
        }
        r = files_finish_temporary(dir, fd, name, r);
    }
    return r < 0 ? error_set(err, r, "writing %s: %s", name, strerror(-r)) : 0;
}

bool files_may_change(int dir, const char *name)
{
    return faccessat(dir, name, W_OK | X_OK, 0) == 0;
}

bool files_is_denied(int r)
{
    return r == -EACCES || r == -EPERM;
}

int files_list(int dir, struct text_list *names, struct error *err)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        int r = files_fail(err, "listing", "a directory");
        if (fd >= 0) {
            (void)close(fd);
        }
        return r;
    }
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (errno = 0, entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            r = text_list_add(names, entry->d_name);
        }
    }
    if (r < 0) {
        r = error_set(err, r, "out of memory");
    } else if (errno) {
        r = files_fail(err, "listing", "a directory");
    }
    (void)closedir(stream);
    return r;
}

int files_sync(int dir, struct error *err)
{
    return fsync(dir) < 0 ? files_fail(err, "syncing", "a directory") : 0;
}
