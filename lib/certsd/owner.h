/* owner.h - whose a hosts.toml in containerd's registry configuration directory is.
 *
 * What `_backup` has tells what of a file that begins like ours is the user's: see origin.h. All
 * calls block. */
#pragma once

#include "base/error.h"
#include "certsd/certs_dir.h"

/* Who wrote <name>/hosts.toml. */
enum hosts_owner {
    HOSTS_NONE, /* there is none, or <name> is no directory */
    HOSTS_GENERATED,
    HOSTS_EDITED, /* generated, and what of it is the user's was changed since */
    HOSTS_BOOTSTRAP,
    HOSTS_USER,
};

/* What cannot be read is the user's. */
int owner_find(const struct certs_dir *l, const char *name, enum hosts_owner *ret_owner,
               struct error *err);

/* owner_find for a file that will be replaced or taken back if it is not the user's. One that is
 * generated and was edited is HOSTS_GENERATED, once it is copied to CERTS_DIR_EDITED, beside it and
 * in `_backup`. */
int owner_settle(const struct certs_dir *l, const char *name, enum hosts_owner *ret_owner,
                 struct error *err);
