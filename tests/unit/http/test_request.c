#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/request.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HOST "Host: a\r\n"

/* Feeds in pieces of at most `step` bytes. *ret_used: bytes up to the end of the head. */
static int feed_in_steps(struct http_parser *p, const char *bytes, size_t n, size_t step,
                         size_t *ret_used)
{
    size_t fed = 0;
    int r = 0;
    while (r == 0 && fed < n) {
        /* A copy of exact size, so that ASan sees a read behind the end. */
        size_t part = n - fed < step ? n - fed : step, used = 0;
        char *copy = malloc(part);
        if (!copy) {
            return -ENOMEM;
        }
        memcpy(copy, bytes + fed, part);
        r = http_parser_feed(p, copy, part, &used);
        free(copy);
        if (r >= 0) {
            assert_true(used == part || (r == 1 && used < part));
            fed += used;
        }
    }
    *ret_used = fed;
    return r;
}

static int feed_all(const char *bytes, size_t n, size_t step)
{
    struct http_parser *p = http_parser_new();
    assert_non_null(p);
    size_t used = 0;
    int r = feed_in_steps(p, bytes, n, step, &used);
    http_parser_free(p);
    return r;
}

static const char full[] = "GET /v2/library/app/blobs/sha256:1?ns=docker.io HTTP/1.1\r\n"
                           "Host: localhost:5000\r\n"
                           "user-agent: containerd/1.6.20\r\n"
                           "ACCEPT:  application/json, */* \t\r\n"
                           "Range: bytes=5-\r\n"
                           "If-None-Match: \"x\"\r\n"
                           "If-Range: \"y\"\r\n"
                           "Authorization: Basic abc=\r\n"
                           "X-Spegel-Mirrored: true\r\n"
                           "X-Spegel-Mirror: m\r\n"
                           "X-Spegel-Registry: r\r\n"
                           "X-Spegel-Node: n\r\n"
                           "X-Spegel-Follow: f\r\n"
                           "X-Spegel-Doubt: d\r\n"
                           "X-Spegel-Auth: s\r\n"
                           "OCI-Namespace: docker.io\r\n"
                           "X-Something-Much-Longer-Than-Any-Name-We-Know: 1\r\n"
                           "Empty:\r\n"
                           "\r\n";

static void every_field_is_read_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof(full) - 1; step++) {
        struct http_parser *p = http_parser_new();
        size_t used = 0;
        assert_false(http_parser_started(p));
        assert_int_equal(feed_in_steps(p, full, sizeof(full) - 1, step, &used), 1);
        assert_int_equal(used, sizeof(full) - 1);
        assert_true(http_parser_started(p));
        const struct http_request *r = http_parser_request(p);
        assert_int_equal(r->method, HTTP_METHOD_GET);
        assert_string_equal(r->method_name, "GET");
        assert_string_equal(r->target, "/v2/library/app/blobs/sha256:1?ns=docker.io");
        assert_true(r->keep_alive && !r->http_1_0 && !r->has_body && !r->expect_continue);
        assert_string_equal(r->host, "localhost:5000");
        assert_string_equal(r->user_agent, "containerd/1.6.20");
        assert_string_equal(r->accept, "application/json, */*");
        assert_string_equal(r->range, "bytes=5-");
        assert_string_equal(r->if_none_match, "\"x\"");
        assert_string_equal(r->if_range, "\"y\"");
        assert_string_equal(r->authorization, "Basic abc=");
        assert_string_equal(r->spegel_mirrored, "true");
        assert_string_equal(r->spegel_mirror, "m");
        assert_string_equal(r->spegel_registry, "r");
        assert_string_equal(r->spegel_node, "n");
        assert_string_equal(r->spegel_follow, "f");
        assert_string_equal(r->spegel_doubt, "d");
        assert_string_equal(r->spegel_auth, "s");
        assert_string_equal(r->oci_namespace, "docker.io");
        http_parser_next(p);
        assert_false(http_parser_started(p));
        http_parser_free(p);
    }
}

static void a_pipelined_rest_stays_with_the_caller(void **state)
{
    (void)state;
    static const char two[] = "GET /1 HTTP/1.1\r\n" HOST "\r\n"
                              "HEAD /2 HTTP/1.1\r\n" HOST "Range: bytes=1-\r\n\r\n";
    struct http_parser *p = http_parser_new();
    size_t used = 0;
    assert_int_equal(http_parser_feed(p, two, sizeof(two) - 1, &used), 1);
    assert_string_equal(http_parser_request(p)->target, "/1");
    assert_null(http_parser_request(p)->range);
    http_parser_next(p);
    size_t rest = sizeof(two) - 1 - used, second = 0;
    assert_int_equal(http_parser_feed(p, two + used, rest, &second), 1);
    assert_int_equal(second, rest);
    assert_int_equal(http_parser_request(p)->method, HTTP_METHOD_HEAD);
    assert_string_equal(http_parser_request(p)->target, "/2");
    assert_string_equal(http_parser_request(p)->range, "bytes=1-");
    http_parser_free(p);
}

