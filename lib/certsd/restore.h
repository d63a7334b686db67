/* restore.h - what `_backup` has, brought back.
 *
 * By a copy, so that it stands in both, unless the copy could not belong to its owner; then what is
 * in force is the original. All calls block. Every step leaves a state from which the same run,
 * done again, goes on. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "certsd/certs_dir.h"

/* Takes back a <name> whose hosts.toml is generated or a bootstrap file: what `_backup` has takes
 * its place, else it goes, and its directory with it if nothing else is in there. -EACCES, with
 * nothing changed but perhaps CERTS_DIR_STAGED, where we may not. */
int restore_retire(const struct certs_dir *l, const char *name, struct error *err);

/* Makes CERTS_DIR_STAGED of what `_backup` has of <name>, to be put in force. -EACCES if something
 * in it may not be read. */
int restore_stage(const struct certs_dir *l, const char *name, struct error *err);

/* Whether nothing but hosts.toml is in the directory. */
int restore_is_only_hosts(int fd, bool *ret_only, struct error *err);

/* Removes <name> from the directory `from`, at once as far as anybody can see. */
int restore_remove(const struct certs_dir *l, int from, const char *name, struct error *err);
