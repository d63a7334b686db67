#include "certsd/cleanup.h"

#include <errno.h>

#include "certsd/backup.h"

static int clean_entry(struct certs_dir *l, const char *name, void *user, struct error *err)
{
    (void)user;
    enum hosts_owner owner;
    int r = certs_dir_owner(l, name, &owner, err);
    /* Without a backup, a file in our form is not known to be ours. */
    bool ours = owner == HOSTS_BOOTSTRAP || (owner == HOSTS_GENERATED && l->backup >= 0);
    return r < 0 || !ours ? r : backup_retire(l, name, err);
}

int certsd_cleanup(const char *path, const struct certsd_notices *notices, struct error *err)
{
    struct certs_dir l;
    int r = certs_dir_open(&l, path, false, notices, err);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    r = backup_adopt(&l, err);
    r = r < 0 ? r : certs_dir_each(&l, clean_entry, NULL, err);
    r = r < 0 || l.backup < 0 ? r : backup_drop(&l, err);
    certs_dir_close(&l);
    return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}