static const struct {
    const char *head;
    int result;
} heads[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", 1},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 1}, /* empty lines before are to be ignored */
    {"DELETE / HTTP/1.1\r\n" HOST "\r\n", 1},
    {"FROBNICATE / HTTP/1.1\r\n" HOST "\r\n", 1}, /* unknown, but a method: 405, not 400 */
    {"M-SEARCH * HTTP/1.1\r\n" HOST "\r\n", 1},
    {"GET http://h/x HTTP/1.1\r\n" HOST "\r\n", 1},
    {"GET / HTTP/1.0\r\n\r\n", 1}, /* HTTP/1.0 needs no Host */
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 1},
    {"GET / HTTP/1.1\r\n" HOST "X: \xc3\xa9\r\n\r\n", 1}, /* obs-text */
    {"GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 1},
    {"GET / HTTP/1.1\r\n" HOST "Range: a\r\nRange: b\r\n\r\n", 1}, /* the first counts */
    {"GET / HTTP/1.1\r\n" HOST, 0},
    {"\x16\x03\x01\x02", -EPROTO},                        /* a TLS hello */
    {"PRI * HTTP/2.0\r\n\r\n", -EPROTONOSUPPORT},         /* HTTP/2 with prior knowledge */
    {"GET / HTTP/2.0\r\n" HOST "\r\n", -EPROTONOSUPPORT}, /* a version we do not speak */
    {"GET / HTTP/1.7\r\n" HOST "\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n\r\n", -EPROTO}, /* no Host */
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", -EPROTO},
    {"GET /\r\n\r\n", -EPROTONOSUPPORT}, /* HTTP/0.9 */
    {"GET  HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    {"GE\tT / HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    {"ALONGMETHODNAMEOFMANYBYTES / HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    {"GET /a b HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", -EPROTO},
    /* line endings that others read differently */
    {"GET / HTTP/1.1\n" HOST "\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "X: a\rY: b\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r" HOST "\r\n", -EPROTO},
    {"\nGET / HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    {"\r\rGET / HTTP/1.1\r\n" HOST "\r\n", -EPROTO},
    /* header fields that others read differently */
    {"GET / HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n " HOST "\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", -EPROTO},
    /* bodies announced in ways that contradict each other */
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", -EPROTO},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", -EPROTO},
};

static void heads_are_taken_or_refused_alike_whole_and_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(heads); i++) {
        size_t n = strlen(heads[i].head);
        for (size_t step = 1; step <= n; step += n > 1 ? n - 1 : 1) {
            int r = feed_all(heads[i].head, n, step);
            if (r != heads[i].result) {
                fail_msg("row %zu (%.40s), steps of %zu: %d instead of %d", i, heads[i].head, step,
                         r, heads[i].result);
            }
        }
    }
}

static void a_nul_byte_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(full) - 1; i++) {
        char copy[sizeof(full)];
        memcpy(copy, full, sizeof(full));
        copy[i] = 0;
        assert_int_equal(feed_all(copy, sizeof(full) - 1, sizeof(full)), -EPROTO);
    }
}

static void bodies_and_connection_options_are_noticed(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool has_body, keep_alive, expect_continue;
        const char *target;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", false, true, false, "/"},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false, false, false, "/"},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x, CLOSE\r\n\r\n", false, false, false, "/"},
        {"GET / HTTP/1.0\r\n\r\n", false, false, false, "/"},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, true, false, "/"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", true, true, false, "/"},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", true, true, false, "/"},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: odd\r\n\r\n", true, true, false, "/"},
        {"PUT / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 9\r\n\r\n", true, true,
         true, "/"},
        {"GET http://other:1/p?q HTTP/1.1\r\n" HOST "\r\n", false, true, false, "/p?q"},
        {"GET http://other HTTP/1.1\r\n" HOST "\r\n", false, true, false, "/"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_parser *p = http_parser_new();
        size_t used = 0;
        assert_int_equal(http_parser_feed(p, rows[i].head, strlen(rows[i].head), &used), 1);
        const struct http_request *r = http_parser_request(p);
        assert_int_equal(r->has_body, rows[i].has_body);
        assert_int_equal(r->keep_alive, rows[i].keep_alive);
        assert_int_equal(r->expect_continue, rows[i].expect_continue);
        assert_string_equal(r->target, rows[i].target);
        http_parser_free(p);
    }
}

