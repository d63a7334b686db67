/* pipe_pool.h - pipes for splice(2), kept between transfers. For files in io/ only.
 *
 * A pipe holds LIMIT_RELAY_PIPE_BYTES where the kernel allows it: an unprivileged user may have
 * some 64 such pipes (fs.pipe-user-pages-soft), then they stay at the kernel's own size, which
 * works too. All together stay below LIMIT_RELAY_PIPES_BYTES; over it the caller copies instead. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pipe_pair {
    int read_fd, write_fd; /* both -1: none. Non-blocking */
    size_t capacity_bytes;
    size_t used_bytes; /* in the pipe; the user keeps count */
};

struct pipe_pool;
struct pipe_pool *pipe_pool_new(void);       /* NULL without memory */
void pipe_pool_free(struct pipe_pool *pool); /* every pipe must be back */

/* 0, -ENOBUFS over the cap, -EMFILE or -ENFILE. */
int pipe_pool_take(struct pipe_pool *pool, struct pipe_pair *ret_pair);
/* A pipe with bytes left in it is closed, an empty one kept for the next. Sets it to none; a pair
 * that is none is fine. */
void pipe_pool_give(struct pipe_pool *pool, struct pipe_pair *pair);
