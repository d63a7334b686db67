#include "io/pipe_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"

struct pipe_pool {
    struct pipe_pair idle[LIMIT_RELAY_IDLE_PIPES];
    size_t idle_count;
    size_t lent;
    size_t bytes; /* of all pipes, lent and idle */
};

struct pipe_pool *pipe_pool_new(void)
{
    return calloc(1, sizeof(struct pipe_pool));
}

static void pipe_close(struct pipe_pool *pool, struct pipe_pair *pair)
{
    close(pair->read_fd);
    close(pair->write_fd);
    pool->bytes -= pair->capacity_bytes;
}

void pipe_pool_free(struct pipe_pool *pool)
{
    if (!pool) {
        return;
    }
    CHECK(pool->lent == 0);
    while (pool->idle_count > 0) {
        pipe_close(pool, &pool->idle[--pool->idle_count]);
    }
    free(pool);
}

int pipe_pool_take(struct pipe_pool *pool, struct pipe_pair *ret_pair)
{
    if (pool->idle_count > 0) {
        *ret_pair = pool->idle[--pool->idle_count];
        pool->lent++;
        return 0;
    }
    int fds[2];
    if (pool->bytes + LIMIT_RELAY_PIPE_BYTES > LIMIT_RELAY_PIPES_BYTES) {
        return -ENOBUFS;
    }
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    int capacity = fcntl(fds[1], F_SETPIPE_SZ, LIMIT_RELAY_PIPE_BYTES);
    if (capacity < 0) {
        capacity = fcntl(fds[1], F_GETPIPE_SZ);
    }
    struct pipe_pair pair = {fds[0], fds[1], capacity > 0 ? (size_t)capacity : 4096, 0};
    pool->bytes += pair.capacity_bytes;
    pool->lent++;
    *ret_pair = pair;
    return 0;
}

void pipe_pool_give(struct pipe_pool *pool, struct pipe_pair *pair)
{
    if (pair->read_fd < 0) {
        return;
    }
    CHECK(pool->lent > 0);
    pool->lent--;
    if (pair->used_bytes == 0 && pool->idle_count < LIMIT_RELAY_IDLE_PIPES) {
        pool->idle[pool->idle_count++] = *pair;
    } else {
        pipe_close(pool, pair);
    }
    *pair = (struct pipe_pair){-1, -1, 0, 0};
}
