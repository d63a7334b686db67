#include "http/request.h"

#include <errno.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/check.h"
#include "http/field_name.h"
#include "http/guard.h"

#define METHOD_BYTES 24

enum phase { PHASE_EMPTY_LINES, PHASE_METHOD, PHASE_REST, PHASE_COMPLETE, PHASE_DEAD };

enum field {
    FIELD_HOST,
    FIELD_EXPECT,
    FIELD_RANGE,
    FIELD_IF_NONE_MATCH,
    FIELD_IF_RANGE,
    FIELD_ACCEPT,
    FIELD_AUTHORIZATION,
    FIELD_USER_AGENT,
    FIELD_SPEGEL_MIRRORED,
    FIELD_SPEGEL_MIRROR,
    FIELD_SPEGEL_REGISTRY,
    FIELD_SPEGEL_NODE,
    FIELD_SPEGEL_FOLLOW,
    FIELD_SPEGEL_DOUBT,
    FIELD_SPEGEL_AUTH,
    FIELD_OCI_NAMESPACE,
    FIELD_COUNT,
    FIELD_UNKNOWN = FIELD_COUNT,
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_HOST] = "host",
    [FIELD_EXPECT] = "expect",
    [FIELD_RANGE] = "range",
    [FIELD_IF_NONE_MATCH] = "if-none-match",
    [FIELD_IF_RANGE] = "if-range",
    [FIELD_ACCEPT] = "accept",
    [FIELD_AUTHORIZATION] = "authorization",
    [FIELD_USER_AGENT] = "user-agent",
    [FIELD_SPEGEL_MIRRORED] = "x-spegel-mirrored",
    [FIELD_SPEGEL_MIRROR] = "x-spegel-mirror",
    [FIELD_SPEGEL_REGISTRY] = "x-spegel-registry",
    [FIELD_SPEGEL_NODE] = "x-spegel-node",
    [FIELD_SPEGEL_FOLLOW] = "x-spegel-follow",
    [FIELD_SPEGEL_DOUBT] = "x-spegel-doubt",
    [FIELD_SPEGEL_AUTH] = "x-spegel-auth",
    [FIELD_OCI_NAMESPACE] = "oci-namespace",
};

struct http_parser {
    llhttp_t llhttp;
    struct guard guard;
    enum phase phase;
    int error; /* what a callback found wrong */
    size_t head_bytes, header_count, target_bytes;
    char method[METHOD_BYTES];
    size_t method_bytes;
    struct field_name name;
    enum field field; /* whose value is being read */
    /* Target first, then values, each ended by a NUL; offsets until the head is complete, since
     * the buffer moves as it grows. 0: absent (the target is at 0). */
    struct buf text;
    size_t values[FIELD_COUNT];
    struct http_request request;
};

static int fail(struct http_parser *p, int error)
{
    p->error = error;
    return HPE_USER;
}

static int store(struct http_parser *p, const char *bytes, size_t n)
{
    int r = buf_append(&p->text, bytes, n);
    return r < 0 ? fail(p, r == -ENOBUFS ? -E2BIG : r) : 0;
}

static int on_url(llhttp_t *l, const char *bytes, size_t n)
{
    struct http_parser *p = l->data;
    p->target_bytes += n;
    return p->target_bytes > LIMIT_HTTP_TARGET_BYTES ? fail(p, -ENAMETOOLONG) : store(p, bytes, n);
}

static int on_url_complete(llhttp_t *l)
{
    return store(l->data, "", 1);
}

static int on_header_field(llhttp_t *l, const char *bytes, size_t n)
{
    struct http_parser *p = l->data;
    if (p->name.count == 0 && ++p->header_count > LIMIT_HTTP_HEADERS) {
        return fail(p, -E2BIG);
    }
    field_name_add(&p->name, bytes, n);
    return 0;
}

static int on_header_field_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    if (p->name.count == 0) {
        return fail(p, -EPROTO); /* llhttp lets ": value" pass */
    }
    p->field = (enum field)field_name_end(&p->name, field_names, FIELD_COUNT);
    if (p->field == FIELD_UNKNOWN) {
        return 0;
    }
    if (p->values[p->field]) {
        /* RFC 9112, section 3.2: two Host fields are an error. Others: the first counts. */
        if (p->field == FIELD_HOST) {
            return fail(p, -EPROTO);
        }
        p->field = FIELD_UNKNOWN;
        return 0;
    }
    p->values[p->field] = p->text.len;
    return 0;
}

static int on_header_value(llhttp_t *l, const char *bytes, size_t n)
{
    struct http_parser *p = l->data;
    return p->field == FIELD_UNKNOWN ? 0 : store(p, bytes, n);
}

static int on_header_value_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    if (p->field == FIELD_UNKNOWN) {
        return 0;
    }
    struct buf *t = &p->text;
    while (t->len > p->values[p->field] &&
           (t->data[t->len - 1] == ' ' || t->data[t->len - 1] == '\t')) {
        t->len--;
    }
    return store(p, "", 1);
}

static const char *value(const struct http_parser *p, enum field field)
{
    return p->values[field] ? p->text.data + p->values[field] : NULL;
}

/* RFC 9112, section 3.2.2: a server must take the absolute form too. */
static const char *origin_form(const char *target)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    if (scheme == 0) {
        return target;
    }
    target = strchr(target + scheme, '/');
    return target ? target : "/";
}

