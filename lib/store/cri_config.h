/* cri_config.h - what containerd's CRI plugin says of its configuration, as far as it decides
 * whether images can be shared at all.
 *
 * RuntimeService.Status(verbose) has it as JSON, info["config"], in containerd 1.x. In 2.x images
 * are another plugin's business, whose configuration no call exposes: then nothing is known. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CRI_CONFIG_PATH_BYTES 1024

struct cri_config {
    bool knows_path; /* registry.config_path */
    bool knows_discards;
    bool discards;                    /* discard_unpacked_layers */
    char path[CRI_CONFIG_PATH_BYTES]; /* "": none; may be several, with colons between them */
};

/* info["config"]. 0 with what it says, which may be nothing; -EPROTO for what is no such JSON,
 * -E2BIG, -ENOMEM. */
int cri_config_parse(const char *json, size_t bytes, struct cri_config *ret_config,
                     struct error *err);

/* A whole StatusResponse. 0, -ENOENT without info["config"] (CRI is disabled, or says less), and as
 * above. */
int cri_config_read(const uint8_t *response, size_t bytes, struct cri_config *ret_config,
                    struct error *err);

/* Whether hosts.toml is looked for in this directory. */
bool cri_config_has_path(const struct cri_config *config, const char *directory);
