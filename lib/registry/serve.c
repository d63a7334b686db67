/* Content that is held here: blobs by sendfile, manifests from memory after their digest was
 * checked, so that a damaged file never leaves as a manifest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "http/head.h"
#include "io/file_body.h"
#include "oci/range.h"
#include "registry/answer.h"

#define FIELDS_BYTES 2048

/* A manifest, or a small blob of which nobody knows yet whether it is one, read into memory. */
struct serve_job {
    struct list link;
    struct work work;
    struct registry *registry;
    struct conn *conn; /* NULL: the client left */
    struct registry_query query;
    struct digest digest;
    bool was_manifest; /* known to be one before it was read */
    int fd;
    size_t size_bytes;
    int read_error;
    char *bytes; /* size_bytes of them */
};

static void job_free(struct serve_job *job)
{
    list_remove(&job->link);
    if (job->fd >= 0) {
        (void)close(job->fd);
    }
    free(job->bytes);
    free(job);
}

/* --- fields --- */

static int content_fields(struct buf *fields, const struct registry_query *q,
                          const struct digest *digest, const char *content_type)
{
    char text[DIGEST_TEXT_BYTES], etag[DIGEST_TEXT_BYTES + 2];
    digest_format(digest, text);
    (void)snprintf(etag, sizeof etag, "\"%s\"", text);
    int r = http_head_field(fields, "Content-Type", content_type);
    r = r < 0 ? r : http_head_field(fields, "Docker-Content-Digest", text);
    r = r < 0 ? r : http_head_field(fields, "ETag", etag);
    return r < 0 ? r : answer_fields(fields, q);
}

/* RFC 9110 section 13.1.2, for the one strong ETag a digest has. */
static bool not_modified(const struct registry_query *q, const struct digest *digest)
{
    char text[DIGEST_TEXT_BYTES];
    const char *header = q->request->if_none_match;
    digest_format(digest, text);
    return header && (!strcmp(header, "*") || strstr(header, text));
}

static void answer_not_modified(struct conn *c, const struct registry_query *q,
                                const struct digest *digest, const char *content_type)
{
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    if (content_fields(&fields, q, digest, content_type) < 0) {
        answer_no_memory(c);
    } else {
        server_respond_head(c, 304, &fields, -1);
    }
    buf_done(&fields);
}

/* --- blobs --- */

static void stream_finished(void *arg, int status, int64_t bytes_sent)
{
    (void)status;
    (void)bytes_sent;
    struct registry *r = arg;
    r->streams--;
}

static void answer_over_cap(struct registry *r, struct conn *c, const struct registry_query *q)
{
    r->counters.over_stream_cap++;
    if (q->from_peer) {
        answer_problem(c, 503, "TOOMANYREQUESTS", "too many streams", NULL);
    } else { /* containerd hammers a host that says 503 or 429; on 404 it goes on to the next */
        answer_problem(c, 404, "BLOB_UNKNOWN", "too many streams", "{\"attempts\":[]}");
    }
}

static void stream_file(struct registry *r, struct conn *c, const struct buf *fields, int status,
                        int fd, int64_t offset, int64_t length)
{
    struct body *body;
    if (file_body_new(r->loop, fd, offset, length, stream_finished, r, &body) < 0) {
        answer_no_memory(c);
        return;
    }
    r->streams++;
    server_respond_body(c, status, fields, length, body);
}

static int range_fields(struct buf *fields, enum range_result result, int64_t first, int64_t last,
                        int64_t size_bytes)
{
    char text[96];
    if (result == RANGE_UNSATISFIABLE) {
        (void)snprintf(text, sizeof text, "bytes */%lld", (long long)size_bytes);
    } else if (result == RANGE_PART) {
        (void)snprintf(text, sizeof text, "bytes %lld-%lld/%lld", (long long)first, (long long)last,
                       (long long)size_bytes);
    } else {
        return 0;
    }
    return http_head_field(fields, "Content-Range", text);
}

