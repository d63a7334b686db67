#include "io/file_body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/list.h"

/* Of each piece of this size the ends are probed: it is the kernel's usual read-ahead, so its bytes
 * mostly come and go together. */
#define PROBE_BYTES (128 * 1024)
/* Where both ends of so much are in the cache, so is what lies between: what is evicted, or not yet
 * read, begins or ends somewhere, and has seldom done so twice in so little. */
#define WARM_RUN_BYTES (1024 * 1024)
#define POOL_THREADS_DEFAULT 4
#define POOL_READ_BYTES (32 * 1024)

/*        offset          warm_until        warm_until + read_bytes   there          end
 *   ───────┼─────────────────┼─────────────────────┼─────────────────────┼─────────────┼───
 *    sent  │ in the cache    │ being read by the   │ unknown             │ not written │
 *          │                 │ pool, or queued     │                     │ yet         │
 */
struct file_body {
    struct body body;
    struct loop *loop;
    struct list link; /* in `waiting` */
    struct work work;
    int fd;
    off_t offset, there, end, warm_until;
    size_t read_bytes; /* 0: no read is queued or running */
    bool cold;         /* what begins at warm_until */
    bool has_cold;     /* something was cold */
    bool running, closed;
    int read_result; /* the pool's: 0 or negative errno */
    int error;
    int ending; /* negative: nothing will follow what is there */
    int64_t sent_bytes;
    void (*finished)(void *arg, int status, int64_t bytes_sent);
    void *arg;
};

/* Cold reads wait here for one of half the pool's threads; first come, first served, and a body
 * has one read of at most 1 MiB at a time, so they take turns. */
static struct list waiting = {&waiting, &waiting};
static unsigned running;

static void readers_start(void);

static unsigned readers_max(void)
{
    const char *size = getenv("UV_THREADPOOL_SIZE");
    long threads = size ? strtol(size, NULL, 10) : POOL_THREADS_DEFAULT;
    return threads >= 2 && threads <= 1024 ? (unsigned)threads / 2 : 1;
}

static void file_body_free(struct file_body *b)
{
    (void)close(b->fd);
    free(b);
}

/* --- cold parts, on the pool --- */

/* Runs on a pool thread: touches fd, warm_until, read_bytes and read_result, which the loop leaves
 * alone until file_read_done. */
static void file_read_run(struct work *w)
{
    struct file_body *b = CONTAINER_OF(w, struct file_body, work);
    char scratch[POOL_READ_BYTES];
    off_t at = b->warm_until, end = at + (off_t)b->read_bytes;
    /* Else sendfile, in the loop, would start reading ahead by itself, and wait for the disk's
     * queue or for what it began. */
    (void)posix_fadvise(b->fd, 0, 0, POSIX_FADV_RANDOM);
    while (at < end) {
        if ((at - b->warm_until) % PROBE_BYTES == 0) {
            (void)posix_fadvise(b->fd, at, end - at, POSIX_FADV_WILLNEED);
        }
        size_t n = end - at < (off_t)sizeof(scratch) ? (size_t)(end - at) : sizeof(scratch);
        ssize_t got = pread(b->fd, scratch, n, at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            b->read_result = got < 0 ? -errno : -EIO;
            return;
        }
        at += got;
    }
    b->read_result = 0;
}

static void file_read_done(struct work *w, int status)
{
    struct file_body *b = CONTAINER_OF(w, struct file_body, work);
    b->running = false;
    running--;
    readers_start();
    if (b->closed) {
        file_body_free(b);
        return;
    }
    CHECK(status == 0);
    b->error = b->read_result;
    if (b->error == 0) {
        b->warm_until += (off_t)b->read_bytes;
        b->cold = false;
    }
    b->read_bytes = 0;
    conn_wake(b->body.conn);
}

static void readers_start(void)
{
    while (running < readers_max() && !list_empty(&waiting)) {
        struct file_body *b = CONTAINER_OF(waiting.next, struct file_body, link);
        list_remove(&b->link);
        b->work.run = file_read_run;
        b->work.done = file_read_done;
        if (work_start(b->loop, &b->work) < 0) {
            b->read_bytes = 0;
            b->error = -ENOMEM;
            conn_wake(b->body.conn);
            continue;
        }
        b->running = true;
        running++;
    }
}

/* --- what is in the page cache --- */

static bool is_cold(int fd, off_t at)
{
    char byte;
    struct iovec v = {.iov_base = &byte, .iov_len = 1};
    /* Of other errors, and of a file that ends here, sendfile will tell. */
    return preadv2(fd, &v, 1, at, RWF_NOWAIT) < 0 && (errno == EAGAIN || errno == EOPNOTSUPP);
}

