/* help.h - the usage line and the --help text, made from the tables of flags.h. */
#pragma once

#include "base/buf.h"
#include "cli/flags.h"

/* Append to `out`: one line, "Usage: spegel cleanup --addr ADDR [...]", of the command or, where
 * that is NULL, of the program. 0, -ENOMEM, -ENOBUFS. */
int help_usage(const struct program *program, const struct command *command, struct buf *out);

/* The usage line, the summary, and every flag that is not retired with its default and its
 * environment variable. */
int help_text(const struct program *program, const struct command *command, struct buf *out);
