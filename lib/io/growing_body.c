#include "io/growing_body.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/file_body.h"

struct growing_body {
    struct body *file; /* a file_body whose end moves */
    void (*finished)(void *arg, int status, int64_t bytes_sent);
    void *arg;
};

static void growing_body_finished(void *arg, int status, int64_t bytes_sent)
{
    struct growing_body *b = arg;
    if (b->finished) {
        b->finished(b->arg, status, bytes_sent);
    }
    free(b);
}

int growing_body_new(struct loop *loop, int fd, int64_t offset, int64_t length, int64_t size,
                     void (*finished)(void *arg, int status, int64_t bytes_sent), void *arg,
                     struct growing_body **ret_body)
{
    struct growing_body *b = calloc(1, sizeof(*b));
    if (!b) {
        (void)close(fd);
        return -ENOMEM;
    }
    *b = (struct growing_body){.finished = finished, .arg = arg};
    int r = file_body_new(loop, fd, offset, length, growing_body_finished, b, &b->file);
    if (r < 0) {
        free(b);
        return r;
    }
    file_body_there(b->file, size);
    *ret_body = b;
    return 0;
}

struct body *growing_body(struct growing_body *b)
{
    return b->file;
}

void growing_body_grew(struct growing_body *b, int64_t size)
{
    file_body_grew(b->file, size);
}

void growing_body_fail(struct growing_body *b, int error)
{
    file_body_fail(b->file, error);
}
