/* copy_check.h - whether files' bytes are those of a digest. Private to registry/.
 *
 * The hash is taken on the thread pool, from the file's first byte to its last, wherever the
 * descriptor stands: one file at a time of each queue, so that others have their turn there too,
 * and LIMIT_DOUBT_CHECKS waiting in it. */
#pragma once

#include "base/list.h"
#include "io/loop.h"
#include "oci/digest.h"

struct copy_checks { /* in place */
    struct loop *loop;
    struct list waiting;
    size_t waiting_count;
    struct copy_check *running;
};

/* 0 they are, -EBADMSG they are not, -EIO it could not be read, -ECANCELED nobody looked. */
typedef void copy_check_fn(void *arg, const struct digest *digest, int result);

void copy_checks_init(struct copy_checks *s, struct loop *loop);
/* Each that has not ended is told -ECANCELED, from inside. The thread is told to stop, and memory
 * goes when the loop hears of it. */
void copy_checks_done(struct copy_checks *s);

/* Takes over fd, even where it fails: 0, or -ENOMEM, -ENOBUFS; after 0 `done` comes once, from the
 * loop, or from inside where the pool takes nothing. */
int copy_check_start(struct copy_checks *s, const struct digest *digest, int fd,
                     copy_check_fn *done, void *arg);
