#include "certsd/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "certsd/files.h"
#include "certsd/hosts.h"
#include "certsd/origin.h"
#include "certsd/saved.h"
#include "certsd/trees.h"

/* Whether the saved one may have been changed later than the one in force; of a link nobody can
 * tell. */
static bool saved_is_newer(const struct certs_dir *l, const char *name, const char *path)
{
    struct stat here, saved;
    bool directory = false;
    if (!certs_dir_has(l->backup, name, &directory) || !directory ||
        fstatat(l->dir, path, &here, 0) < 0 ||
        fstatat(l->backup, path, &saved, AT_SYMLINK_NOFOLLOW) < 0 || S_ISLNK(saved.st_mode)) {
        return true;
    }
    return saved.st_ctim.tv_sec != here.st_ctim.tv_sec
               ? saved.st_ctim.tv_sec > here.st_ctim.tv_sec
               : saved.st_ctim.tv_nsec > here.st_ctim.tv_nsec;
}

static int find_origin(const struct certs_dir *l, const char *name, const char *path,
                       const struct buf *text, enum origin *ret_origin)
{
    struct buf saved;
    struct error inner = {0};
    buf_init(&saved, LIMIT_HOSTS_TOML_BYTES);
    int r = saved_read_any(l, name, &saved, NULL, &inner);
    const struct origin_file file = {
        .name = name,
        .text = text->len ? text->data : "",
        .bytes = text->len,
        .saved = r < 0       ? NULL
                 : saved.len ? saved.data
                             : "",
        .saved_bytes = saved.len,
        .saved_is_unknown = r < 0 && r != -ENOENT,
        .saved_is_newer = r == 0 && saved_is_newer(l, name, path),
        .moved = l->moved,
    };
    r = r == -ENOMEM ? r : origin_find(&file, ret_origin);
    buf_done(&saved);
    return r;
}

int owner_find(const struct certs_dir *l, const char *name, enum hosts_owner *ret_owner,
               struct error *err)
{
    char path[PATH_MAX];
    struct buf text;
    struct error inner = {0};
    enum hosts_owner owner = HOSTS_USER; /* what cannot be read is not by us */
    enum origin origin;
    (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, name);
    buf_init(&text, LIMIT_HOSTS_TOML_BYTES);
    int r = files_read(l->dir, path, &text, NULL, &inner);
    if (r == -ENOENT) {
        owner = HOSTS_NONE;
    } else if (r == 0 && hosts_is_bootstrap(text.data, text.len)) {
        owner = HOSTS_BOOTSTRAP;
    } else if (r == 0 && (r = find_origin(l, name, path, &text, &origin)) == 0) {
        owner = origin == ORIGIN_GENERATED ? HOSTS_GENERATED
                : origin == ORIGIN_EDITED  ? HOSTS_EDITED
                                           : HOSTS_USER;
    }
    buf_done(&text);
    if (r == -ENOMEM) {
        return error_set(err, r, "out of memory");
    }
    *ret_owner = owner;
    return 0;
}

static int keep_edit(const struct certs_dir *l, const char *name, struct error *err)
{
    int fd = openat(l->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int saved = fd < 0 ? -1 : openat(l->backup, name, FILES_DIRECTORY_FLAGS);
    int r = saved < 0 ? files_fail(err, "opening", name)
                      : trees_copy(fd, CERTS_DIR_HOSTS, saved, CERTS_DIR_EDITED, err);
    r = r < 0 ? r : files_sync(saved, err);
    r = r < 0 && !files_is_denied(r) ? r
                                     : trees_copy(fd, CERTS_DIR_HOSTS, fd, CERTS_DIR_EDITED, err);
    r = r < 0 ? r : files_sync(fd, err);
    (void)(saved < 0 || close(saved));
    (void)(fd < 0 || close(fd));
    if (r == 0) {
        certs_dir_notice(l, CERTSD_EDITED, name);
    }
    return r;
}

int owner_settle(const struct certs_dir *l, const char *name, enum hosts_owner *ret_owner,
                 struct error *err)
{
    enum hosts_owner owner = HOSTS_USER;
    int r = owner_find(l, name, &owner, err);
    if (r == 0 && owner == HOSTS_EDITED) {
        r = keep_edit(l, name, err);
        owner = HOSTS_GENERATED;
    }
    if (r == 0) {
        *ret_owner = owner;
    }
    return r;
}
