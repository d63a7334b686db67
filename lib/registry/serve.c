/* Content that is held here. Blobs leave by sendfile, unread. Of a manifest, and of what may be
 * one, the digest is checked first, so that a damaged file never leaves as a manifest: the small,
 * which most are, in memory and at once where the page cache has them; the others on the pool. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "registry/content.h"

#define KEPT_BYTES                                                                                 \
    (64 * 1024) /* larger manifests are sent from their file once they are checked                 \
                 */
#define BEGINNING_BYTES 64

/* A manifest, or a small blob of which nobody knows yet whether it is one, being looked at. */
struct serve_job {
    struct list link; /* in the registry's jobs: first come, first served */
    struct work work;
    struct registry *registry;
    struct conn *conn; /* NULL: the client left, or the registry is gone */
    struct registry_query query;
    struct digest digest;
    bool known_manifest; /* before it was read */
    int fd;
    size_t size_bytes;
    /* What came out. */
    int error; /* 0 or of reading */
    bool is_right, is_manifest;
    struct manifest manifest; /* unless it was known */
    char *bytes;              /* NULL when there are more than KEPT_BYTES */
};

static void job_free(struct serve_job *job)
{
    list_remove(&job->link);
    if (job->fd >= 0) {
        (void)close(job->fd);
    }
    manifest_done(&job->manifest);
    free(job->bytes);
    free(job);
}

/* --- looking at it; on the pool, or in the loop when it is small --- */

static void job_examine(struct serve_job *job)
{
    struct digest actual;
    digest_of(job->bytes, job->size_bytes, &actual);
    job->is_right = digest_equal(&actual, &job->digest);
    job->is_manifest = job->known_manifest;
    if (job->is_right && !job->known_manifest) {
        job->is_manifest = manifest_parse(job->bytes, job->size_bytes, &job->manifest, NULL) == 0;
    }
}

