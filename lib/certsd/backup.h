/* backup.h - `_backup`, inside containerd's registry configuration directory.
 *
 * It is a contract with the Go implementation in both directions. There, everything that was in the
 * directory is moved into it, and cleaning up deletes all but `_backup` and moves its content back.
 * Here everything is *copied* into it, so that what we do not replace stays in force, and such a
 * copy serves the other's cleanup just as well. The two must be told apart, since what is missing
 * outside was moved away in one and deleted by its owner in the other: beside a copy stands a file
 * `.spegel`. Its later runs, after a rollback say, delete everything but `_backup`, and so that
 * file too, which tells us to bring back what they deleted.
 *
 * All calls block. Every step leaves a state from which the same run, done again, goes on. */
#pragma once

#include "base/error.h"
#include "base/text_list.h"
#include "certsd/certs_dir.h"

/* Makes `_backup`: everything that may be read, but bootstrap files, copied; complete before it has
 * its name. */
int backup_make(struct certs_dir *l, struct error *err);

/* Takes `<name>` as it stands now into `_backup`, in place of what that has of it. What differs by
 * its owner alone is not touched: either may be the original. */
int backup_renew(const struct certs_dir *l, const char *name, struct error *err);

/* After the Go implementation has run, makes the backup one of ours: bootstrap files that it moved
 * there are gone, what it generated gives way to what had been there, and what it had moved away or
 * deleted is in force again, but what may not be read: that stays in `_backup`, whence cleaning up
 * moves it. Else does nothing. */
int backup_adopt(struct certs_dir *l, struct error *err);

/* Removes `_backup`, at once as far as anybody can see. If it has something that cannot be put back
 * (the names in `left` so far, to which is added) it gets CERTS_DIR_LEFT for its name instead. */
int backup_drop(struct certs_dir *l, struct text_list *left, struct error *err);
