#include "certsd/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text_list.h"
#include "certsd/files.h"
#include "certsd/hosts.h"

#define STAGED LAYOUT_STAGED
#define RETIRED LAYOUT_RETIRED

static int fail(struct error *err, const char *what, const char *name)
{
    int code = -errno;
    return error_set(err, code, "%s %s: %s", what, name, strerror(-code));
}

bool layout_is_ours(const char *name)
{
    return !strcmp(name, LAYOUT_BACKUP) || !strncmp(name, FILES_TEMPORARY, strlen(FILES_TEMPORARY));
}

static int remove_leftovers(int dir, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        if (!strncmp(name, FILES_TEMPORARY, strlen(FILES_TEMPORARY))) {
            r = files_remove(dir, name, err);
        }
    }
    text_list_done(&names);
    return r;
}

static int remove_leftovers_within(struct layout *l, const char *name, void *user,
                                   struct error *err)
{
    (void)user;
    int fd = openat(l->dir, name, LAYOUT_DIRECTORY_FLAGS);
    if (fd < 0) {
        return 0;
    }
    int r = remove_leftovers(fd, err);
    (void)close(fd);
    return r;
}

static int open_backup(struct layout *l, struct error *err)
{
    struct stat st;
    l->backup = openat(l->dir, LAYOUT_BACKUP, LAYOUT_DIRECTORY_FLAGS);
    if (l->backup < 0) {
        return errno == ENOENT ? 0 : fail(err, "opening", LAYOUT_BACKUP);
    }
    if (fstat(l->backup, &st) < 0) {
        return fail(err, "looking at", LAYOUT_BACKUP);
    }
    l->moved = !(st.st_mode & S_ISVTX);
    return 0;
}

int layout_open(struct layout *l, const char *path, bool create,
                const struct certsd_notices *notices, struct error *err)
{
    *l = (struct layout){.dir = -1, .backup = -1, .notices = notices};
    int r = 0;
    if (create) {
        r = files_make_path(path, &l->dir, err);
    } else {
        l->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = l->dir >= 0 ? 0 : fail(err, "opening directory", path);
    }
    if (r < 0) {
        return r;
    }
    /* Not every file system has locks; without one, two runs at once are the caller's to avoid. */
    (void)flock(l->dir, LOCK_EX);
    r = remove_leftovers(l->dir, err);
    r = r < 0 ? r : open_backup(l, err);
    r = r < 0 ? r : layout_each(l, remove_leftovers_within, NULL, err);
    if (r < 0) {
        layout_close(l);
    }
    return r;
}

void layout_close(struct layout *l)
{
    if (l->backup >= 0) {
        (void)close(l->backup);
    }
    if (l->dir >= 0) {
        (void)close(l->dir);
    }
    l->dir = l->backup = -1;
}

void layout_notice(const struct layout *l, enum certsd_event event, const char *name)
{
    if (l->notices && l->notices->on_event) {
        l->notices->on_event(l->notices->user, event, name);
    }
}

bool layout_has(int dir, const char *name, bool *ret_directory)
{
    struct stat st;
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return false;
    }
    if (ret_directory) {
        *ret_directory = S_ISDIR(st.st_mode);
    }
    return true;
}

int layout_owner(const struct layout *l, const char *name, enum hosts_owner *ret_owner,
                 struct error *err)
{
    char path[PATH_MAX];
    struct buf text;
    struct error inner = {0};
    (void)snprintf(path, sizeof path, "%s/" LAYOUT_HOSTS, name);
    buf_init(&text, LIMIT_HOSTS_TOML_BYTES);
    int r = files_read(l->dir, path, &text, NULL, &inner);
    if (r == -ENOMEM) {
        buf_done(&text);
        return error_set(err, r, "out of memory");
    }
    /* What we could not have written or cannot read is somebody else's. */
    *ret_owner = r == -ENOENT                              ? HOSTS_NONE
                 : r < 0                                   ? HOSTS_USER
                 : hosts_is_bootstrap(text.data, text.len) ? HOSTS_BOOTSTRAP
                 : hosts_is_generated(text.data, text.len) ? HOSTS_GENERATED
                                                           : HOSTS_USER;
    buf_done(&text);
    return 0;
}

int layout_take_place(const struct layout *l, int to, const char *name, struct error *err)
{
    int r = renameat2(l->dir, STAGED, to, name, RENAME_EXCHANGE);
    if (r < 0 && errno == ENOENT) {
        r = renameat(l->dir, STAGED, to, name);
        return r < 0 ? fail(err, "replacing", name) : files_sync(to, err);
    }
    /* A file system without the exchange gets a moment in which <name> is missing. */
    if (r < 0 &&
        (renameat(to, name, l->dir, RETIRED) < 0 || renameat(l->dir, STAGED, to, name) < 0)) {
        return fail(err, "replacing", name);
    }
    r = files_sync(to, err);
    r = r < 0 ? r : files_remove(l->dir, STAGED, err);
    return r < 0 ? r : files_remove(l->dir, RETIRED, err);
}

static int stage_directory(const struct layout *l, const char *name, bool keep, int *ret_fd,
                           struct error *err)
{
    int r = 0;
    int source = keep ? openat(l->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (source >= 0) {
        r = files_copy(source, ".", l->dir, STAGED, err);
        (void)close(source);
    } else if (mkdirat(l->dir, STAGED, 0755) < 0) {
        r = fail(err, "making directory", name);
    }
    int fd = r < 0 ? -1 : openat(l->dir, STAGED, LAYOUT_DIRECTORY_FLAGS);
    if (r == 0 && (fd < 0 || (source < 0 && fchmod(fd, 0755) < 0))) {
        r = fail(err, "making directory", name);
    }
    if (r < 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int layout_install(const struct layout *l, const char *name, const struct buf *text, mode_t mode,
                   bool keep, struct error *err)
{
    int fd = openat(l->dir, name, LAYOUT_DIRECTORY_FLAGS);
    bool staged = fd < 0;
    int r = staged ? stage_directory(l, name, keep, &fd, err) : 0;
    if (r == 0) {
        r = files_replace(fd, LAYOUT_HOSTS, text->data, text->len, mode, err);
        (void)close(fd);
    }
    r = r < 0 || !staged ? r : layout_take_place(l, l->dir, name, err);
    return r < 0 ? error_wrap(err, r, "%s", name) : 0;
}

int layout_each(const struct layout *l,
                int (*each)(struct layout *l, const char *name, void *user, struct error *err),
                void *user, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(l->dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        if (!layout_is_ours(names.items[i])) {
            r = each((struct layout *)l, names.items[i], user, err);
        }
    }
    text_list_done(&names);
    return r;
}
