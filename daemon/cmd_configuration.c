/* spegel configuration: containerd pointed at the mirror. */
#include "commands.h"

#include "base/limits.h"
#include "base/log.h"
#include "certsd/configure.h"
#include "certsd/credentials.h"
#include "certsd/registry_url.h"
#include "certsd_log.h"
#include "registry/auth.h"

int cmd_configuration(const struct configuration_options *options)
{
    struct buf authorization;
    struct error err;
    buf_init(&authorization, 2 * LIMIT_BASIC_AUTH_BYTES);
    int r = credentials_read(AUTH_DIRECTORY, &authorization, &err);
    if (r == 0) {
        const struct certsd_notices notices = {certsd_log, options->config_path};
        const struct configure_spec spec = {
            .path = options->config_path,
            .registries = options->mirrored_registries.items,
            .registry_count = options->mirrored_registries.count,
            .targets = options->mirror_targets.items,
            .target_count = options->mirror_targets.count,
            .resolve_tags = options->resolve_tags,
            .prepend_existing = options->prepend_existing,
            .authorization = authorization.data,
        };
        r = certsd_configure(&spec, &notices, &err);
    }
    credentials_done(&authorization);
    struct registry_url target;
    if (r == 0 && registry_url_parse_target(options->mirror_targets.items[0], &target, NULL) == 0 &&
        target.host[0] == '[') {
        log_warn(
            "containerd 1.x cannot read a hosts.toml with an IPv6 address",
            LOG_STR("fix", "containerd 2.0, or a name or an IPv4 address in --mirror-targets"));
    }
    if (r < 0) {
        log_error("containerd's configuration could not be written", LOG_STR("err", err.text));
        return 1;
    }
    return 0;
}
