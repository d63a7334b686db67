#include "certsd/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text_list.h"
#include "certsd/files.h"
#include "certsd/hosts.h"
#include "certsd/origin.h"
#include "certsd/originals.h"
#include "certsd/owner.h"
#include "certsd/restore.h"
#include "certsd/saved.h"
#include "certsd/trees.h"

#define STAGED CERTS_DIR_STAGED
#define RETIRED CERTS_DIR_RETIRED
#define COPIED_TEXT "_backup is a copy of what was here. spegel cleanup puts it back.\n"

static int tolerate_denied(const struct certs_dir *l, int r)
{
    return files_is_denied(r) ? trees_remove(l->dir, STAGED, NULL) : r;
}

/* A bootstrap file is ours: it goes from the copy, and a directory that held nothing else with
 * it. */
static int back_up_entry(struct certs_dir *l, const char *name, void *user, struct error *err)
{
    int staged = *(int *)user;
    enum hosts_owner owner;
    bool directory = false;
    int r = trees_copy_some(l->dir, name, staged, name, TREES_READABLE, NULL, err);
    r = r < 0 ? r : owner_find(l, name, &owner, err);
    if (r < 0 || owner != HOSTS_BOOTSTRAP || !certs_dir_has(staged, name, &directory) ||
        !directory) {
        return r;
    }
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/" CERTS_DIR_HOSTS, name);
    if (unlinkat(staged, path, 0) < 0 ||
        (unlinkat(staged, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST)) {
        r = files_fail(err, "backing up", name);
        return files_is_denied(r) ? 0 : r;
    }
    return 0;
}

static int mark_copied(struct certs_dir *l, struct error *err)
{
    int r = files_replace(l->dir, CERTS_DIR_COPIED, COPIED_TEXT, sizeof COPIED_TEXT - 1, 0644, err);
    l->moved = r < 0 && l->moved;
    return r;
}

int backup_make(struct certs_dir *l, struct error *err)
{
    if (mkdirat(l->dir, STAGED, 0700) < 0) {
        return files_fail(err, "making", CERTS_DIR_BACKUP);
    }
    int staged = openat(l->dir, STAGED, FILES_DIRECTORY_FLAGS);
    if (staged < 0) {
        return files_fail(err, "making", CERTS_DIR_BACKUP);
    }
    int r = certs_dir_each(l, back_up_entry, &staged, err);
    if (r == 0 && (fsync(staged) < 0 || renameat(l->dir, STAGED, l->dir, CERTS_DIR_BACKUP) < 0)) {
        r = files_fail(err, "making", CERTS_DIR_BACKUP);
    }
    r = r < 0 ? r : files_sync(l->dir, err);
    r = r < 0 ? r : mark_copied(l, err);
    if (r < 0) {
        (void)close(staged);
        return r;
    }
    l->backup = staged;
    certs_dir_notice(l, CERTSD_BACKED_UP, "");
    return 0;
}

int backup_renew(const struct certs_dir *l, const char *name, struct error *err)
{
    if (trees_compare(l->dir, name, l->backup, name, NULL) == TREES_OWNER) {
        return 0;
    }
    int r = trees_copy_some(l->dir, name, l->dir, STAGED, TREES_READABLE, NULL, err);
    if (r < 0 || !certs_dir_has(l->dir, STAGED, NULL)) {
        return r; /* nothing that can be copied: a socket, say */
    }
    return certs_dir_take_place(l, l->backup, name, err);
}

static int retire_generated(struct certs_dir *l, const char *name, void *user, struct error *err)
{
    (void)user;
    enum hosts_owner owner = HOSTS_USER;
    int r = owner_settle(l, name, &owner, err);
    r = tolerate_denied(l, r);
    return r < 0 || owner != HOSTS_GENERATED ? r : tolerate_denied(l, restore_retire(l, name, err));
}

/* Somebody has made the directory again: it gets back what else had been in it, certificates say,
 * before what is there now takes the place of what is saved. */
static int return_missing(const struct certs_dir *l, const char *name, struct error *err)
{
    bool here = false, saved = false;
    (void)certs_dir_has(l->dir, name, &here);
    (void)certs_dir_has(l->backup, name, &saved);
    return here && saved ? trees_copy_some(l->backup, name, l->dir, name,
                                           TREES_READABLE | TREES_MISSING, NULL, err)
                         : 0;
}

static int return_whole(const struct certs_dir *l, const char *name, struct error *err)
{
    int r = restore_stage(l, name, err);
    if (r == 0 && renameat(l->dir, STAGED, l->dir, name) < 0) {
        r = files_fail(err, "restoring", name);
    }
    if (r == 0) {
        certs_dir_notice(l, CERTSD_RESTORED, name);
    }
    return r;
}

/* Brings back what was moved away and nobody has put there again. */
static int return_moved(const struct certs_dir *l, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(l->backup, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        if (!certs_dir_is_ours(name)) {
            r = certs_dir_has(l->dir, name, NULL) ? return_missing(l, name, err)
                                                  : return_whole(l, name, err);
            r = files_is_denied(r) ? 0 : r;
        }
    }
    text_list_done(&names);
    return r < 0 ? r : files_sync(l->dir, err);
}

/* Whether `_backup` has a directory of that name with a bootstrap file in it. */
static int is_saved_bootstrap(const struct certs_dir *l, const char *name, bool *ret_is,
                              struct error *err)
{
    bool directory = false;
    struct buf text;
    *ret_is = false;
    if (!certs_dir_has(l->backup, name, &directory) || !directory) {
        return 0;
    }
    buf_init(&text, LIMIT_HOSTS_TOML_BYTES);
    int r = saved_read_any(l, name, &text, NULL, NULL);
    *ret_is = r == 0 && hosts_is_bootstrap(text.data, text.len);
    buf_done(&text);
    return r == -ENOMEM ? error_set(err, r, "out of memory") : 0;
}

/* What the Go implementation took from the bootstrap file into its own goes first: without the
 * other it would be taken for the user's. */
static int forget_taken_hosts(const struct certs_dir *l, const char *name, struct error *err)
{
    enum hosts_owner owner;
    struct buf text;
    mode_t mode;
    int r = owner_find(l, name, &owner, err);
    int fd = r < 0 || owner != HOSTS_GENERATED ? -1 : openat(l->dir, name, FILES_DIRECTORY_FLAGS);
    if (fd < 0) {
        return r;
    }
    buf_init(&text, LIMIT_HOSTS_TOML_BYTES);
    r = files_read(fd, CERTS_DIR_HOSTS, &text, &mode, err);
    if (r == 0) {
        size_t own = origin_own_bytes(&(struct origin_file){
            .name = name, .text = text.data, .bytes = text.len, .moved = l->moved});
        r = own == text.len ? 0 : files_replace(fd, CERTS_DIR_HOSTS, text.data, own, mode, err);
    }
    buf_done(&text);
    (void)close(fd);
    return r;
}

/* The directory goes in one step where it held nothing else: an empty one, left by a crash between
 * two, would be taken for the user's. */
static int forget_bootstrap(const struct certs_dir *l, const char *name, struct error *err)
{
    bool bootstrap;
    int r = is_saved_bootstrap(l, name, &bootstrap, err);
    r = r < 0 || !bootstrap ? r : forget_taken_hosts(l, name, err);
    if (r < 0 || !bootstrap) {
        return r;
    }
    int fd = openat(l->backup, name, FILES_DIRECTORY_FLAGS);
    if (fd < 0) {
        return files_fail(err, "opening", name);
    }
    bool only;
    r = restore_is_only_hosts(fd, &only, err);
    if (r == 0 && !only) {
        r = trees_remove(fd, CERTS_DIR_HOSTS, err);
        r = r < 0 ? r : files_sync(fd, err);
    } else if (r == 0) {
        r = restore_remove(l, l->backup, name, err);
    }
    (void)close(fd);
    return r;
}

/* The Go implementation moves bootstrap files away with all else. */
static int forget_bootstraps(const struct certs_dir *l, struct error *err)
{
    struct text_list names = {0};
    int r = files_list(l->backup, &names, err);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        r = tolerate_denied(l, forget_bootstrap(l, names.items[i], err));
    }
    text_list_done(&names);
    return r;
}