/* If-Range with another ETag than ours: the client's part is of something else, send it whole. */
static const char *range_header(const struct registry_query *q, const struct digest *digest)
{
    char text[DIGEST_TEXT_BYTES];
    digest_format(digest, text);
    const char *if_range = q->request->if_range;
    return if_range && !strstr(if_range, text) ? NULL : q->request->range;
}

static void answer_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                        const struct digest *digest, int64_t size_bytes, int fd)
{
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    int64_t first = 0, last = size_bytes - 1;
    enum range_result range = range_parse(range_header(q, digest), size_bytes, &first, &last);
    int failed = content_fields(&fields, q, digest, "application/octet-stream");
    failed |= http_head_field(&fields, "Accept-Ranges", "bytes");
    failed |= range_fields(&fields, range, first, last, size_bytes);
    int status = range == RANGE_PART ? 206 : 200;
    bool head = q->request->method == HTTP_METHOD_HEAD;
    if (failed || range == RANGE_UNSATISFIABLE || head || size_bytes == 0) {
        (void)close(fd);
        if (failed) {
            answer_no_memory(c);
        } else if (range == RANGE_UNSATISFIABLE) {
            server_respond(c, 416, &fields, NULL, 0);
        } else {
            server_respond_head(c, status, &fields, last - first + 1);
        }
    } else {
        stream_file(r, c, &fields, status, fd, first, last - first + 1);
    }
    buf_done(&fields);
}

/* --- manifests --- */

static void answer_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                            const struct digest *digest, const char *bytes, size_t size_bytes)
{
    (void)r;
    const struct inventory_blob *blob = inventory_blob(r->config.inventory, digest);
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    if (!blob || content_fields(&fields, q, digest, blob->content_type) < 0) {
        answer_no_memory(c);
    } else if (!bytes) {
        server_respond_head(c, 200, &fields, (int64_t)size_bytes);
    } else {
        server_respond(c, 200, &fields, bytes, size_bytes);
    }
    buf_done(&fields);
}

/* The bytes are there: are they what the digest says, and are they a manifest? */
static void job_answer(struct serve_job *job)
{
    struct registry *r = job->registry;
    struct inventory *inventory = r->config.inventory;
    struct digest actual;
    digest_of(job->bytes, job->size_bytes, &actual);
    if (!digest_equal(&actual, &job->digest)) {
        char text[DIGEST_TEXT_BYTES];
        digest_format(&job->digest, text);
        log_error("a manifest's file does not match its digest: withdrawn",
                  LOG_STR("digest", text));
        r->counters.wrong_manifests++;
        inventory_condemn(inventory, &job->digest);
        registry_miss(r, job->conn, &job->query);
        return;
    }
    bool is_manifest = job->was_manifest;
    if (!is_manifest) {
        struct manifest m = {0};
        is_manifest = manifest_parse(job->bytes, job->size_bytes, &m, NULL) == 0 &&
                      inventory_set_manifest(inventory, &job->digest, &m) == 0;
        manifest_done(&m);
    }
    bool asked_as_blob = job->query.path.kind == PATH_BLOB;
    if (asked_as_blob && !is_manifest) {
        int fd = job->fd;
        job->fd = -1;
        answer_blob(r, job->conn, &job->query, &job->digest, (int64_t)job->size_bytes, fd);
    } else if (asked_as_blob || !is_manifest) {
        answer_problem(job->conn, 404, asked_as_blob ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN",
                       asked_as_blob ? "a manifest, not a blob" : "a blob, not a manifest",
                       "{\"attempts\":[]}");
    } else {
        answer_manifest(r, job->conn, &job->query, &job->digest, job->bytes, job->size_bytes);
    }
}

static void job_run(struct work *w)
{
    struct serve_job *job = CONTAINER_OF(w, struct serve_job, work);
    size_t got = 0;
    while (got < job->size_bytes) {
        ssize_t n = pread(job->fd, job->bytes + got, job->size_bytes - got, (off_t)got);
        if (n <= 0) {
            job->read_error = n < 0 ? -errno : -EIO;
            return;
        }
        got += (size_t)n;
    }
}

