#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "http/response.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OK "HTTP/1.1 200 OK\r\n"

static int feed(struct http_response_parser *p, const char *text, size_t step, size_t *ret_used)
{
    size_t n = strlen(text), fed = 0;
    int r = 0;
    while (r == 0 && fed < n) {
        size_t used = 0;
        r = http_response_parser_feed(p, text + fed, n - fed < step ? n - fed : step, &used);
        fed += used;
    }
    *ret_used = fed;
    return r;
}

static void a_whole_head_is_read_and_the_body_left_alone(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 206 Partial Content\r\n"
                               "Content-Length: 95\r\n"
                               "content-range: bytes 5-99/100\r\n"
                               "Content-Type: application/octet-stream\r\n"
                               "Docker-Content-Digest: sha256:abc \r\n"
                               "Retry-After: 3\r\n"
                               "X-Spegel-Origin: 0a0b0c0d0e0f\r\n"
                               "Content-Encoding: identity\r\n"
                               "\r\n";
    char text[sizeof(head) + 4];
    (void)snprintf(text, sizeof(text), "%sbody", head);
    for (size_t step = 1; step < sizeof(text); step++) {
        struct http_response_parser *p = http_response_parser_new();
        size_t used = 0;
        assert_int_equal(feed(p, text, step, &used), 1);
        assert_int_equal(used, sizeof(head) - 1);
        const struct http_response *r = http_response_parser_get(p);
        assert_int_equal(r->status, 206);
        assert_int_equal(r->content_length, 95);
        assert_int_equal(r->range_first, 5);
        assert_int_equal(r->range_last, 99);
        assert_int_equal(r->range_total, 100);
        assert_string_equal(r->content_type, "application/octet-stream");
        assert_string_equal(r->docker_content_digest, "sha256:abc");
        assert_int_equal(r->retry_after_s, 3);
        assert_string_equal(r->spegel_origin, "0a0b0c0d0e0f");
        assert_true(r->keep_alive && !r->chunked && !r->content_encoded);
        http_response_parser_free(p);
    }
}

static void framing_is_reported_as_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int64_t content_length;
        bool chunked, keep_alive, content_encoded;
    } rows[] = {
        {OK "Content-Length: 0\r\n\r\n", 0, false, true, false},
        {OK "\r\n", -1, false, false, false}, /* until the connection ends */
        {OK "Transfer-Encoding: chunked\r\n\r\n", -1, true, true, false},
        {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", -1, true, true, false},
        {OK "Content-Length: 1\r\nConnection: close\r\n\r\n", 1, false, false, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", 1, false, false, false},
        {OK "Content-Length: 1\r\nContent-Encoding: gzip\r\n\r\n", 1, false, true, true},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", -1, false, true, false},
        {"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", 1, false, true, false},
        {OK "Content-Length: 9223372036854775807\r\n\r\n", INT64_MAX, false, true, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response_parser *p = http_response_parser_new();
        size_t used = 0;
        int got = feed(p, rows[i].head, 1 + i % 7, &used);
        if (got != 1) {
            fail_msg("row %zu: %d", i, got);
        }
        const struct http_response *r = http_response_parser_get(p);
        assert_int_equal(r->content_length, rows[i].content_length);
        assert_int_equal(r->chunked, rows[i].chunked);
        assert_int_equal(r->keep_alive, rows[i].keep_alive);
        assert_int_equal(r->content_encoded, rows[i].content_encoded);
        http_response_parser_free(p);
    }
}

static void interim_responses_are_skipped(void **state)
{
    (void)state;
    struct http_response_parser *p = http_response_parser_new();
    size_t used = 0;
    assert_int_equal(feed(p,
                          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Type: "
                          "x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
                          1000, &used),
                     1);
    assert_int_equal(http_response_parser_get(p)->status, 404);
    assert_string_equal(http_response_parser_get(p)->content_type, "");
    http_response_parser_free(p);
}

static void what_could_be_read_in_two_ways_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n",
        OK "Content-Length: 1\n\r\n",
        OK "Content-Length: 1\r\n\n",
        OK "A: b\r\n c\r\n\r\n",
        OK ": b\r\n\r\n",
        OK "A : b\r\n\r\n",
        OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK "Content-Length: -1\r\n\r\n",
        OK "Content-Length: 9223372036854775808\r\n\r\n",
        OK "Content-Range: bytes 5-\r\n\r\n",
        OK "Content-Range: bytes 5-4/9\r\n\r\n",
        OK "Content-Range: bytes 5-9/9\r\n\r\n",
        OK "Content-Range: bytes 5-9/x\r\n\r\n",
        OK "Content-Range: bytes 5-99999999999999999999/*\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 099 Odd\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t step = 1; step < 200; step += 150) {
            struct http_response_parser *p = http_response_parser_new();
            size_t used = 0;
            int r = feed(p, rows[i], step, &used);
            if (r != -EPROTO) {
                fail_msg("row %zu, steps of %zu: %d", i, step, r);
            }
            http_response_parser_free(p);
        }
    }
}

static void content_ranges_keep_what_they_know(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t first, last, total;
    } rows[] = {
        {"bytes 0-0/1", 0, 0, 1},
        {"Bytes 3-7/*", 3, 7, -1},
        {"bytes */100", -1, -1, 100},
        {"pages 1-2/3", -1, -1, -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char head[200];
        (void)snprintf(head, sizeof(head), OK "Content-Range: %s\r\n\r\n", rows[i].value);
        struct http_response_parser *p = http_response_parser_new();
        size_t used = 0;
        assert_int_equal(feed(p, head, 1000, &used), 1);
        const struct http_response *r = http_response_parser_get(p);
        assert_int_equal(r->range_first, rows[i].first);
        assert_int_equal(r->range_last, rows[i].last);
        assert_int_equal(r->range_total, rows[i].total);
        http_response_parser_free(p);
    }
}

static void heads_without_end_are_refused(void **state)
{
    (void)state;
    struct http_response_parser *p = http_response_parser_new();
    size_t used = 0;
    assert_int_equal(http_response_parser_feed(p, OK, strlen(OK), &used), 0);
    int r = 0;
    for (int i = 0; i < LIMIT_HTTP_HEAD_BYTES && r == 0; i++) {
        r = http_response_parser_feed(p, "Aa: bbbb\r\n", 10, &used);
    }
    assert_int_equal(r, -E2BIG);
    assert_int_equal(http_response_parser_feed(p, "\r\n", 2, &used), -E2BIG);
    http_response_parser_free(p);

    p = http_response_parser_new();
    r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        r = feed(p, "HTTP/1.1 100 Continue\r\n\r\n", 1000, &used);
    }
    assert_int_equal(r, -EPROTO);
    http_response_parser_free(p);
}

static void without_memory_there_is_no_parser(void **state)
{
    (void)state;
    support_fail_allocation(1);
    assert_null(http_response_parser_new());
    support_fail_allocation(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head_is_read_and_the_body_left_alone),
        cmocka_unit_test(framing_is_reported_as_it_is),
        cmocka_unit_test(interim_responses_are_skipped),
        cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
        cmocka_unit_test(content_ranges_keep_what_they_know),
        cmocka_unit_test(heads_without_end_are_refused),
        cmocka_unit_test(without_memory_there_is_no_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
