#include "certsd/cleanup.h"

#include <errno.h>

#include "certsd/backup.h"
#include "certsd/files.h"
#include "certsd/originals.h"
#include "certsd/owner.h"
#include "certsd/restore.h"
#include "certsd/trees.h"

static int clean_entry(struct certs_dir *l, const char *name, void *user, struct error *err)
{
    enum hosts_owner owner = HOSTS_NONE;
    int r = owner_settle(l, name, &owner, err);
    /* Without a backup, a file in our form is not known to be ours. */
    bool ours = owner == HOSTS_BOOTSTRAP || (owner == HOSTS_GENERATED && l->backup >= 0);
    r = r < 0 || !ours ? r : restore_retire(l, name, err);
    if (files_is_denied(r)) {
        certs_dir_notice(l, CERTSD_DENIED, name);
        r = trees_remove(l->dir, CERTS_DIR_STAGED, err);
        r = r < 0 || text_list_add(user, name) == 0 ? r : error_set(err, -ENOMEM, "out of memory");
    }
    return r;
}

int certsd_cleanup(const char *path, const struct certsd_notices *notices, struct error *err)
{
    struct certs_dir l;
    struct text_list denied = {0};
    int r = certs_dir_open(&l, path, false, notices, err);
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    r = originals_recover(&l, err);
    r = r < 0 ? r : backup_adopt(&l, err);
    r = r < 0 ? r : certs_dir_each(&l, clean_entry, &denied, err);
    r = r < 0 || l.backup < 0 ? r : backup_drop(&l, &denied, err);
    text_list_done(&denied);
    certs_dir_close(&l);
    return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}