static char *repeat(const char *start, char filler, size_t n, const char *end)
{
    size_t start_bytes = strlen(start), end_bytes = strlen(end);
    char *text = malloc(start_bytes + n + end_bytes + 1);
    assert_non_null(text);
    memcpy(text, start, start_bytes);
    memset(text + start_bytes, filler, n);
    memcpy(text + start_bytes + n, end, end_bytes + 1);
    return text;
}

static void limits_hold_at_their_edges(void **state)
{
    (void)state;
    const struct {
        const char *start;
        size_t filler_bytes;
        const char *end;
        int result;
    } rows[] = {
        {"GET /", LIMIT_HTTP_TARGET_BYTES - 1, " HTTP/1.1\r\n" HOST "\r\n", 1},
        {"GET /", LIMIT_HTTP_TARGET_BYTES, " HTTP/1.1\r\n" HOST "\r\n", -ENAMETOOLONG},
        {"GET / HTTP/1.1\r\n" HOST "X: ", LIMIT_HTTP_HEAD_BYTES - 32, "\r\n\r\n", 1},
        {"GET / HTTP/1.1\r\n" HOST "X: ", LIMIT_HTTP_HEAD_BYTES - 31, "\r\n\r\n", -E2BIG},
        {"GET / HTTP/1.1\r\n" HOST "Range: ", LIMIT_HTTP_HEAD_BYTES - 36, "\r\n\r\n", 1},
        {"GET / HTTP/1.1\r\n" HOST "", LIMIT_HTTP_HEAD_BYTES, ": a\r\n\r\n", -E2BIG},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text = repeat(rows[i].start, 'x', rows[i].filler_bytes, rows[i].end);
        for (size_t step = 1; step < 20000; step = step * 50 + 7) {
            int r = feed_all(text, strlen(text), step);
            if (r != rows[i].result) {
                fail_msg("row %zu, steps of %zu: %d", i, step, r);
            }
        }
        free(text);
    }
    for (unsigned headers = LIMIT_HTTP_HEADERS; headers <= LIMIT_HTTP_HEADERS + 1; headers++) {
        char text[4096] = "GET / HTTP/1.1\r\n" HOST;
        for (unsigned i = 1; i < headers; i++) {
            strcat(text, "a: b\r\n");
        }
        strcat(text, "\r\n");
        assert_int_equal(feed_all(text, strlen(text), 4096),
                         headers <= LIMIT_HTTP_HEADERS ? 1 : -E2BIG);
    }
    char *lines = repeat("", '\r', LIMIT_HTTP_HEAD_BYTES + 2, "");
    for (size_t i = 1; i < LIMIT_HTTP_HEAD_BYTES + 2; i += 2) {
        lines[i] = '\n'; /* empty lines for ever */
    }
    assert_int_equal(feed_all(lines, strlen(lines), 1000), -E2BIG);
    free(lines);
}

static void a_dead_parser_stays_dead(void **state)
{
    (void)state;
    struct http_parser *p = http_parser_new();
    size_t used = 77;
    assert_int_equal(http_parser_feed(p, "\x01", 1, &used), -EPROTO);
    assert_int_equal(used, 77);
    assert_int_equal(http_parser_feed(p, full, sizeof(full) - 1, &used), -EPROTO);
    http_parser_free(p);
}

static void parse_without_memory(void)
{
    struct http_parser *p = http_parser_new();
    if (!p) {
        return;
    }
    size_t used = 0;
    int r = http_parser_feed(p, full, sizeof(full) - 1, &used);
    assert_true(r == 1 || r == -ENOMEM);
    if (r == 1) {
        assert_string_equal(http_parser_request(p)->oci_namespace, "docker.io");
    }
    http_parser_free(p);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP(parse_without_memory());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read_however_the_bytes_are_cut),
        cmocka_unit_test(a_pipelined_rest_stays_with_the_caller),
        cmocka_unit_test(heads_are_taken_or_refused_alike_whole_and_byte_by_byte),
        cmocka_unit_test(a_nul_byte_anywhere_is_refused),
        cmocka_unit_test(bodies_and_connection_options_are_noticed),
        cmocka_unit_test(limits_hold_at_their_edges),
        cmocka_unit_test(a_dead_parser_stays_dead),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
