/* commands.h - the subcommands, one file each: cmd_<name>.c.
 *
 * Each takes its checked options and returns the program's exit code: 0, or 1 after logging why.
 * The options outlive the call. */
#pragma once

#include "cli/options.h"

int cmd_registry(const struct registry_options *options);
int cmd_configuration(const struct configuration_options *options);
int cmd_cleanup(const struct cleanup_options *options);
int cmd_cleanup_wait(const struct cleanup_wait_options *options);
int cmd_version(const struct version_options *options);
