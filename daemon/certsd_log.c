#include "certsd_log.h"

#include <stddef.h>

#include "base/log.h"

static const struct {
    enum log_level level;
    const char *message;
} lines[] = {
    [CERTSD_BACKED_UP] = {LOG_INFO, "containerd's configuration is backed up"},
    [CERTSD_ADOPTED] = {LOG_INFO, "the backup of another release is taken over"},
    [CERTSD_WRITTEN] = {LOG_INFO, "the registry is mirrored"},
    [CERTSD_PREPENDED] = {LOG_INFO, "the registry is mirrored, before the hosts it had"},
    [CERTSD_UNCHANGED] = {LOG_DEBUG, "the registry is mirrored already"},
    [CERTSD_NOT_MIRRORED] = {LOG_WARN, "a directory of its own stays in force and is not mirrored"},
    [CERTSD_RESTORED] = {LOG_INFO, "what was there is put back"},
    [CERTSD_REMOVED] = {LOG_INFO, "the mirror's configuration is removed"},
    [CERTSD_CLEANED] = {LOG_INFO, "the backup is removed, nothing of the mirror is left"},
    [CERTSD_EDITED] = {LOG_WARN,
                       "a change of the generated hosts.toml is undone, and kept beside it in "
                       "hosts.toml.edited: it belongs into the one in _backup"},
    [CERTSD_DENIED] = {LOG_WARN,
                       "this may not be changed without capabilities, and stays as it is"},
    [CERTSD_NOT_BACKED_UP] = {LOG_WARN,
                              "something in this may not be read without capabilities: it "
                              "stays in force, and has no backup"},
    [CERTSD_OTHER_OWNER] = {LOG_WARN, "something in this and its copy in the backup have not the "
                                      "same owner, which takes capabilities"},
    [CERTSD_LEFT] = {LOG_WARN, "this cannot be put back without capabilities: a copy is in force, "
                               "the original left under a name that ends in .left"},
};

void certsd_log(void *user, enum certsd_event event, const char *name)
{
    enum log_level level = lines[event].level;
    if (*name) {
        LOG_AT(level, lines[event].message, LOG_STR("path", user), LOG_STR("registry", name));
    } else {
        LOG_AT(level, lines[event].message, LOG_STR("path", user));
    }
}
