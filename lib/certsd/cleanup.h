/* cleanup.h - containerd's configuration put back as it was before configure.h.
 *
 * What was replaced stands again byte for byte and mode for mode, what was written where nothing
 * was is gone, what the user did since stays, and `_backup` goes last. Without `_backup` only
 * bootstrap files are removed. A backup of the Go implementation's is understood. Done twice it
 * changes nothing; interrupted anywhere and done again it ends the same. Blocks. */
#pragma once

#include "base/error.h"
#include "certsd/notice.h"

/* 0 (a `path` that does not exist is clean), or a negative errno with a sentence. `notices` may be
 * NULL. */
int certsd_cleanup(const char *path, const struct certsd_notices *notices, struct error *err);
