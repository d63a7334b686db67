/* saved.h - what `_backup` (backup.h) has of a registry's hosts.toml.
 *
 * A link in it is followed within the backup, else from where it stood before it was backed up.
 * All calls block. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "certsd/certs_dir.h"

/* The user's hosts.toml of this registry; -ENOENT if there is none, or a bootstrap file, which is
 * not the user's. `out` is empty before, and after -ENOENT. */
int saved_read(const struct certs_dir *l, const char *name, struct buf *out, mode_t *ret_mode,
               struct error *err);

/* The same with a bootstrap file, which the Go implementation may have moved there. */
int saved_read_any(const struct certs_dir *l, const char *name, struct buf *out, mode_t *ret_mode,
                   struct error *err);