static int job_read(struct serve_job *job)
{
    for (size_t got = 0; got < job->size_bytes;) {
        ssize_t n = pread(job->fd, job->bytes + got, job->size_bytes - got, (off_t)got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        got += (size_t)n;
    }
    return 0;
}

static void job_run(struct work *w)
{
    struct serve_job *job = CONTAINER_OF(w, struct serve_job, work);
    job->bytes = malloc(job->size_bytes);
    job->error = job->bytes ? job_read(job) : -ENOMEM;
    if (job->error == 0) {
        job_examine(job);
    }
    if (job->size_bytes > KEPT_BYTES) {
        free(job->bytes);
        job->bytes = NULL;
    }
}

/* --- and answering --- */

static void answer_wrong_kind(struct conn *c, bool asked_as_blob)
{
    answer_problem(c, 404, asked_as_blob ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN",
                   asked_as_blob ? "a manifest, not a blob" : "a blob, not a manifest",
                   "{\"attempts\":[]}");
}

static void job_answer_right(struct serve_job *job)
{
    struct registry *r = job->registry;
    struct inventory *inventory = r->config.inventory;
    bool as_blob = job->query.path.kind == PATH_BLOB;
    if (job->is_manifest && !job->known_manifest) {
        (void)inventory_set_manifest(inventory, &job->digest, &job->manifest);
    }
    const struct inventory_blob *blob = inventory_blob(inventory, &job->digest);
    int fd = job->fd;
    job->fd = -1;
    if (!blob) { /* withdrawn while it was read */
        job->fd = fd;
        registry_miss(r, job->conn, &job->query);
    } else if (as_blob == job->is_manifest) {
        job->fd = fd;
        answer_wrong_kind(job->conn, as_blob);
    } else if (as_blob) {
        content_answer_blob(r, job->conn, &job->query, &job->digest, (int64_t)job->size_bytes, fd);
    } else {
        content_answer_manifest(r, job->conn, &job->query, blob, job->bytes, fd);
    }
}

static void job_answer(struct serve_job *job)
{
    struct registry *r = job->registry;
    if (job->error == 0 && job->is_right) {
        job_answer_right(job);
        return;
    }
    if (job->error == 0) {
        char text[DIGEST_TEXT_BYTES];
        digest_format(&job->digest, text);
        log_error("a blob's file does not match its digest: withdrawn", LOG_STR("digest", text));
        r->counters.wrong_manifests++;
        inventory_condemn(r->config.inventory, &job->digest);
    }
    registry_miss(r, job->conn, &job->query);
}

/* --- one at a time on the pool: the other threads are for those whose disk is not stuck --- */

static void jobs_next(struct registry *r);

static void job_done(struct work *w, int status)
{
    struct serve_job *job = CONTAINER_OF(w, struct serve_job, work);
    struct registry *r = job->registry;
    if (!r) {
        job_free(job);
        return;
    }
    r->job_count--;
    job->error = status < 0 ? status : job->error;
    list_remove(&job->link);
    jobs_next(r);
    if (job->conn) {
        job_answer(job);
    }
    job_free(job);
}

static void jobs_next(struct registry *r)
{
    while (!list_empty(&r->jobs)) {
        struct serve_job *job = CONTAINER_OF(r->jobs.next, struct serve_job, link);
        if (job->conn && work_start(r->loop, &job->work) == 0) {
            return;
        }
        r->job_count--;
        if (job->conn) {
            answer_unable(job->conn, &job->query, "out of memory");
        }
        job_free(job);
    }
}

/* Takes fd over. */
static void serve_examined(struct registry *r, struct conn *c, const struct registry_query *q,
                           const struct inventory_blob *blob, int fd)
{
    struct serve_job *job = calloc(1, sizeof *job);
    if (!job || r->job_count >= LIMIT_SERVE_JOBS) {
        free(job);
        (void)close(fd);
        answer_unable(c, q, "too much to read");
        return;
    }
    job->work = (struct work){.run = job_run, .done = job_done};
    job->registry = r;
    job->conn = c;
    job->query = *q;
    job->digest = blob->digest;
    job->known_manifest = blob->is_manifest;
    job->fd = fd;
    job->size_bytes = (size_t)blob->size_bytes;
    list_init(&job->link);
    job->bytes = job->size_bytes <= KEPT_BYTES ? malloc(job->size_bytes) : NULL;
    struct iovec all = {.iov_base = job->bytes, .iov_len = job->size_bytes};
    if (job->bytes && preadv2(fd, &all, 1, 0, RWF_NOWAIT) == (ssize_t)job->size_bytes) {
        job_examine(job);
        job_answer(job);
        job_free(job);
        return;
    }
    free(job->bytes);
    job->bytes = NULL;
    bool idle = list_empty(&r->jobs);
    list_push_back(&r->jobs, &job->link);
    r->job_count++;
    if (idle) {
        jobs_next(r);
    }
}

/* --- what is asked --- */

/* Opens the copy that is served and says what it is; opening may have gone on to another copy. */
static int serve_open(struct registry *r, struct inventory_blob *it)
{
    struct digest digest = it->digest;
    int fd = inventory_open(r->config.inventory, &digest);
    r->counters.withdrawn += fd == -ENOENT;
    if (fd >= 0) {
        *it = *inventory_blob(r->config.inventory, &digest);
    }
    return fd;
}

/* False when the file's first bytes, as far as they are at hand, say that it is no JSON object:
 * layers need not be read through to know that they are no manifests. */
static bool may_be_manifest(int fd)
{
    char bytes[BEGINNING_BYTES];
    struct iovec beginning = {.iov_base = bytes, .iov_len = sizeof bytes};
    ssize_t n = preadv2(fd, &beginning, 1, 0, RWF_NOWAIT);
    for (ssize_t i = 0; i < n; i++) {
        if (!isspace((unsigned char)bytes[i])) {
            return bytes[i] == '{';
        }
    }
    return true;
}

void serve_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                    const struct inventory_blob *blob)
{
    struct inventory_blob it = *blob;
    if (it.is_manifest && content_not_modified(q, &it.digest)) {
        content_answer_not_modified(c, q, &it.digest, it.content_type);
        return;
    }
    if (it.size_bytes > LIMIT_MANIFEST_BYTES || it.size_bytes == 0) {
        answer_wrong_kind(c, false);
        return;
    }
    int fd = serve_open(r, &it);
    if (fd < 0) {
        registry_miss(r, c, q);
    } else if (it.is_manifest && q->request->method == HTTP_METHOD_HEAD) {
        content_answer_manifest(r, c, q, &it, NULL, fd);
    } else if (it.is_manifest || may_be_manifest(fd)) {
        serve_examined(r, c, q, &it, fd);
    } else {
        (void)close(fd);
        answer_wrong_kind(c, false);
    }
}

void serve_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                const struct inventory_blob *blob)
{
    struct inventory_blob it = *blob;
    if (it.is_manifest) {
        answer_wrong_kind(c, true);
        return;
    }
    if (content_not_modified(q, &it.digest)) {
        content_answer_not_modified(c, q, &it.digest, "application/octet-stream");
        return;
    }
    /* While no image names it nobody said what it is, and one that is named as a manifest may not
     * have been read yet: a manifest must be 404 here (containerd asks for the digest of one this
     * way when all hosts failed). */
    bool unsure = (!it.reached || media_type_is_manifest(it.content_type)) && it.size_bytes > 0 &&
                  it.size_bytes <= LIMIT_MANIFEST_BYTES;
    int fd = serve_open(r, &it);
    if (fd < 0) {
        registry_miss(r, c, q);
    } else if (unsure && may_be_manifest(fd)) {
        serve_examined(r, c, q, &it, fd);
    } else {
        content_answer_blob(r, c, q, &it.digest, it.size_bytes, fd);
    }
}

void serve_gone(struct registry *r, struct conn *c)
{
    LIST_EACH (link, &r->jobs) {
        struct serve_job *job = CONTAINER_OF(link, struct serve_job, link);
        if (job->conn == c) {
            job->conn = NULL;
            return;
        }
    }
}

void serve_done(struct registry *r)
{
    /* The first one is on the pool and frees itself when it ends; nothing began with the rest. */
    bool running = true;
    LIST_EACH_SAFE (link, &r->jobs) {
        struct serve_job *job = CONTAINER_OF(link, struct serve_job, link);
        job->conn = NULL;
        job->registry = NULL;
        list_remove(link);
        if (running) {
            work_cancel(&job->work);
        } else {
            job_free(job);
        }
        running = false;
    }
}
