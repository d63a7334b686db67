/* copy_check.h - whether a file's bytes are those of a digest. Private to registry/.
 *
 * The hash is taken on the thread pool, from the file's first byte to its last, wherever the
 * descriptor stands. */
#pragma once

#include "io/loop.h"
#include "oci/digest.h"

struct copy_check;

/* Takes over fd, even where it fails: 0, or -ENOMEM or what the pool says. `done` comes once from
 * the loop, with 0 (they are), -EBADMSG (they are not) or -EIO (it could not be read); the check is
 * gone afterwards. */
int copy_check_start(struct loop *loop, const struct digest *digest, int fd,
                     void (*done)(void *arg, int result), void *arg, struct copy_check **ret_check);
/* No `done` follows. The thread is told to stop, and memory goes when the loop hears of it. */
void copy_check_cancel(struct copy_check *c);
