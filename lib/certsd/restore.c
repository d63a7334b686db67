#include "certsd/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text_list.h"
#include "certsd/files.h"
#include "certsd/originals.h"
#include "certsd/trees.h"

#define STAGED CERTS_DIR_STAGED
#define RETIRED CERTS_DIR_RETIRED

int restore_stage(const struct certs_dir *l, const char *name, struct error *err)
{
    struct trees_losses losses = {0};
    int r = trees_copy_some(l->backup, name, l->dir, STAGED, TREES_READABLE, &losses, err);
    if (r == 0 && losses.unread) {
        r = trees_remove(l->dir, STAGED, err);
        return r < 0 ? r : error_set(err, -EACCES, "%s in the backup may not be read", name);
    }
    if (r == 0 && losses.owner &&
        renameat2(l->dir, STAGED, l->backup, name, RENAME_EXCHANGE) == 0) {
        r = files_sync(l->backup, err);
    }
    return r;
}

/* <name> is a directory that we may have made: what the backup has takes its place whole, with the
 * files added since beside it if it is a directory too. */
static int restore_whole(const struct certs_dir *l, const char *name, bool merge, struct error *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, STAGED "/" CERTS_DIR_HOSTS);
    int r = restore_stage(l, name, err);
    bool has_hosts = certs_dir_has(l->dir, path, NULL);
    if (r == 0 && merge) {
        r = trees_copy_some(l->dir, name, l->dir, STAGED, TREES_MISSING, NULL, err);
        r = r < 0 || has_hosts ? r : trees_remove(l->dir, path, err);
    }
    return r < 0 ? r : certs_dir_take_place(l, l->dir, name, err);
}

/* What had been moved away whole, with something in it that may not be read, has not come back
 * until now. */
static int restore_rest(const struct certs_dir *l, int saved, int fd, const char *name,
                        struct error *err)
{
    struct stat st;
    int r =
        trees_copy_some(l->backup, name, l->dir, name, TREES_READABLE | TREES_MISSING, NULL, err);
    if (r == 0 && (fstat(saved, &st) < 0 || fchmod(fd, st.st_mode & 07777) < 0)) {
        r = files_fail(err, "restoring", name);
    }
    return files_is_denied(r) ? 0 : r;
}

/* Puts in force a copy if it is as good as the original, which then stays where nobody can lose it,
 * else the original if that can be moved. */
static int restore_hosts_from(int saved, int fd, bool *ret_restored, struct error *err)
{
    struct trees_losses losses = {0};
    *ret_restored = certs_dir_has(saved, CERTS_DIR_HOSTS, NULL);
    if (!*ret_restored) {
        return trees_remove(fd, CERTS_DIR_HOSTS, err);
    }
    int r = trees_copy_some(saved, CERTS_DIR_HOSTS, fd, STAGED, TREES_READABLE, &losses, err);
    bool moved = r == 0 && (losses.unread || losses.owner) &&
                 renameat(saved, CERTS_DIR_HOSTS, fd, CERTS_DIR_HOSTS) == 0;
    if (r == 0 && !moved && losses.unread) {
        *ret_restored = false;
        return trees_remove(fd, CERTS_DIR_HOSTS, err);
    }
    if (r == 0 && !moved && renameat(fd, STAGED, fd, CERTS_DIR_HOSTS) < 0) {
        r = files_fail(err, "restoring", CERTS_DIR_HOSTS);
    }
    return r < 0 || !moved ? r : trees_remove(fd, STAGED, err);
}

static int restore_hosts(const struct certs_dir *l, int fd, const char *name, bool *ret_restored,
                         struct error *err)
{
    int saved = l->backup < 0 ? -1 : openat(l->backup, name, FILES_DIRECTORY_FLAGS);
    bool denied = saved < 0 && errno == EACCES;
    bool closed = saved >= 0 && trees_is_closed(l->backup, name);
    /* hosts.toml last, by which the next run sees that all this is to be done. */
    int r = closed ? restore_rest(l, saved, fd, name, err) : 0;
    r = r < 0 ? r : restore_hosts_from(saved, fd, ret_restored, err);
    r = r < 0 ? r : files_sync(fd, err);
    if (r == 0 && denied) {
        (void)unlinkat(l->dir, name, AT_REMOVEDIR); /* so that the original can be moved there */
    }
    if (saved >= 0) {
        (void)close(saved);
    }
    return r;
}

int restore_is_only_hosts(int fd, bool *ret_only, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(fd, &names, err);
    *ret_only = r == 0 && names.count == 1 && !strcmp(names.items[0], CERTS_DIR_HOSTS);
    text_list_done(&names);
    return r;
}

int restore_remove(const struct certs_dir *l, int from, const char *name, struct error *err)
{
    if (renameat(from, name, l->dir, RETIRED) < 0) {
        return files_fail(err, "removing", name);
    }
    int r = files_sync(from, err);
    return r < 0 ? r : trees_remove(l->dir, RETIRED, err);
}

int restore_retire(const struct certs_dir *l, const char *name, struct error *err)
{
    bool saved_directory = false, restored = true;
    bool saved = certs_dir_has(l->backup, name, &saved_directory);
    int fd = openat(l->dir, name, FILES_DIRECTORY_FLAGS);
    if (fd < 0) {
        return 0; /* a link, and so not made by us, whatever it leads to */
    }
    bool only = false, aside = originals_is_aside(l, name);
    int r = saved ? 0 : restore_is_only_hosts(fd, &only, err);
    if (r == 0 && aside) {
        r = originals_take_back(l, name, err);
    } else if (r == 0 && saved && (l->moved || !saved_directory)) {
        r = restore_whole(l, name, saved_directory, err);
    } else if (r == 0 && only) {
        restored = false;
        r = restore_remove(l, l->dir, name, err);
    } else if (r == 0) {
        r = restore_hosts(l, fd, name, &restored, err);
        r = r < 0 ? r : originals_leave_aside(l, name, err);
    }
    (void)close(fd);
    if (r < 0) {
        return error_wrap(err, r, "%s", name);
    }
    certs_dir_notice(l, restored ? CERTSD_RESTORED : CERTSD_REMOVED, name);
    return 0;
}
