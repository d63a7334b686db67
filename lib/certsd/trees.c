#include "certsd/trees.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text_list.h"
#include "certsd/files.h"

#define TEMPORARY FILES_TEMPORARY_NEW
#define COPY_BYTES 65536

/* One copy under way. */
struct copy {
    unsigned flags;
    struct trees_losses *losses;
};

/* What became of giving a file to its owner, `r` being chown's result. Only who has CAP_CHOWN can
 * give files away: not root in a pod that drops it, nor anybody else. */
static int given(const struct copy *c, const struct stat *st, int r)
{
    if (r == 0 || errno != EPERM) {
        return r == 0 ? 0 : -errno;
    }
    c->losses->owner |= st->st_uid != geteuid() || st->st_gid != getegid();
    return 1;
}

/* Owner before mode, since changing the owner clears set-id bits, which are for that owner. */
static int give_attributes(const struct copy *c, int fd, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    int r = given(c, st, fchown(fd, st->st_uid, st->st_gid));
    if (r < 0) {
        return r;
    }
    mode_t mode = st->st_mode & (r ? 01777 : 07777);
    return fchmod(fd, mode) < 0 || futimens(fd, times) < 0 ? -errno : 0;
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
        r = files_write(to, chunk, (size_t)n);
    }
    free(chunk);
    return r;
}

static int copy_file(const struct copy *c, int from_dir, const char *from, int to_dir,
                     const char *to)
{
    struct stat st;
    int source = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (source < 0) {
        return -errno;
    }
    int r = fstat(source, &st) < 0 ? -errno : 0;
    int fd = r < 0 ? r : files_open_temporary(to_dir);
    if (fd >= 0) {
        r = copy_bytes(source, fd);
        r = r < 0 ? r : give_attributes(c, fd, &st);
        r = files_finish_temporary(to_dir, fd, to, r);
    } else {
        r = fd;
    }
    (void)close(source);
    return r;
}

static int copy_link(const struct copy *c, int from_dir, const char *from, int to_dir,
                     const char *to, const struct stat *st)
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
        given(c, st, fchownat(to_dir, TEMPORARY, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW)) <
            0 ||
        utimensat(to_dir, TEMPORARY, times, AT_SYMLINK_NOFOLLOW) < 0 ||
        renameat(to_dir, TEMPORARY, to_dir, to) < 0) {
        int code = -errno;
        (void)unlinkat(to_dir, TEMPORARY, 0);
        return code;
    }
    return fsync(to_dir) < 0 ? -errno : 0;
}

static int copy_entry(const struct copy *c, int from_dir, const char *from, int to_dir,
                      const char *to, unsigned depth, struct error *err);

static int copy_children(const struct copy *c, int source, int target, unsigned depth,
                         struct error *err)
{
    struct text_list names = {0};
    int r = files_list(source, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        if (strncmp(name, FILES_TEMPORARY, strlen(FILES_TEMPORARY)) != 0) {
            r = copy_entry(c, source, name, target, name, depth + 1, err);
        }
    }
    text_list_done(&names);
    return r;
}

/* From one open directory to `to`, which is made unless it is there. */
static int copy_into(const struct copy *c, int source, int to_dir, const char *to,
                     const struct stat *st, unsigned depth, struct error *err)
{
    bool made = mkdirat(to_dir, to, 0700) == 0;
    if (!made && errno != EEXIST) {
        return files_fail(err, "making directory", to);
    }
    int target = openat(to_dir, to, FILES_DIRECTORY_FLAGS);
    if (target < 0) {
        return !made && c->flags & TREES_MISSING ? 0 : files_fail(err, "opening directory", to);
    }
    int r = copy_children(c, source, target, depth, err);
    if (r == 0 && (made || !(c->flags & TREES_MISSING))) {
        r = give_attributes(c, target, st);
        r = r < 0 ? error_set(err, r, "copying directory %s: %s", to, strerror(-r)) : 0;
    }
    if (r == 0 && fsync(target) < 0) {
        r = files_fail(err, "copying directory", to);
    }
    (void)close(target);
    return r;
}

