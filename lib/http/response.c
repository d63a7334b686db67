#include "http/response.h"

#include <errno.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/limits.h"
#include "http/field_name.h"
#include "http/guard.h"

#define VALUE_BYTES 256 /* of a header we look at; longer values count as absent */
#define INTERIM_MAX 8   /* 1xx responses before the one that counts */

enum field {
    FIELD_CONTENT_RANGE,
    FIELD_CONTENT_TYPE,
    FIELD_CONTENT_ENCODING,
    FIELD_DOCKER_CONTENT_DIGEST,
    FIELD_RETRY_AFTER,
    FIELD_SPEGEL_ORIGIN,
    FIELD_COUNT,
    FIELD_UNKNOWN = FIELD_COUNT,
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_CONTENT_RANGE] = "content-range",
    [FIELD_CONTENT_TYPE] = "content-type",
    [FIELD_CONTENT_ENCODING] = "content-encoding",
    [FIELD_DOCKER_CONTENT_DIGEST] = "docker-content-digest",
    [FIELD_RETRY_AFTER] = "retry-after",
    [FIELD_SPEGEL_ORIGIN] = "x-spegel-origin",
};

struct http_response_parser {
    llhttp_t llhttp;
    struct guard guard;
    bool complete;
    int error; /* also set for good once feeding has failed */
    unsigned interim;
    size_t head_bytes, header_count;
    struct field_name name;
    char value[VALUE_BYTES];
    size_t value_bytes;
    enum field field;
    struct http_response response;
};

static int on_header_field(llhttp_t *l, const char *bytes, size_t n)
{
    struct http_response_parser *p = l->data;
    if (p->name.count == 0 && ++p->header_count > LIMIT_HTTP_HEADERS) {
        p->error = -E2BIG;
        return HPE_USER;
    }
    field_name_add(&p->name, bytes, n);
    return 0;
}

static int on_header_field_complete(llhttp_t *l)
{
    struct http_response_parser *p = l->data;
    if (p->name.count == 0) {
        p->error = -EPROTO; /* llhttp lets ": value" pass */
        return HPE_USER;
    }
    p->field = (enum field)field_name_end(&p->name, field_names, FIELD_COUNT);
    p->value_bytes = 0;
    return 0;
}

static int on_header_value(llhttp_t *l, const char *bytes, size_t n)
{
    struct http_response_parser *p = l->data;
    if (p->field == FIELD_UNKNOWN) {
        return 0;
    }
    if (n >= VALUE_BYTES - p->value_bytes) {
        p->value_bytes = 0;
        /* An encoding too long to look at is one that we do not know. */
        p->response.content_encoded |= p->field == FIELD_CONTENT_ENCODING;
        p->field = FIELD_UNKNOWN;
        return 0;
    }
    memcpy(p->value + p->value_bytes, bytes, n);
    p->value_bytes += n;
    return 0;
}

/* Digits up to `end`; -1 when there are none, or others, or too many. */
static int64_t parse_number(const char *text, const char *end)
{
    int64_t number = 0;
    if (text == end) {
        return -1;
    }
    for (; text < end; text++) {
        if (*text < '0' || *text > '9' || number > (INT64_MAX - 9) / 10) {
            return -1;
        }
        number = number * 10 + (*text - '0');
    }
    return number;
}

/* RFC 9110, section 14.4. Other units than bytes are left alone; of an unsatisfied range (a star
 * before the slash) only the total is kept. */
static int parse_content_range(struct http_response *r, const char *value)
{
    if (strncasecmp(value, "bytes ", 6) != 0) {
        return 0;
    }
    const char *range = value + 6, *slash = strchr(range, '/');
    if (!slash) {
        return -EPROTO;
    }
    int64_t first = -1, last = -1, total = -1;
    if (strcmp(slash + 1, "*") != 0) {
        total = parse_number(slash + 1, slash + strlen(slash));
        if (total < 0) {
            return -EPROTO;
        }
    }
    if (slash != range + 1 || *range != '*') {
        const char *dash = memchr(range, '-', (size_t)(slash - range));
        first = dash ? parse_number(range, dash) : -1;
        last = dash ? parse_number(dash + 1, slash) : -1;
        if (first < 0 || last < first || (total >= 0 && last >= total)) {
            return -EPROTO;
        }
    }
    r->range_first = first;
    r->range_last = last;
    r->range_total = total;
    return 0;
}

static void keep_text(char *out, size_t out_bytes, const char *text)
{
    if (!*out && strlen(text) < out_bytes) {
        memcpy(out, text, strlen(text) + 1);
    }
}

