/* auth.h - basic auth from two files that may change under us.
 *
 * On when either file is non-empty. One trailing newline is stripped. The files are looked at again
 * every few seconds, so that a rotated Secret takes effect without a restart; a file that cannot be
 * read for another reason than absence keeps the last value. At the start there is no last value:
 * a guard that was asked for is never silently open. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "io/loop.h"

#define AUTH_DIRECTORY "/etc/secrets/basic-auth"

struct auth;

/* `directory` holds `username` and `password`, either or both of which may be absent. 0; -ENOMEM;
 * or why a file that is there cannot be used, with the sentence: not to be read, longer than 511
 * bytes (-E2BIG), with a NUL (-EINVAL). */
int auth_new(struct loop *loop, const char *directory, struct auth **ret_auth, struct error *err);
void auth_free(struct auth *a);

bool auth_enabled(const struct auth *a);
/* The value of an Authorization header ("Basic …"), NULL while off. Lives until the next turn of
 * the loop. */
const char *auth_header(const struct auth *a);
/* Whether a request's Authorization (NULL when absent) is right; true while off. Constant time. */
bool auth_allows(const struct auth *a, const char *authorization);