static int copy_directory(const struct copy *c, int from_dir, const char *from, int to_dir,
                          const char *to, const struct stat *st, unsigned depth, struct error *err)
{
    if (depth >= LIMIT_CERTSD_DEPTH) {
        return error_set(err, -ELOOP, "copying %s: directories nested too deeply", from);
    }
    int source = openat(from_dir, from, FILES_DIRECTORY_FLAGS);
    if (source < 0) {
        return files_fail(err, "opening directory", from);
    }
    int r = copy_into(c, source, to_dir, to, st, depth, err);
    (void)close(source);
    return r;
}

/* Whether it may be looked at, and into if it is a directory. */
static bool is_readable(int dir, const char *name, struct stat *ret_status)
{
    int mode = R_OK;
    if (fstatat(dir, name, ret_status, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno != EACCES;
    }
    if (S_ISDIR(ret_status->st_mode)) {
        mode = R_OK | X_OK;
    } else if (!S_ISREG(ret_status->st_mode)) {
        return true;
    }
    return faccessat(dir, name, mode, 0) == 0 || errno != EACCES;
}

static int copy_entry(const struct copy *c, int from_dir, const char *from, int to_dir,
                      const char *to, unsigned depth, struct error *err)
{
    struct stat st, there;
    if (c->flags & TREES_READABLE && !is_readable(from_dir, from, &st)) {
        c->losses->unread = true;
        return 0;
    }
    if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return files_fail(err, "looking at", from);
    }
    if (S_ISDIR(st.st_mode)) {
        return copy_directory(c, from_dir, from, to_dir, to, &st, depth, err);
    }
    if (c->flags & TREES_MISSING && !fstatat(to_dir, to, &there, AT_SYMLINK_NOFOLLOW)) {
        return 0;
    }
    int r = S_ISREG(st.st_mode)   ? copy_file(c, from_dir, from, to_dir, to)
            : S_ISLNK(st.st_mode) ? copy_link(c, from_dir, from, to_dir, to, &st)
                                  : 0;
    return r < 0 ? error_set(err, r, "copying %s: %s", from, strerror(-r)) : 0;
}

int trees_copy_some(int from_dir, const char *from, int to_dir, const char *to, unsigned flags,
                    struct trees_losses *losses, struct error *err)
{
    struct trees_losses ignored = {0};
    const struct copy c = {.flags = flags, .losses = losses ? losses : &ignored};
    return copy_entry(&c, from_dir, from, to_dir, to, 0, err);
}

int trees_copy(int from_dir, const char *from, int to_dir, const char *to, struct error *err)
{
    return trees_copy_some(from_dir, from, to_dir, to, 0, NULL, err);
}

/* What `each` says of all that is in the directory, together; `otherwise` if it cannot be listed.
 */
static unsigned over_children(int dir, const char *name, unsigned otherwise,
                              unsigned (*each)(int dir, const char *name, void *user), void *user)
{
    struct text_list names = {0};
    unsigned said = 0;
    int fd = openat(dir, name, FILES_DIRECTORY_FLAGS);
    if (fd < 0 || files_list(fd, &names, NULL) < 0) {
        said = otherwise;
    }
    for (size_t i = 0; i < names.count; i++) {
        if (strncmp(names.items[i], FILES_TEMPORARY, strlen(FILES_TEMPORARY)) != 0) {
            said |= each(fd, names.items[i], user);
        }
    }
    text_list_done(&names);
    if (fd >= 0) {
        (void)close(fd);
    }
    return said;
}

static unsigned is_closed(int dir, const char *name, void *user)
{
    struct stat st;
    if (!is_readable(dir, name, &st)) {
        return 1;
    }
    return S_ISDIR(st.st_mode) ? over_children(dir, name, 0, is_closed, user) : 0;
}

