#include "certsd/originals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "certsd/files.h"
#include "certsd/hosts.h"
#include "certsd/trees.h"

#define STAGED CERTS_DIR_STAGED
#define RETIRED CERTS_DIR_RETIRED
#define SWAPPED CERTS_DIR_ASIDE "swapped" /* in `_backup`: ours, then what ours replaced */

static const char *aside(const char *name, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, CERTS_DIR_ASIDE "%s", name);
    return path;
}

static bool is_mine(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == geteuid() &&
           st.st_gid == getegid();
}

/* Whether what is under the name in `_backup` is our file still. Nothing of ours is swapped for
 * something of ours that can be read. */
static bool is_unswapped(int saved)
{
    struct buf text;
    buf_init(&text, LIMIT_HOSTS_TOML_BYTES);
    bool ours = is_mine(saved, SWAPPED) && files_read(saved, SWAPPED, &text, NULL, NULL) == 0 &&
                hosts_is_generated(text.data, text.len);
    buf_done(&text);
    return ours;
}

static int recover_swap(const struct certs_dir *l, const char *name, struct error *err)
{
    char path[PATH_MAX];
    int saved = openat(l->backup, name, FILES_DIRECTORY_FLAGS);
    if (saved < 0 || !certs_dir_has(saved, SWAPPED, NULL)) {
        (void)(saved < 0 || close(saved));
        return 0;
    }
    (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, name);
    int r;
    if (!is_unswapped(saved)) {
        r = renameat(saved, SWAPPED, saved, CERTS_DIR_HOSTS);
    } else if (certs_dir_has(l->dir, path, NULL) || renameat(saved, SWAPPED, l->dir, path) < 0) {
        r = unlinkat(saved, SWAPPED, 0);
    } else {
        r = 0; /* swapped without the exchange */
    }
    r = r < 0 || fsync(saved) < 0 ? files_fail(err, "recovering", name) : 0;
    (void)close(saved);
    return r;
}

int originals_recover(const struct certs_dir *l, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(l->dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i] + strlen(CERTS_DIR_ASIDE);
        if (!strncmp(names.items[i], CERTS_DIR_ASIDE, strlen(CERTS_DIR_ASIDE)) &&
            !certs_dir_has(l->dir, name, NULL) &&
            renameat(l->dir, names.items[i], l->dir, name) < 0) {
            r = files_fail(err, "recovering", name);
        }
    }
    text_list_done(&names);
    r = r < 0 || l->backup < 0 ? r : files_list(l->backup, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        r = recover_swap(l, names.items[i], err);
    }
    text_list_done(&names);
    return r;
}

