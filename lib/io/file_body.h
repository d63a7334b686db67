/* file_body.h - a body from a file with sendfile, whose cold parts the thread pool reads first.
 *
 * A range is cold when preadv2(RWF_NOWAIT) says so; EOPNOTSUPP counts as cold. Cold ranges are read
 * ahead (≤ 1 MiB) on at most half the pool's threads before sendfile touches them, so that a stuck
 * disk stops neither the loop nor DNS. A file that turns out shorter than promised ends the body
 * with -EIO (FIN, never wrong bytes). */
#pragma once

#include "io/server.h"

/* Takes ownership of fd (closed at the end, also on failure). `finished` (may be NULL) is told the
 * status and the bytes sent, then everything is freed. 0 or -ENOMEM. */
int file_body_new(struct loop *loop, int fd, int64_t offset, int64_t length,
                  void (*finished)(void *arg, int status, int64_t bytes_sent), void *arg,
                  struct body **ret_body);

/* For growing_body.h: a file that is still being written.
 *
 * Only what lies below `size` in the file is there so far; to be said before the body is given to
 * the server. */
void file_body_there(struct body *b, int64_t size);
/* Later: it has come this far now; less than before is ignored. */
void file_body_grew(struct body *b, int64_t size);
/* Nothing follows: the body ends with this error (negative) after what is there. */
void file_body_fail(struct body *b, int error);
