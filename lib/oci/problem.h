/* problem.h - error bodies of the distribution spec, "Error Codes". */
#pragma once

#include "base/buf.h"

/* Appends {"errors":[{"code":…,"message":…,"detail":…}]}. `detail_json` is JSON text or NULL.
 * 0, -ENOBUFS or -ENOMEM. */
int problem_write(struct buf *out, const char *code, const char *message, const char *detail_json);