static int on_headers_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    struct http_request *r = &p->request;
    if (l->http_major != 1) {
        return fail(p, -EPROTONOSUPPORT);
    }
    const char *expect = value(p, FIELD_EXPECT);
    *r = (struct http_request){
        .method = strcmp(p->method, "GET") == 0    ? HTTP_METHOD_GET
                  : strcmp(p->method, "HEAD") == 0 ? HTTP_METHOD_HEAD
                                                   : HTTP_METHOD_OTHER,
        .method_name = p->method,
        .target = origin_form(p->text.data),
        .http_1_0 = l->http_minor == 0,
        .keep_alive = llhttp_should_keep_alive(l),
        .has_body = l->content_length > 0 || (l->flags & F_TRANSFER_ENCODING),
        .expect_continue = l->http_minor > 0 && expect && strcasecmp(expect, "100-continue") == 0,
        .host = value(p, FIELD_HOST),
        .range = value(p, FIELD_RANGE),
        .if_none_match = value(p, FIELD_IF_NONE_MATCH),
        .if_range = value(p, FIELD_IF_RANGE),
        .accept = value(p, FIELD_ACCEPT),
        .authorization = value(p, FIELD_AUTHORIZATION),
        .user_agent = value(p, FIELD_USER_AGENT),
        .spegel_mirrored = value(p, FIELD_SPEGEL_MIRRORED),
        .spegel_mirror = value(p, FIELD_SPEGEL_MIRROR),
        .spegel_registry = value(p, FIELD_SPEGEL_REGISTRY),
        .spegel_node = value(p, FIELD_SPEGEL_NODE),
        .spegel_follow = value(p, FIELD_SPEGEL_FOLLOW),
        .spegel_doubt = value(p, FIELD_SPEGEL_DOUBT),
        .spegel_auth = value(p, FIELD_SPEGEL_AUTH),
        .oci_namespace = value(p, FIELD_OCI_NAMESPACE),
    };
    if (!r->host && !r->http_1_0) {
        return fail(p, -EPROTO); /* RFC 9112, section 3.2 */
    }
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
};

struct http_parser *http_parser_new(void)
{
    struct http_parser *p = calloc(1, sizeof(*p));
    if (p) {
        buf_init(&p->text, LIMIT_HTTP_HEAD_BYTES);
        http_parser_next(p);
    }
    return p;
}

void http_parser_free(struct http_parser *p)
{
    if (p) {
        buf_done(&p->text);
        free(p);
    }
}

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int execute(struct http_parser *p, const char *bytes, size_t n)
{
    switch (llhttp_execute(&p->llhttp, bytes, n)) {
    case HPE_OK:
        return 0;
    case HPE_PAUSED:
        return 1;
    default: /* a callback's error, or llhttp's own */
        return p->error ? p->error : -EPROTO;
    }
}

/* The method is read here, since llhttp refuses those it does not know (we answer them with 405)
 * and treats some by rules of their own (CONNECT, PRI, SOURCE); it is told GET, always. */
static int feed_method(struct http_parser *p, char c)
{
    if (is_token(c)) {
        if (p->method_bytes + 1 >= METHOD_BYTES) {
            return -EPROTO;
        }
        p->method[p->method_bytes++] = c;
        return 0;
    }
    if (c != ' ' || p->method_bytes == 0) {
        return -EPROTO;
    }
    p->method[p->method_bytes] = 0;
    p->phase = PHASE_REST;
    p->guard.line_has_bytes = true;
    return execute(p, "GET ", 4);
}

/* RFC 9112, section 2.2: empty lines before the request line are to be ignored. */
static int feed_empty_lines(struct http_parser *p, char c)
{
    if (p->guard.after_cr != (c == '\n')) {
        return -EPROTO;
    }
    p->guard.after_cr = c == '\r';
    if (c != '\r' && c != '\n') {
        p->phase = PHASE_METHOD;
        return feed_method(p, c);
    }
    return 0;
}

static int feed(struct http_parser *p, const char *bytes, size_t n, size_t *ret_used)
{
    size_t i = 0;
    for (; i < n && p->phase < PHASE_REST; i++) {
        int r = p->phase == PHASE_EMPTY_LINES ? feed_empty_lines(p, bytes[i])
                                              : feed_method(p, bytes[i]);
        if (r < 0) {
            return r;
        }
    }
    size_t rest = n - i;
    int over = guard_scan(&p->guard, bytes + i, n - i, &rest);
    if (over < 0) {
        return over;
    }
    *ret_used = i + rest;
    int r = execute(p, bytes + i, rest);
    /* Guard and llhttp must see the end at the same byte. */
    return r >= 0 && r != over ? -EPROTO : r;
}

int http_parser_feed(struct http_parser *p, const char *bytes, size_t n, size_t *ret_used)
{
    CHECK(p->phase != PHASE_COMPLETE);
    if (p->phase == PHASE_DEAD) {
        return -EPROTO;
    }
    size_t allowed = LIMIT_HTTP_HEAD_BYTES - p->head_bytes;
    size_t used = 0;
    int r = feed(p, bytes, n < allowed ? n : allowed, &used);
    p->head_bytes += used;
    if (r == 0 && n > allowed) {
        r = -E2BIG;
    }
    if (r < 0) {
        p->phase = PHASE_DEAD;
        return r;
    }
    if (r == 1) {
        p->phase = PHASE_COMPLETE;
    }
    *ret_used = used;
    return r;
}

const struct http_request *http_parser_request(const struct http_parser *p)
{
    CHECK(p->phase == PHASE_COMPLETE);
    return &p->request;
}

bool http_parser_started(const struct http_parser *p)
{
    return p->head_bytes > 0;
}

void http_parser_next(struct http_parser *p)
{
    struct buf text = p->text;
    buf_done(&text);
    *p = (struct http_parser){.text = text};
    llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
    p->llhttp.data = p;
}
