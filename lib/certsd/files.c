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

#define TEMPORARY FILES_TEMPORARY "new"
#define COPY_BYTES 65536
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int fail(struct error *err, const char *what, const char *name)
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
            return fail(err, "making directory", part);
        }
        part[i] = kept;
    }
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return fail(err, "opening directory", path);
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
        return errno == ENOENT || errno == ENOTDIR ? -ENOENT : fail(err, "opening", name);
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

static int write_all(int fd, const char *bytes, size_t n)
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

/* A new empty file under the temporary name, readable by nobody else until it is complete. */
static int open_temporary(int dir)
{
    if (unlinkat(dir, TEMPORARY, 0) < 0 && errno != ENOENT) {
        return -errno;
    }
    int fd = openat(dir, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

/* Closes and renames what open_temporary made, or removes it when `r` says that writing failed. */
static int finish_temporary(int dir, int fd, const char *name, int r)
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
    int fd = open_temporary(dir);
    int r = fd;
    if (fd >= 0) {
        r = write_all(fd, bytes, n);
        if (r == 0 && fchmod(fd, mode) < 0) {
            r = -errno;
        }
        r = finish_temporary(dir, fd, name, r);
    }
    return r < 0 ? error_set(err, r, "writing %s: %s", name, strerror(-r)) : 0;
}

/* Owner before mode, since changing the owner clears set-id bits. Who is not root cannot give
 * files away, and then everything here is his already. */
static int give_attributes(int fd, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (fchown(fd, st->st_uid, st->st_gid) < 0 && errno != EPERM) {
        return -errno;
    }
    return fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0 ? -errno : 0;
}

static int copy_bytes(int from, int to)
{
    char *chunk = malloc(COPY_BYTES);
    int r = chunk ? 0 : -ENOMEM;
    while (r == 0) {
        ssize_t n = read(from, chunk, COPY_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            r = n < 0 ? -errno : 0;
            break;
        }
        r = write_all(to, chunk, (size_t)n);
    }
    free(chunk);
    return r;
}

static int copy_file(int from_dir, const char *from, int to_dir, const char *to)
{
    struct stat st;
    int source = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (source < 0) {
        return -errno;
    }
    int r = fstat(source, &st) < 0 ? -errno : 0;
    int fd = r < 0 ? r : open_temporary(to_dir);
    if (fd >= 0) {
        r = copy_bytes(source, fd);
        r = r < 0 ? r : give_attributes(fd, &st);
        r = finish_temporary(to_dir, fd, to, r);
    } else {
        r = fd;
    }
    (void)close(source);
    return r;
}

static int copy_link(int from_dir, const char *from, int to_dir, const char *to,
                     const struct stat *st)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from_dir, from, target, sizeof target - 1);
    if (n < 0) {
        return -errno;
    }
    target[n] = 0;
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if ((unlinkat(to_dir, TEMPORARY, 0) < 0 && errno != ENOENT) ||
        symlinkat(target, to_dir, TEMPORARY) < 0 ||
        (fchownat(to_dir, TEMPORARY, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 &&
         errno != EPERM) ||
        utimensat(to_dir, TEMPORARY, times, AT_SYMLINK_NOFOLLOW) < 0 ||
        renameat(to_dir, TEMPORARY, to_dir, to) < 0) {
        int code = -errno;
        (void)unlinkat(to_dir, TEMPORARY, 0);
        return code;
    }
    return fsync(to_dir) < 0 ? -errno : 0;
}

static int copy_entry(int from_dir, const char *from, int to_dir, const char *to, unsigned depth,
                      struct error *err);

static int copy_children(int source, int target, unsigned depth, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(source, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        if (strncmp(name, FILES_TEMPORARY, strlen(FILES_TEMPORARY)) != 0) {
            r = copy_entry(source, name, target, name, depth + 1, err);
        }
    }
    text_list_done(&names);
    return r;
}

static int copy_directory(int from_dir, const char *from, int to_dir, const char *to,
                          const struct stat *st, unsigned depth, struct error *err)
{
    if (depth >= LIMIT_CERTSD_DEPTH) {
        return error_set(err, -ELOOP, "copying %s: directories nested too deeply", from);
    }
    int source = openat(from_dir, from, DIRECTORY_FLAGS);
    if (source < 0) {
        return fail(err, "opening directory", from);
    }
    int r = 0, target = -1;
    if (mkdirat(to_dir, to, 0700) < 0 && errno != EEXIST) {
        r = fail(err, "making directory", to);
    } else if ((target = openat(to_dir, to, DIRECTORY_FLAGS)) < 0) {
        r = fail(err, "opening directory", to);
    } else {
        r = copy_children(source, target, depth, err);
        int given = r < 0 ? 0 : give_attributes(target, st);
        if (given < 0 || (r == 0 && fsync(target) < 0)) {
            errno = given < 0 ? -given : errno;
            r = fail(err, "copying directory", from);
        }
    }
    if (target >= 0) {
        (void)close(target);
    }
    (void)close(source);
    return r;
}

static int copy_entry(int from_dir, const char *from, int to_dir, const char *to, unsigned depth,
                      struct error *err)
{
    struct stat st;
    if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return fail(err, "looking at", from);
    }
    if (S_ISDIR(st.st_mode)) {
        return copy_directory(from_dir, from, to_dir, to, &st, depth, err);
    }
    int r = S_ISREG(st.st_mode)   ? copy_file(from_dir, from, to_dir, to)
            : S_ISLNK(st.st_mode) ? copy_link(from_dir, from, to_dir, to, &st)
                                  : 0;
    return r < 0 ? error_set(err, r, "copying %s: %s", from, strerror(-r)) : 0;
}

int files_copy(int from_dir, const char *from, int to_dir, const char *to, struct error *err)
{
    return copy_entry(from_dir, from, to_dir, to, 0, err);
}

static int remove_entry(int dir, const char *name, unsigned depth, struct error *err)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return fail(err, "removing", name);
    }
    int child = depth < LIMIT_CERTSD_DEPTH + 1 ? openat(dir, name, DIRECTORY_FLAGS) : -1;
    if (child < 0) {
        return fail(err, "removing", name);
    }
    struct text_list names = {0};
    int r = files_list(child, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        r = remove_entry(child, names.items[i], depth + 1, err);
    }
    text_list_done(&names);
    (void)close(child);
    if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        r = fail(err, "removing", name);
    }
    return r;
}

int files_remove(int dir, const char *name, struct error *err)
{
    return remove_entry(dir, name, 0, err);
}

int files_list(int dir, struct text_list *names, struct error *err)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        int r = fail(err, "listing", "a directory");
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
        r = fail(err, "listing", "a directory");
    }
    (void)closedir(stream);
    return r;
}

int files_sync(int dir, struct error *err)
{
    return fsync(dir) < 0 ? fail(err, "syncing", "a directory") : 0;
}
