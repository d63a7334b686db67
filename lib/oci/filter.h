/* filter.h - which references this mirror has nothing to do with.
 *
 * A reference is filtered when one of the regular expressions matches `registry/repository[:tag]`
 * (unanchored; a digest never is the subject), or when its registry is not among the mirrored
 * ones. PCRE2 with match and depth limits: an expression that exceeds them counts as matching. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct filter;

/* `registries` are URLs as on the command line ("https://docker.io", "_default", "*"), already
 * validated; none, "_default" or "*" among them: all registries. 0, or -EINVAL naming the
 * expression that does not compile, or -ENOMEM. */
int filter_new(const char *const *expressions, size_t expression_count,
               const char *const *registries, size_t registry_count, struct filter **ret_filter,
               struct error *err);
void filter_free(struct filter *f);

/* `tag` may be NULL or "". `registry` "" is an image that names none (store/layout.h): no list of
 * registries excludes it, and the subject is then `repository[:tag]`. From the loop's thread. */
bool filter_matches(const struct filter *f, const char *registry, const char *repository,
                    const char *tag);

/* Whether any expression is set at all (then a blob that no image reaches yet is not announced). */
bool filter_has_expressions(const struct filter *f);

/* Only the question of the registry. */
bool filter_mirrors(const struct filter *f, const char *registry);
