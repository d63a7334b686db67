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
    bool says_path, says_discards;         /* what is not said is not known */
    char path[CONTAINERD_TOML_PATH_BYTES]; /* config_path; may be several, with colons between */
    bool discards;                         /* discard_unpacked_layers */
};

/* Pure. 0, or -EINVAL with the line that is no TOML. */
int containerd_toml_parse(const char *text, size_t bytes, struct containerd_toml *ret_config,
                          struct error *err);

/* Reads a file. 0; -ENOENT and such, which is common where it is not for us to see. Blocks. */
int containerd_toml_read(const char *path, struct containerd_toml *ret_config, struct error *err);
