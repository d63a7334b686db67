#include "certsd/certs_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text_list.h"
#include "certsd/files.h"
#include "certsd/trees.h"

#define STAGED CERTS_DIR_STAGED
#define RETIRED CERTS_DIR_RETIRED

bool certs_dir_is_ours(const char *name)
{
    return !strcmp(name, CERTS_DIR_BACKUP) || !strcmp(name, CERTS_DIR_COPIED) ||
           !strncmp(name, CERTS_DIR_ASIDE, strlen(CERTS_DIR_ASIDE)) ||
           !strncmp(name, FILES_TEMPORARY, strlen(FILES_TEMPORARY));
}

static int remove_leftovers(int dir, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        if (!strncmp(name, FILES_TEMPORARY, strlen(FILES_TEMPORARY))) {
            r = trees_remove(dir, name, err);
        }
    }
    text_list_done(&names);
    return r;
}

static int remove_leftovers_within(struct certs_dir *l, const char *name, void *user,
                                   struct error *err)
{
    (void)user;
    int fd = openat(l->dir, name, FILES_DIRECTORY_FLAGS);
    if (fd < 0) {
        return 0;
    }
    int r = files_may_change(l->dir, name) ? remove_leftovers(fd, err) : 0;
    (void)close(fd);
    return r;
}

bool certs_dir_has(int dir, const char *name, bool *ret_directory)
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

static int open_backup(struct certs_dir *l, struct error *err)
{
    l->backup = openat(l->dir, CERTS_DIR_BACKUP, FILES_DIRECTORY_FLAGS);
    if (l->backup < 0) {
        return errno == ENOENT ? trees_remove(l->dir, CERTS_DIR_COPIED, err)
                               : files_fail(err, "opening", CERTS_DIR_BACKUP);
    }
    l->moved = !certs_dir_has(l->dir, CERTS_DIR_COPIED, NULL);
    return 0;
}

int certs_dir_open(struct certs_dir *l, const char *path, bool create,
                   const struct certsd_notices *notices, struct error *err)
{
    *l = (struct certs_dir){.dir = -1, .backup = -1, .notices = notices};
    int r = 0;
    if (create) {
        r = files_make_path(path, &l->dir, err);
    } else {
        l->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = l->dir >= 0 ? 0 : files_fail(err, "opening directory", path);
    }
    if (r < 0) {
        return r;
    }
    /* Not every file system has locks; without one, two runs at once are the caller's to avoid. */
    (void)flock(l->dir, LOCK_EX);
    r = remove_leftovers(l->dir, err);
    r = r < 0 ? r : open_backup(l, err);
    r = r < 0 ? r : certs_dir_each(l, remove_leftovers_within, NULL, err);
    if (r < 0) {
        certs_dir_close(l);
    }
    return r;
}

void certs_dir_close(struct certs_dir *l)
{
    if (l->backup >= 0) {
        (void)close(l->backup);
    }
    if (l->dir >= 0) {
        (void)close(l->dir);
    }
    l->dir = l->backup = -1;
}

void certs_dir_notice(const struct certs_dir *l, enum certsd_event event, const char *name)
{
    if (l->notices && l->notices->on_event) {
        l->notices->on_event(l->notices->user, event, name);
    }
}

int certs_dir_take_place(const struct certs_dir *l, int to, const char *name, struct error *err)
{
    int r = renameat2(l->dir, STAGED, to, name, RENAME_EXCHANGE);
    if (r < 0 && errno == ENOENT) {
        r = renameat(l->dir, STAGED, to, name);
        return r < 0 ? files_fail(err, "replacing", name) : files_sync(to, err);
    }
    /* A file system without the exchange gets a moment in which <name> is missing. */
    if (r < 0 &&
        (renameat(to, name, l->dir, RETIRED) < 0 || renameat(l->dir, STAGED, to, name) < 0)) {
        return files_fail(err, "replacing", name);
    }
    r = files_sync(to, err);
    r = r < 0 ? r : trees_remove(l->dir, STAGED, err);
    return r < 0 ? r : trees_remove(l->dir, RETIRED, err);
}

static int stage_directory(const struct certs_dir *l, const char *name, bool keep, int *ret_fd,
                           struct error *err)
{
    int r = 0;
    int source = keep ? openat(l->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (source >= 0) {
        r = trees_copy(source, ".", l->dir, STAGED, err);
        (void)close(source);
    } else if (mkdirat(l->dir, STAGED, 0755) < 0) {
        r = files_fail(err, "making directory", name);
    }
    int fd = r < 0 ? -1 : openat(l->dir, STAGED, FILES_DIRECTORY_FLAGS);
    if (r == 0 && (fd < 0 || (source < 0 && fchmod(fd, 0755) < 0))) {
        r = files_fail(err, "making directory", name);
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

int certs_dir_install(const struct certs_dir *l, const char *name, const struct buf *text,
                      mode_t mode, bool keep, struct error *err)
{
    int fd = openat(l->dir, name, FILES_DIRECTORY_FLAGS);
    bool staged = fd < 0;
    if (staged && errno == EACCES) {
        return files_fail(err, "opening", name);
    }
    int r = staged ? stage_directory(l, name, keep, &fd, err) : 0;
    if (r == 0) {
        r = files_replace(fd, CERTS_DIR_HOSTS, text->data, text->len, mode, err);
        (void)close(fd);
    }
    r = r < 0 || !staged ? r : certs_dir_take_place(l, l->dir, name, err);
    return r < 0 ? error_wrap(err, r, "%s", name) : 0;
}

int certs_dir_each(const struct certs_dir *l,
                   int (*each)(struct certs_dir *l, const char *name, void *user,
                               struct error *err),
                   void *user, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(l->dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        if (!certs_dir_is_ours(names.items[i])) {
            r = each((struct certs_dir *)l, names.items[i], user, err);
        }
    }
    text_list_done(&names);
    return r;
}
