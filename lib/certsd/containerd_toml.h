/* containerd_toml.h - containerd's own configuration file, as far as it decides whether images can
 * be shared: where hosts.toml is looked for, and whether layers are kept once they are unpacked.
 *
 * Of versions 2 and 3 of the file: [plugins."io.containerd.grpc.v1.cri".registry] and .containerd,
 * or [plugins."io.containerd.cri.v1.images".registry] and itself. Files that it imports are not
 * read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define CONTAINERD_TOML_PATH "/etc/containerd/config.toml"
#define CONTAINERD_TOML_PATH_BYTES 1024

struct containerd_toml {
    bool says_path;                        /* what is not said is not known */
    char path[CONTAINERD_TOML_PATH_BYTES]; /* config_path; may be several, with colons between */
    /* discard_unpacked_layers, where 2.x looks for it and where 1.x does: 2.1.9 takes config_path
     * over from a file of version 2, but not this */
    bool says_discards, discards;
    bool says_discards_1x, discards_1x;
};

/* Pure. 0, or -EINVAL with the line that is no TOML. */
int containerd_toml_parse(const char *text, size_t bytes, struct containerd_toml *ret_config,
                          struct error *err);

/* Reads a file. 0; -ENOENT and such, which is common where it is not for us to see. Blocks. */
int containerd_toml_read(const char *path, struct containerd_toml *ret_config, struct error *err);
