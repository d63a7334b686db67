#include "registry/copy_check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/list.h"

#define CHUNK_BYTES (128 * 1024)

struct copy_check {
    struct work work;
    struct digest digest;
    int fd;
    atomic_bool stop;
    int result;
    void (*done)(void *arg, int result); /* NULL: cancelled */
    void *arg;
};

/* On a pool thread. */
static void check_run(struct work *w)
{
    struct copy_check *c = CONTAINER_OF(w, struct copy_check, work);
    struct digester *digester = digester_new();
    char *bytes = malloc(CHUNK_BYTES);
    ssize_t n = -1;
    if (digester && bytes) {
        off_t offset = 0;
        while (!atomic_load(&c->stop) && (n = pread(c->fd, bytes, CHUNK_BYTES, offset)) > 0) {
            digester_update(digester, bytes, (size_t)n);
            offset += n;
        }
    }
    if (n == 0 && !atomic_load(&c->stop)) {
        struct digest found;
        digester_final(digester, &found);
        digester = NULL;
        c->result = digest_equal(&found, &c->digest) ? 0 : -EBADMSG;
    } else {
        c->result = -EIO;
    }
    digester_free(digester);
    free(bytes);
}

static void check_done(struct work *w, int status)
{
    struct copy_check *c = CONTAINER_OF(w, struct copy_check, work);
    void (*done)(void *, int) = c->done;
    void *arg = c->arg;
    int result = status == 0 ? c->result : -EIO;
    close(c->fd);
    free(c);
    if (done) {
        done(arg, result);
    }
}

int copy_check_start(struct loop *loop, const struct digest *digest, int fd,
                     void (*done)(void *arg, int result), void *arg, struct copy_check **ret_check)
{
    struct copy_check *c = calloc(1, sizeof(*c));
    int r = -ENOMEM;
    if (c) {
        c->work = (struct work){.run = check_run, .done = check_done};
        c->digest = *digest;
        c->fd = fd;
        c->done = done;
        c->arg = arg;
        r = work_start(loop, &c->work);
    }
    if (r < 0) {
        close(fd);
        free(c);
        return r;
    }
    *ret_check = c;
    return 0;
}

void copy_check_cancel(struct copy_check *c)
{
    c->done = NULL;
    atomic_store(&c->stop, true);
    work_cancel(&c->work);
}
