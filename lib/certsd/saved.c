#include "certsd/saved.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "certsd/files.h"
#include "certsd/hosts.h"

/* Where the link `name` in `dir` led from `base`; false if it is no link or the path is too long.
 */
static bool link_path(int dir, const char *name, const char *base, const char *more, char *path,
                      size_t bytes)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
    if (n <= 0) {
        return false;
    }
    target[n] = 0;
    int written = snprintf(path, bytes, "%s%s%s", target[0] == '/' ? "" : base, target, more);
    return written > 0 && (size_t)written < bytes;
}

int saved_read_any(const struct certs_dir *l, const char *name, struct buf *out, mode_t *ret_mode,
                   struct error *err)
{
    char path[PATH_MAX], base[PATH_MAX];
    if (l->backup < 0) {
        return -ENOENT;
    }
    (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, name);
    int r = files_read(l->backup, path, out, ret_mode, err);
    if (r != -ENOENT) {
        return r;
    }
    if (link_path(l->backup, name, "", "/" CERTS_DIR_HOSTS, base, sizeof base)) {
        return files_read(l->dir, base, out, ret_mode, err);
    }
    (void)snprintf(base, sizeof base, "%s/", name);
    char from[PATH_MAX];
    return link_path(l->backup, path, base, "", from, sizeof from)
               ? files_read(l->dir, from, out, ret_mode, err)
               : -ENOENT;
}

int saved_read(const struct certs_dir *l, const char *name, struct buf *out, mode_t *ret_mode,
               struct error *err)
{
    mode_t mode;
    int r = saved_read_any(l, name, out, &mode, err);
    if (r == 0 && hosts_is_bootstrap(out->data, out->len)) {
        buf_clear(out);
        return -ENOENT;
    }
    if (r == 0 && ret_mode) {
        *ret_mode = mode;
    }
    return r;
}