int backup_adopt(struct certs_dir *l, struct error *err)
{
    if (l->backup < 0 || !l->moved) {
        return 0;
    }
    int r = forget_bootstraps(l, err);
    r = r < 0 ? r : certs_dir_each(l, retire_generated, NULL, err);
    r = r < 0 ? r : return_moved(l, err);
    r = r < 0 ? r : mark_copied(l, err);
    if (r == 0) {
        certs_dir_notice(l, CERTSD_ADOPTED, "");
    }
    return r;
}

/* It is a backup no more: to the Go implementation one says that all else may be deleted. */
static int leave(struct certs_dir *l, const struct text_list *left, struct error *err)
{
    if (renameat2(l->dir, CERTS_DIR_BACKUP, l->dir, CERTS_DIR_LEFT, RENAME_NOREPLACE) < 0) {
        return files_fail(err, "renaming the backup to", CERTS_DIR_LEFT);
    }
    (void)close(l->backup);
    l->backup = -1;
    int r = files_sync(l->dir, err);
    r = r < 0 ? r : trees_remove(l->dir, CERTS_DIR_COPIED, err);
    for (size_t i = 0; r == 0 && i < left->count; i++) {
        certs_dir_notice(l, CERTSD_LEFT, left->items[i]);
    }
    return r;
}

int backup_drop(struct certs_dir *l, struct text_list *left, struct error *err)
{
    int returned = originals_return(l, left, err);
    if (returned < 0 || left->count) {
        return returned < 0 ? returned : leave(l, left, err);
    }
    if (renameat(l->dir, CERTS_DIR_BACKUP, l->dir, RETIRED) < 0) {
        return files_fail(err, "removing", CERTS_DIR_BACKUP);
    }
    (void)close(l->backup);
    l->backup = -1;
    int r = files_sync(l->dir, err);
    r = r < 0 ? r : trees_remove(l->dir, CERTS_DIR_COPIED, err);
    r = r < 0 ? r : trees_remove(l->dir, RETIRED, err);
    if (r == 0) {
        certs_dir_notice(l, CERTSD_CLEANED, "");
    }
    return r;
}
