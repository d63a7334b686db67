/* assign.h - one flag's value put into the field it fills. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "cli/flags.h"

/* What a value came from, for the error's sentence: "--period" or "environment variable PERIOD". */
struct flag_source {
    const char *prefix, *name;
};

/* Parses `text` and stores it, freeing what the field held; a list gets one more item. 0, -EINVAL
 * with a sentence naming the source, the value and what is allowed, -ENOMEM. The field is
 * unchanged on failure. */
int flag_assign(const struct flag *flag, void *options, const char *text,
                const struct flag_source *source, struct error *err);

/* Frees the field and makes it empty. */
void flag_clear(const struct flag *flag, void *options);

/* The flag's environment variable into `ret_name` (64 bytes). */
void flag_environment_name(const struct flag *flag, char ret_name[64]);
