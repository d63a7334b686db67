#include "registry/answer.h"

#include "http/head.h"
#include "oci/problem.h"

#define FIELDS_BYTES 4096

void answer_no_memory(struct conn *c)
{
    struct buf none;
    buf_init(&none, 0);
    server_respond(c, 503, &none, NULL, 0);
}

void answer_json(struct conn *c, int status, const struct buf *fields, const struct buf *json)
{
    struct buf all;
    buf_init(&all, FIELDS_BYTES);
    int r = http_head_field(&all, "Content-Type", "application/json");
    if (r == 0 && fields && fields->len) {
        r = buf_append(&all, fields->data, fields->len);
    }
    if (r < 0) {
        answer_no_memory(c);
    } else {
        server_respond(c, status, &all, json->data, json->len);
    }
    buf_done(&all);
}

void answer_problem(struct conn *c, int status, const char *code, const char *message,
                    const char *detail_json)
{
    struct buf fields, json;
    buf_init(&fields, FIELDS_BYTES);
    buf_init(&json, 64 * 1024);
    int failed = problem_write(&json, code, message, detail_json);
    failed |= http_head_field(&fields, "Content-Type", "application/json");
    if (status == 405) {
        failed |= http_head_field(&fields, "Allow", "GET, HEAD");
    } else if (status == 401) {
        failed |= http_head_field(&fields, "WWW-Authenticate", "Basic realm=\"spegel\"");
    } else if (status == 503) {
        failed |= http_head_field(&fields, "Retry-After", "1");
    }
    if (failed) {
        buf_clear(&fields);
        buf_clear(&json);
    }
    server_respond(c, status, &fields, json.data, json.len);
    buf_done(&fields);
    buf_done(&json);
}

int answer_fields(struct buf *fields, const struct registry_query *q)
{
    return q->registry[0] ? http_head_field(fields, "OCI-Namespace", q->registry) : 0;
}

void answer_unable(struct conn *c, const struct registry_query *q, const char *why)
{
    if (q->from_peer) {
        answer_problem(c, 503, "TOOMANYREQUESTS", why, NULL);
    } else {
        answer_problem(c, 404, q->path.kind == PATH_BLOB ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN", why,
                       "{\"attempts\":[]}");
    }
}
