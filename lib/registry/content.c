#include "registry/content.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "http/head.h"
#include "io/file_body.h"
#include "oci/range.h"

#define FIELDS_BYTES 2048
#define OCTETS "application/octet-stream"

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

bool content_not_modified(const struct registry_query *q, const struct digest *digest)
{
    char text[DIGEST_TEXT_BYTES];
    const char *header = q->request->if_none_match;
    if (!header) {
        return false;
    }
    digest_format(digest, text);
    return !strcmp(header, "*") || strstr(header, text);
}

void content_answer_not_modified(struct conn *c, const struct registry_query *q,
                                 const struct digest *digest, const char *content_type)
{
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    if (content_fields(&fields, q, digest, content_type) < 0) {
        answer_unable(c, q, "out of memory");
    } else {
        server_respond_head(c, 304, &fields, -1);
    }
    buf_done(&fields);
}

const char *content_range(const struct registry_query *q)
{
    char text[DIGEST_TEXT_BYTES];
    const char *if_range = q->request->if_range;
    if (q->path.kind != PATH_BLOB || q->request->method != HTTP_METHOD_GET) {
        return NULL;
    }
    digest_format(&q->path.digest, text);
    return if_range && !strstr(if_range, text) ? NULL : q->request->range;
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

/* --- bodies --- */

static void stream_finished(void *arg, int status, int64_t bytes_sent)
{
    (void)status;
    (void)bytes_sent;
    struct registry *r = arg;
    r->streams--;
}

static void peer_stream_finished(void *arg, int status, int64_t bytes_sent)
{
    struct registry *r = arg;
    r->peer_streams--;
    stream_finished(arg, status, bytes_sent);
}

/* So that one fresh holder is not crushed by a thousand askers: these go to the arbiter, which
 * knows who else is receiving it. */
static bool too_busy_for(const struct registry *r, const struct registry_query *q, int64_t length)
{
    return q->yields && r->peer_streams >= LIMIT_PEER_STREAMS && length > LIMIT_VERIFIED_BLOB_BYTES;
}

static void answer_busy(struct registry *r, struct conn *c, const struct registry_query *q)
{
    struct buf others;
    buf_init(&others, FIELDS_BYTES);
    r->counters.busy++;
    int failed = buf_puts(&others, "{\"holders\":[");
    failed |= mirror_write_holders(r->config.mirror, &q->path.digest, &others);
    failed |= buf_puts(&others, "]}");
    answer_problem(c, 503, "TOOMANYREQUESTS", "busy with other peers: ask another holder",
                   failed ? NULL : others.data);
    buf_done(&others);
}

static void stream_file(struct registry *r, struct conn *c, const struct registry_query *q,
                        const struct buf *fields, int status, int fd, int64_t offset,
                        int64_t length)
{
    struct body *body;
    if (too_busy_for(r, q, length)) {
        (void)close(fd);
        answer_busy(r, c, q);
    } else if (r->streams >= LIMIT_STREAMS) {
        (void)close(fd);
        r->counters.over_stream_cap++;
        answer_unable(c, q, "too many streams");
    } else if (file_body_new(r->loop, fd, offset, length,
                             q->yields ? peer_stream_finished : stream_finished, r, &body) < 0) {
        answer_unable(c, q, "out of memory");
    } else {
        r->streams++;
        r->peer_streams += q->yields;
        server_respond_body(c, status, fields, length, body);
    }
}

/* What a request for a blob of this size gets. */
struct part {
    struct buf fields;
    enum range_result range;
    int64_t first, length;
    bool failed;
};

static void part_begin(struct part *p, const struct registry_query *q, const struct digest *digest,
                       int64_t size_bytes)
{
    int64_t last = size_bytes - 1;
    p->first = 0;
    buf_init(&p->fields, FIELDS_BYTES);
    p->range = range_parse(content_range(q), size_bytes, &p->first, &last);
    int failed = content_fields(&p->fields, q, digest, OCTETS);
    failed |= http_head_field(&p->fields, "Accept-Ranges", "bytes");
    failed |= range_fields(&p->fields, p->range, p->first, last, size_bytes);
    p->failed = failed != 0;
    p->length = last - p->first + 1;
}

static bool part_has_body(const struct part *p, const struct registry_query *q)
{
    return !p->failed && p->range != RANGE_UNSATISFIABLE && p->length > 0 &&
           q->request->method == HTTP_METHOD_GET;
}

static int part_status(const struct part *p)
{
    return p->range == RANGE_PART ? 206 : 200;
}

static void part_answer_empty(const struct part *p, struct conn *c, const struct registry_query *q)
{
    if (p->failed) {
        answer_unable(c, q, "out of memory");
    } else if (p->range == RANGE_UNSATISFIABLE) {
        server_respond(c, 416, &p->fields, NULL, 0);
    } else {
        server_respond_head(c, 200, &p->fields, p->length);
    }
}

void content_answer_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                         const struct digest *digest, int64_t size_bytes, int fd)
{
    struct part p;
    part_begin(&p, q, digest, size_bytes);
    if (part_has_body(&p, q)) {
        stream_file(r, c, q, &p.fields, part_status(&p), fd, p.first, p.length);
    } else {
        (void)close(fd);
        part_answer_empty(&p, c, q);
    }
    buf_done(&p.fields);
}

int64_t content_first_byte(const struct registry_query *q, int64_t size_bytes)
{
    int64_t first = 0, last;
    return range_parse(content_range(q), size_bytes, &first, &last) == RANGE_UNSATISFIABLE ? -1
                                                                                           : first;
}

void content_answer_growing(struct registry *r, struct conn *c, const struct registry_query *q,
                            int64_t size_bytes, int fd, int64_t there_bytes, const char *origin,
                            void (*finished)(void *arg, int status, int64_t bytes_sent), void *arg,
                            struct growing_body **ret_body)
{
    struct part p;
    *ret_body = NULL;
    part_begin(&p, q, &q->path.digest, size_bytes);
    p.failed = p.failed || (origin && http_head_field(&p.fields, "X-Spegel-Origin", origin) < 0);
    if (!part_has_body(&p, q)) {
        (void)close(fd);
        part_answer_empty(&p, c, q);
    } else if (growing_body_new(r->loop, fd, p.first, p.length, there_bytes, finished, arg,
                                ret_body) < 0) {
        answer_unable(c, q, "out of memory");
    } else {
        server_respond_body(c, part_status(&p), &p.fields, p.length, growing_body(*ret_body));
    }
    buf_done(&p.fields);
}

void content_answer_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                             const struct inventory_blob *blob, const char *bytes, int fd)
{
    struct buf fields;
    buf_init(&fields, FIELDS_BYTES);
    if (content_fields(&fields, q, &blob->digest, blob->content_type) < 0) {
        answer_unable(c, q, "out of memory");
    } else if (bytes) {
        server_respond(c, 200, &fields, bytes, (size_t)blob->size_bytes);
    } else if (fd >= 0 && q->request->method == HTTP_METHOD_GET) {
        stream_file(r, c, q, &fields, 200, fd, 0, blob->size_bytes);
        fd = -1;
    } else {
        server_respond_head(c, 200, &fields, blob->size_bytes);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    buf_done(&fields);
}
