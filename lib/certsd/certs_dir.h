/* certs_dir.h - containerd's registry configuration directory: what stands in it.
 *
 * All calls block. Every step leaves a state from which the same run, done again, goes on. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "certsd/files.h"
#include "certsd/notice.h"

#define CERTS_DIR_BACKUP "_backup"
#define CERTS_DIR_COPIED ".spegel"    /* `_backup` is a copy: see backup.h */
#define CERTS_DIR_ASIDE ".spegel."    /* begins the name of what is put aside: see originals.h */
#define CERTS_DIR_LEFT "_backup.left" /* what cleaning up could not put back */
#define CERTS_DIR_HOSTS "hosts.toml"
#define CERTS_DIR_EDITED "hosts.toml.edited"        /* a changed one of ours: see owner.h */
#define CERTS_DIR_STAGED FILES_TEMPORARY "staged"   /* what will take a name */
#define CERTS_DIR_RETIRED FILES_TEMPORARY "retired" /* what lost its name */

struct certs_dir {
    int dir;
    int backup; /* -1: there is none */
    bool moved; /* the Go implementation ran last: what `_backup` has is nowhere else */
    const struct certsd_notices *notices;
};

/* Opens and locks the directory (waiting for another run to end) and removes what an interrupted
 * run left under temporary names. `notices` must outlive it. Without `create`, a directory that is
 * missing is -ENOENT. */
int certs_dir_open(struct certs_dir *l, const char *path, bool create,
                   const struct certsd_notices *notices, struct error *err);
void certs_dir_close(struct certs_dir *l);

void certs_dir_notice(const struct certs_dir *l, enum certsd_event event, const char *name);

/* Whether <name> is there, a link not followed. */
bool certs_dir_has(int dir, const char *name, bool *ret_directory);

/* Replaces <name>/hosts.toml; a <name> that is no directory gives way to one, which (with `keep`)
 * has all that a link led to. */
int certs_dir_install(const struct certs_dir *l, const char *name, const struct buf *text,
                      mode_t mode, bool keep, struct error *err);

/* Whether the name is `_backup`, the mark beside it, put aside, or temporary. */
bool certs_dir_is_ours(const char *name);

/* Puts CERTS_DIR_STAGED in the place of <name> in the directory `to`, in one step, and removes what
 * was there. */
int certs_dir_take_place(const struct certs_dir *l, int to, const char *name, struct error *err);

/* Calls `each` for every name in the directory but our own; stops at the first failure. */
int certs_dir_each(const struct certs_dir *l,
                   int (*each)(struct certs_dir *l, const char *name, void *user,
                               struct error *err),
                   void *user, struct error *err);
