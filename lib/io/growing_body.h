/* growing_body.h - a body from a file that is still being written, sent as it grows.
 *
 * Its owner says how far the file has come; nothing beyond that is ever read. It waits without a
 * time-out of its own: who knows whether the file will grow ends it. A file that turns out shorter
 * than was said ends the body with -EIO (FIN), never with bytes that are not there. Parts that are
 * not in the page cache are read on the thread pool first, like file_body's. */
#pragma once

#include "io/server.h"

struct growing_body;

/* Takes ownership of fd. Bytes offset .. offset + length - 1 of the file are the body, of which
 * those below `size` are there. `finished` (may be NULL) is told the status and the bytes sent,
 * then everything is freed; the pointer is not to be used from then on. 0 or -ENOMEM (fd is
 * closed). */
int growing_body_new(struct loop *loop, int fd, int64_t offset, int64_t length, int64_t size,
                     void (*finished)(void *arg, int status, int64_t bytes_sent), void *arg,
                     struct growing_body **ret_body);
struct body *growing_body(struct growing_body *b); /* for server_respond_body */
/* The file has `size` bytes now; less than before is ignored. */
void growing_body_grew(struct growing_body *b, int64_t size);
/* There will be no more: the body ends with this error (negative) after what is there: with FIN,
 * or, before its first byte, a 404 (server.h). */
void growing_body_fail(struct growing_body *b, int error);
