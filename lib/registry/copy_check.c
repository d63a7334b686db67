#include "registry/copy_check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"

#define CHUNK_BYTES (128 * 1024)

struct copy_check {
    struct work work;
    struct list link;          /* in copy_checks.waiting */
    struct copy_checks *owner; /* NULL: nobody waits for it any more */
    struct digest digest;
    int fd;
    atomic_bool stop;
    int result;
    copy_check_fn *done;
    void *arg;
};

static void check_free(struct copy_check *c)
{
    list_remove(&c->link);
    close(c->fd);
    free(c);
}

static void check_end(struct copy_check *c, int result)
{
    copy_check_fn *done = c->done;
    const struct digest digest = c->digest;
    void *arg = c->arg;
    check_free(c);
    done(arg, &digest, result);
}

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

static void checks_next(struct copy_checks *s);

static void check_done(struct work *w, int status)
{
    struct copy_check *c = CONTAINER_OF(w, struct copy_check, work);
    struct copy_checks *s = c->owner;
    if (!s) {
        check_free(c);
        return;
    }
    s->running = NULL;
    checks_next(s);
    check_end(c, status == 0 ? c->result : -EIO);
}

static void checks_next(struct copy_checks *s)
{
    while (!s->running && !list_empty(&s->waiting)) {
        struct copy_check *c = CONTAINER_OF(s->waiting.next, struct copy_check, link);
        list_remove(&c->link);
        s->waiting_count--;
        c->work = (struct work){.run = check_run, .done = check_done};
        if (work_start(s->loop, &c->work) == 0) {
            s->running = c;
        } else {
            check_end(c, -EIO);
        }
    }
}

void copy_checks_init(struct copy_checks *s, struct loop *loop)
{
    *s = (struct copy_checks){.loop = loop};
    list_init(&s->waiting);
}

void copy_checks_done(struct copy_checks *s)
{
    LIST_EACH_SAFE (link, &s->waiting) {
        check_end(CONTAINER_OF(link, struct copy_check, link), -ECANCELED);
    }
    s->waiting_count = 0;
    if (s->running) {
        struct copy_check *c = s->running;
        s->running = NULL;
        c->owner = NULL;
        atomic_store(&c->stop, true);
        work_cancel(&c->work);
        c->done(c->arg, &c->digest, -ECANCELED);
    }
}

int copy_check_start(struct copy_checks *s, const struct digest *digest, int fd,
                     copy_check_fn *done, void *arg)
{
    bool full = s->waiting_count >= LIMIT_DOUBT_CHECKS;
    struct copy_check *c = full ? NULL : calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return full ? -ENOBUFS : -ENOMEM;
    }
    c->owner = s;
    c->digest = *digest;
    c->fd = fd;
    c->done = done;
    c->arg = arg;
    list_init(&c->link);
    list_push_back(&s->waiting, &c->link);
    s->waiting_count++;
    checks_next(s);
    return 0;
}
