/* configure.h - containerd pointed at the mirror.
 *
 * For each registry, <path>/<host | _default>/hosts.toml is replaced, atomically, 0644 or, where it
 * carries a password, 0600. What was there is in `_backup` (certs_dir.h) before. Other directories
 * stay in force and are named as not mirrored; what an earlier run wrote for a registry that is not
 * among them now is taken back. A name that fails does not stop the others; one that we have not
 * the rights for is no failure, but told (notice.h). Done twice it changes nothing; interrupted
 * anywhere and done again it ends the same. Blocks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "certsd/notice.h"

struct configure_spec {
    const char *path;
    char *const *registries; /* see registry_url.h; none: _default */
    size_t registry_count;
    char *const *targets; /* in the order containerd asks them; at least one */
    size_t target_count;
    bool resolve_tags;
    bool prepend_existing;     /* the hosts a registry has of its own are kept, behind the mirror */
    const char *authorization; /* "Basic …", see credentials.h; NULL: no basic auth */
    const char *node_id;       /* the X-Spegel-Node header; NULL: none */
};

/* 0, or a negative errno with a sentence. -EINVAL: an argument is wrong, or a hosts.toml to be kept
 * is no TOML; nothing was written then. `notices` may be NULL. */
int certsd_configure(const struct configure_spec *spec, const struct certsd_notices *notices,
                     struct error *err);