bool originals_needs_swap(const struct certs_dir *l, const char *name)
{
    char path[PATH_MAX];
    struct stat here, there;
    (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, name);
    if (fstatat(l->dir, path, &here, AT_SYMLINK_NOFOLLOW) < 0 ||
        (is_mine(l->dir, path) && !trees_is_closed(l->dir, path))) {
        return false;
    }
    return fstatat(l->backup, path, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
           here.st_uid != there.st_uid || here.st_gid != there.st_gid;
}

/* A file system without the exchange gets a moment in which <name>/hosts.toml is missing. */
static int swap(int saved, int fd)
{
    if (renameat2(saved, SWAPPED, fd, CERTS_DIR_HOSTS, RENAME_EXCHANGE) == 0) {
        return renameat(saved, SWAPPED, saved, CERTS_DIR_HOSTS);
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    return renameat(fd, CERTS_DIR_HOSTS, saved, CERTS_DIR_HOSTS) < 0
               ? -1
               : renameat(saved, SWAPPED, fd, CERTS_DIR_HOSTS);
}

int originals_swap(const struct certs_dir *l, const char *name, const struct buf *text, mode_t mode,
                   struct error *err)
{
    int fd = openat(l->dir, name, FILES_DIRECTORY_FLAGS);
    int saved = fd < 0 ? -1 : openat(l->backup, name, FILES_DIRECTORY_FLAGS);
    int r = saved < 0 ? files_fail(err, "opening directory", name)
                      : files_replace(saved, SWAPPED, text->data, text->len, mode, err);
    if (r == 0 && (swap(saved, fd) < 0 || fsync(saved) < 0 || fsync(fd) < 0)) {
        r = files_fail(err, "replacing", name);
        (void)recover_swap(l, name, NULL);
    }
    (void)(saved < 0 || close(saved));
    (void)(fd < 0 || close(fd));
    return r;
}

/* The copy, under its temporary name, with our hosts.toml. */
static int stage_copy(const struct certs_dir *l, const char *name, const struct buf *text,
                      mode_t mode, struct error *err)
{
    struct stat st;
    int r = trees_copy(l->dir, name, l->dir, STAGED, err);
    int fd = r < 0 ? -1 : openat(l->dir, STAGED, FILES_DIRECTORY_FLAGS);
    if (r == 0 && (fd < 0 || fstat(fd, &st) < 0 || fchmod(fd, (st.st_mode & 07777) | 0700) < 0)) {
        r = files_fail(err, "copying directory", name);
    }
    r = r < 0 ? r : files_replace(fd, CERTS_DIR_HOSTS, text->data, text->len, mode, err);
    (void)(fd < 0 || close(fd));
    return r;
}

int originals_put_aside(const struct certs_dir *l, const char *name, const struct buf *text,
                        mode_t mode, struct error *err)
{
    char path[PATH_MAX];
    if (certs_dir_has(l->dir, aside(name, path), NULL)) {
        return error_set(err, -EACCES, "%s and %s may both not be changed", name, path);
    }
    int r = stage_copy(l, name, text, mode, err);
    if (r == 0 && renameat(l->dir, name, l->dir, path) < 0) {
        r = files_fail(err, "replacing", name);
    } else if (r == 0 && renameat(l->dir, STAGED, l->dir, name) < 0) {
        r = files_fail(err, "replacing", name);
        (void)renameat(l->dir, path, l->dir, name);
    }
    return r < 0 ? r : files_sync(l->dir, err);
}

int originals_take_back(const struct certs_dir *l, const char *name, struct error *err)
{
    char path[PATH_MAX];
    if (renameat(l->dir, name, l->dir, RETIRED) < 0 ||
        renameat(l->dir, aside(name, path), l->dir, name) < 0) {
        return files_fail(err, "restoring", name);
    }
    int r = files_sync(l->dir, err);
    return r < 0 ? r : trees_remove(l->dir, RETIRED, err);
}

bool originals_is_aside(const struct certs_dir *l, const char *name)
{
    char path[PATH_MAX];
    struct text_list names = {0};
    int kept = openat(l->dir, aside(name, path), FILES_DIRECTORY_FLAGS);
    int fd = kept < 0 ? -1 : openat(l->dir, name, FILES_DIRECTORY_FLAGS);
    bool is = fd >= 0 && files_list(fd, &names, NULL) == 0;
    for (size_t i = 0; is && i < names.count; i++) {
        is = !strcmp(names.items[i], CERTS_DIR_HOSTS) || certs_dir_has(kept, names.items[i], NULL);
    }
    text_list_done(&names);
    (void)(kept < 0 || close(kept));
    (void)(fd < 0 || close(fd));
    return is;
}

unsigned originals_compare(const struct certs_dir *l, const char *name, bool ours)
{
    char path[PATH_MAX];
    if (ours && originals_is_aside(l, name)) {
        return trees_compare(l->dir, aside(name, path), l->backup, name, NULL);
    }
    if (ours && !certs_dir_has(l->backup, name, NULL)) {
        return 0; /* there was none */
    }
    return trees_compare(l->dir, name, l->backup, name, ours ? CERTS_DIR_HOSTS : NULL);
}

static int return_entry(int from_dir, const char *from, int to_dir, const char *to, unsigned depth);

/* Of a directory that is on both sides. */
static int return_children(int from, int to, unsigned depth)
{
    struct text_list names = {0};
    int r = files_list(from, &names, NULL);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        r = return_entry(from, names.items[i], to, names.items[i], depth + 1);
    }
    text_list_done(&names);
    return r;
}

static int return_entry(int from_dir, const char *from, int to_dir, const char *to, unsigned depth)
{
    bool directory = false, closed = trees_is_closed(from_dir, from);
    if (closed && !certs_dir_has(to_dir, to, NULL)) {
        return renameat(from_dir, from, to_dir, to) < 0 ? -errno : 0;
    }
    if (!closed || !certs_dir_has(from_dir, from, &directory) || !directory) {
        return 0;
    }
    int child = openat(from_dir, from, FILES_DIRECTORY_FLAGS);
    int fd = child < 0 ? -1 : openat(to_dir, to, FILES_DIRECTORY_FLAGS);
    int r = fd < 0 || depth >= LIMIT_CERTSD_DEPTH ? -EACCES : return_children(child, fd, depth);
    (void)(child < 0 || close(child));
    (void)(fd < 0 || close(fd));
    return r;
}

int originals_move(const struct certs_dir *l, const char *name)
{
    return certs_dir_has(l->backup, name, NULL) ? return_entry(l->dir, name, l->backup, name, 0)
                                                : 0;
}

int originals_move_back(const struct certs_dir *l, const char *name)
{
    return certs_dir_has(l->dir, name, NULL) ? return_entry(l->backup, name, l->dir, name, 0) : 0;
}

int originals_leave_aside(const struct certs_dir *l, const char *name, struct error *err)
{
    char path[PATH_MAX], other[PATH_MAX];
    (void)snprintf(other, sizeof other, "%s.left", name);
    if (!certs_dir_has(l->dir, aside(name, path), NULL)) {
        return 0;
    }
    if (renameat2(l->dir, path, l->dir, other, RENAME_NOREPLACE) < 0) {
        return files_fail(err, "renaming", path);
    }
    certs_dir_notice(l, CERTSD_LEFT, name);
    return files_sync(l->dir, err);
}

int originals_return(const struct certs_dir *l, struct text_list *left, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(l->backup, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        int denied = return_entry(l->backup, name, l->dir, name, 0);
        bool leave = denied < 0 || trees_is_stuck(l->backup, name);
        if (denied == -ENOMEM || (leave && text_list_add(left, name) < 0)) {
            r = error_set(err, -ENOMEM, "out of memory");
        }
    }
    text_list_done(&names);
    return r < 0 ? r : files_sync(l->dir, err);
}