static void job_done(struct work *w, int status)
{
    struct serve_job *job = CONTAINER_OF(w, struct serve_job, work);
    if (job->conn && (status < 0 || job->read_error < 0)) {
        registry_miss(job->registry, job->conn, &job->query);
    } else if (job->conn) {
        job_answer(job);
    }
    job_free(job);
}

/* Takes fd over. In memory already: answered at once; cold: the pool reads it first. */
static void serve_from_memory(struct registry *r, struct conn *c, const struct registry_query *q,
                              const struct inventory_blob *blob, int fd)
{
    struct serve_job *job = calloc(1, sizeof *job);
    char *bytes = job ? malloc((size_t)blob->size_bytes + 1) : NULL;
    if (!bytes) {
        free(job);
        (void)close(fd);
        answer_no_memory(c);
        return;
    }
    *job = (struct serve_job){.work = {.run = job_run, .done = job_done},
                              .registry = r,
                              .conn = c,
                              .query = *q,
                              .digest = blob->digest,
                              .was_manifest = blob->is_manifest,
                              .fd = fd,
                              .size_bytes = (size_t)blob->size_bytes,
                              .bytes = bytes};
    job->query.registry_as_given = job->query.registry;
    list_push_back(&r->jobs, &job->link);
    struct iovec all = {.iov_base = bytes, .iov_len = job->size_bytes};
    if (preadv2(fd, &all, 1, 0, RWF_NOWAIT) == (ssize_t)job->size_bytes) {
        job_answer(job);
        job_free(job);
    } else if (work_start(r->loop, &job->work) < 0) {
        answer_no_memory(c);
        job_free(job);
    }
}

void serve_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                    const struct inventory_blob *blob)
{
    struct inventory_blob it = *blob; /* opening may withdraw it */
    if (not_modified(q, &it.digest) && it.is_manifest) {
        answer_not_modified(c, q, &it.digest, it.content_type);
        return;
    }
    if (it.size_bytes > LIMIT_MANIFEST_BYTES || it.size_bytes == 0) {
        answer_problem(c, 404, "MANIFEST_UNKNOWN", "not a manifest", "{\"attempts\":[]}");
        return;
    }
    int fd = inventory_open(r->config.inventory, &it.digest);
    if (fd < 0) {
        r->counters.withdrawn++;
        registry_miss(r, c, q);
    } else if (it.is_manifest && q->request->method == HTTP_METHOD_HEAD) {
        (void)close(fd);
        answer_manifest(r, c, q, &it.digest, NULL, (size_t)it.size_bytes);
    } else {
        serve_from_memory(r, c, q, &it, fd);
    }
}

void serve_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                const struct inventory_blob *blob)
{
    struct inventory_blob it = *blob;
    if (it.is_manifest) {
        answer_problem(c, 404, "BLOB_UNKNOWN", "a manifest, not a blob", "{\"attempts\":[]}");
        return;
    }
    if (not_modified(q, &it.digest)) {
        answer_not_modified(c, q, &it.digest, "application/octet-stream");
        return;
    }
    if (r->streams >= LIMIT_STREAMS) {
        answer_over_cap(r, c, q);
        return;
    }
    int fd = inventory_open(r->config.inventory, &it.digest);
    if (fd < 0) {
        r->counters.withdrawn++;
        registry_miss(r, c, q);
    } else if (!it.reached && it.size_bytes > 0 && it.size_bytes <= LIMIT_MANIFEST_BYTES) {
        /* No image names it yet, so nothing said what it is: a manifest must be 404 here. */
        serve_from_memory(r, c, q, &it, fd);
    } else {
        answer_blob(r, c, q, &it.digest, it.size_bytes, fd);
    }
}

void serve_gone(struct registry *r, struct conn *c)
{
    LIST_EACH (link, &r->jobs) {
        struct serve_job *job = CONTAINER_OF(link, struct serve_job, link);
        if (job->conn == c) {
            job->conn = NULL;
        }
    }
}

void serve_done(struct registry *r)
{
    /* The pool may still be reading: the jobs free themselves, into a list nobody looks at. */
    LIST_EACH_SAFE (link, &r->jobs) {
        CONTAINER_OF(link, struct serve_job, link)->conn = NULL;
        list_remove(link);
    }
}