/* Of the part that begins at warm_until: how much is warm, 0 if it is cold. Both ends are asked: a
 * read that is under way has its first pages before its last. Nothing is asked twice: asking makes
 * newer kernels read that page, and it alone. */
static off_t warm_run(const struct file_body *b)
{
    off_t at = b->warm_until;
    if (is_cold(b->fd, at)) {
        return 0;
    }
    if (!b->has_cold && b->there - at >= WARM_RUN_BYTES &&
        !is_cold(b->fd, at + WARM_RUN_BYTES - 1)) {
        return WARM_RUN_BYTES;
    }
    off_t next = at - at % PROBE_BYTES + PROBE_BYTES;
    next = next < b->there ? next : b->there;
    return is_cold(b->fd, next - 1) ? 0 : next - at;
}

/* Looks as far ahead as may be sent in one turn, and has the first cold part read once it is near.
 * That goes on while the warm part before it is sent. */
static void look_ahead(struct file_body *b)
{
    off_t until = b->offset + LIMIT_TURN_BYTES;
    until = until < b->there ? until : b->there;
    while (b->read_bytes == 0 && b->error == 0 && b->warm_until < until) {
        off_t at = b->warm_until, warm = b->cold ? 0 : warm_run(b);
        if (warm > 0) {
            b->warm_until += warm;
            continue;
        }
        b->cold = b->has_cold = true;
        if (at - b->offset >= LIMIT_READAHEAD_BYTES) {
            return;
        }
        b->read_bytes =
            b->there - at < LIMIT_READAHEAD_BYTES ? (size_t)(b->there - at) : LIMIT_READAHEAD_BYTES;
        list_push_back(&waiting, &b->link);
        readers_start();
    }
}

/* --- the body --- */

/* Why nothing can be sent just now: 0 when that will change and wake us. */
static int file_body_lack(const struct file_body *b)
{
    return b->error < 0 || b->offset < b->there ? b->error : b->ending;
}

static int file_body_ready(struct body *body)
{
    struct file_body *b = CONTAINER_OF(body, struct file_body, body);
    look_ahead(b);
    return b->offset < b->warm_until ? 1 : file_body_lack(b);
}

static int64_t file_body_write(struct body *body, int fd, int64_t max_bytes)
{
    struct file_body *b = CONTAINER_OF(body, struct file_body, body);
    look_ahead(b);
    if (b->offset >= b->warm_until) {
        return file_body_lack(b);
    }
    off_t warm = b->warm_until - b->offset;
    ssize_t n = sendfile(fd, b->fd, &b->offset, (size_t)(max_bytes < warm ? max_bytes : warm));
    if (n <= 0) {
        return n == 0 ? -EIO : errno == EINTR ? -EAGAIN : -errno;
    }
    b->sent_bytes += n;
    return n;
}

static void file_body_done(struct body *body, int status)
{
    struct file_body *b = CONTAINER_OF(body, struct file_body, body);
    list_remove(&b->link);
    b->closed = true;
    if (b->finished) {
        b->finished(b->arg, status, b->sent_bytes);
    }
    if (b->running) {
        work_cancel(&b->work);
    } else {
        file_body_free(b);
    }
}

static const struct body_ops file_body_ops = {
    .write = file_body_write,
    .ready = file_body_ready,
    .done = file_body_done,
};

int file_body_new(struct loop *loop, int fd, int64_t offset, int64_t length,
                  void (*finished)(void *arg, int status, int64_t bytes_sent), void *arg,
                  struct body **ret_body)
{
    struct file_body *b = calloc(1, sizeof(*b));
    if (!b) {
        (void)close(fd);
        return -ENOMEM;
    }
    b->body.ops = &file_body_ops;
    b->loop = loop;
    b->fd = fd;
    b->offset = b->warm_until = offset;
    b->there = b->end = offset + length;
    b->finished = finished;
    b->arg = arg;
    list_init(&b->link);
    *ret_body = &b->body;
    return 0;
}

static void file_body_wake(const struct file_body *b)
{
    if (b->body.conn) {
        conn_wake(b->body.conn);
    }
}

void file_body_there(struct body *body, int64_t size)
{
    struct file_body *b = CONTAINER_OF(body, struct file_body, body);
    b->there = size < b->offset ? b->offset : size < b->end ? size : b->end;
}

void file_body_grew(struct body *body, int64_t size)
{
    struct file_body *b = CONTAINER_OF(body, struct file_body, body);
    if (size > b->there && b->there < b->end) {
        file_body_there(body, size);
        file_body_wake(b);
    }
}

void file_body_fail(struct body *body, int error)
{
    struct file_body *b = CONTAINER_OF(body, struct file_body, body);
    CHECK(error < 0);
    b->ending = error;
    file_body_wake(b);
}