bool trees_is_closed(int dir, const char *name)
{
    return is_closed(dir, name, NULL);
}

static unsigned is_stuck(int dir, const char *name, void *user)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
        return 0;
    }
    return (st.st_uid != geteuid() && !files_may_change(dir, name)) ||
           over_children(dir, name, 0, is_stuck, user);
}

bool trees_is_stuck(int dir, const char *name)
{
    return is_stuck(dir, name, NULL);
}

struct compare {
    int dir; /* the other one; -1 where it has none */
    const char *but;
};

static unsigned count_one(int dir, const char *name, void *user)
{
    const struct compare *c = user;
    struct stat st;
    (void)dir;
    return (c->but && !strcmp(name, c->but)) || fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0
               ? 0
               : TREES_CHANGED;
}

static unsigned compare_entry(int from_dir, const char *from, int to_dir, const char *to,
                              const char *but);

static unsigned compare_child(int dir, const char *name, void *user)
{
    const struct compare *c = user;
    return c->but && !strcmp(name, c->but) ? 0 : compare_entry(dir, name, c->dir, name, NULL);
}

static unsigned compare_directories(int from_dir, const char *from, int to_dir, const char *to,
                                    const char *but)
{
    struct compare there = {openat(to_dir, to, FILES_DIRECTORY_FLAGS), but};
    struct compare here = {openat(from_dir, from, FILES_DIRECTORY_FLAGS), but};
    unsigned differs = here.dir < 0 || there.dir < 0
                           ? TREES_LACKS
                           : over_children(from_dir, from, TREES_CHANGED, compare_child, &there) |
                                 over_children(to_dir, to, TREES_CHANGED, count_one, &here);
    if (there.dir >= 0) {
        (void)close(there.dir);
    }
    if (here.dir >= 0) {
        (void)close(here.dir);
    }
    return differs;
}

static unsigned compare_entry(int from_dir, const char *from, int to_dir, const char *to,
                              const char *but)
{
    struct stat a, b;
    if (fstatat(from_dir, from, &a, AT_SYMLINK_NOFOLLOW) < 0) {
        return TREES_LACKS;
    }
    bool kept = S_ISREG(a.st_mode) || S_ISLNK(a.st_mode) || S_ISDIR(a.st_mode);
    if (!kept || fstatat(to_dir, to, &b, AT_SYMLINK_NOFOLLOW) < 0) {
        return kept ? TREES_LACKS : 0;
    }
    unsigned differs = a.st_uid != b.st_uid || a.st_gid != b.st_gid ? TREES_OWNER : 0;
    if ((a.st_mode ^ b.st_mode) & (S_IFMT | 01777)) {
        return differs | TREES_CHANGED;
    }
    if (S_ISDIR(a.st_mode)) {
        return differs | compare_directories(from_dir, from, to_dir, to, but);
    }
    bool same = a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
                a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
    return differs | (same ? 0 : TREES_CHANGED);
}

unsigned trees_compare(int from_dir, const char *from, int to_dir, const char *to, const char *but)
{
    return compare_entry(from_dir, from, to_dir, to, but);
}

static int remove_entry(int dir, const char *name, unsigned depth, struct error *err)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return files_fail(err, "removing", name);
    }
    /* A copy of what its owner closed to himself. */
    (void)(files_may_change(dir, name) || fchmodat(dir, name, 0700, 0) == 0);
    int child = depth < LIMIT_CERTSD_DEPTH + 1 ? openat(dir, name, FILES_DIRECTORY_FLAGS) : -1;
    if (child < 0) {
        return files_fail(err, "removing", name);
    }
    struct text_list names = {0};
    int r = files_list(child, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        r = remove_entry(child, names.items[i], depth + 1, err);
    }
    text_list_done(&names);
    (void)close(child);
    if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        r = files_fail(err, "removing", name);
    }
    return r;
}

int trees_remove(int dir, const char *name, struct error *err)
{
    return remove_entry(dir, name, 0, err);
}