static int on_header_value_complete(llhttp_t *l)
{
    struct http_response_parser *p = l->data;
    struct http_response *r = &p->response;
    while (p->value_bytes > 0 &&
           (p->value[p->value_bytes - 1] == ' ' || p->value[p->value_bytes - 1] == '\t')) {
        p->value_bytes--;
    }
    p->value[p->value_bytes] = 0;
    switch (p->field) {
    case FIELD_CONTENT_RANGE:
        p->error = parse_content_range(r, p->value);
        return p->error < 0 ? HPE_USER : 0;
    case FIELD_CONTENT_TYPE:
        keep_text(r->content_type, sizeof(r->content_type), p->value);
        return 0;
    case FIELD_CONTENT_ENCODING:
        r->content_encoded |= strcasecmp(p->value, "identity") != 0 && p->value_bytes > 0;
        return 0;
    case FIELD_DOCKER_CONTENT_DIGEST:
        keep_text(r->docker_content_digest, sizeof(r->docker_content_digest), p->value);
        return 0;
    case FIELD_SPEGEL_ORIGIN:
        keep_text(r->spegel_origin, sizeof(r->spegel_origin), p->value);
        return 0;
    case FIELD_RETRY_AFTER:
        r->retry_after_s = parse_number(p->value, p->value + p->value_bytes);
        return 0;
    case FIELD_UNKNOWN:
        break;
    }
    return 0;
}

static int on_headers_complete(llhttp_t *l)
{
    struct http_response_parser *p = l->data;
    struct http_response *r = &p->response;
    r->status = l->status_code;
    r->content_length = -1;
    if (l->http_major != 1 || r->status < 100 || r->status == 101) {
        p->error = -EPROTO;
        return HPE_USER;
    }
    if (l->flags & F_CONTENT_LENGTH) {
        if (l->content_length > INT64_MAX) {
            p->error = -EPROTO;
            return HPE_USER;
        }
        r->content_length = (int64_t)l->content_length;
    }
    r->chunked = l->flags & F_TRANSFER_ENCODING;
    r->keep_alive = llhttp_should_keep_alive(l);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
};

static void expect_head(struct http_response_parser *p)
{
    llhttp_init(&p->llhttp, HTTP_RESPONSE, &settings);
    p->llhttp.data = p;
    p->guard = (struct guard){0};
    p->name.count = p->value_bytes = 0;
    p->response = (struct http_response){
        .content_length = -1,
        .range_first = -1,
        .range_last = -1,
        .range_total = -1,
        .retry_after_s = -1,
    };
}

struct http_response_parser *http_response_parser_new(void)
{
    struct http_response_parser *p = calloc(1, sizeof(*p));
    if (p) {
        expect_head(p);
    }
    return p;
}

void http_response_parser_free(struct http_response_parser *p)
{
    free(p);
}

/* One head, interim or not. 1: complete; *ret_used as for the public function. */
static int feed_one(struct http_response_parser *p, const char *bytes, size_t n, size_t *ret_used)
{
    size_t end = n;
    int over = guard_scan(&p->guard, bytes, n, &end);
    if (over < 0) {
        return over;
    }
    p->head_bytes += end;
    if (p->head_bytes > LIMIT_HTTP_HEAD_BYTES) {
        return -E2BIG;
    }
    *ret_used = end;
    switch (llhttp_execute(&p->llhttp, bytes, end)) {
    case HPE_OK:
        return over ? -EPROTO : 0;
    case HPE_PAUSED:
        return over ? 1 : -EPROTO;
    default: /* a callback's error, or llhttp's own */
        return p->error ? p->error : -EPROTO;
    }
}

int http_response_parser_feed(struct http_response_parser *p, const char *bytes, size_t n,
                              size_t *ret_used)
{
    CHECK(!p->complete);
    size_t used = 0;
    int r = p->error;
    while (r == 0 && used < n) {
        size_t part = 0;
        r = feed_one(p, bytes + used, n - used, &part);
        used += part;
        if (r == 1 && p->response.status < 200) {
            expect_head(p);
            r = ++p->interim > INTERIM_MAX ? -EPROTO : 0;
        }
    }
    if (r < 0) {
        p->error = r;
        return r;
    }
    p->complete = r == 1;
    *ret_used = used;
    return r;
}

const struct http_response *http_response_parser_get(const struct http_response_parser *p)
{
    CHECK(p->complete);
    return &p->response;
}
