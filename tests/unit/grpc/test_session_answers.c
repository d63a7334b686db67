#include "grpc/session.h"

#include "caller.h"
#include "peer.h"

static const char *const long_text = /* 300 characters */
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "012345678901234567";

static void test_each_bad_answer_ends_its_call_and_no_other(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct peer_reply reply;
        bool stream;
        unsigned messages;
        enum grpc_code code;
        const char *text;
    } table[] = {
        {"trailers only",
         {.trailers_only = true, .grpc_status = "5", .grpc_message = "blob %22x%22: not%20found"},
         .code = GRPC_NOT_FOUND,
         .text = "blob \"x\": not found"},
        {"a status and no words",
         {.trailers_only = true, .grpc_status = "9"},
         .code = GRPC_FAILED_PRECONDITION,
         .text = ""},
        {"an error after the message of a unary call",
         {BODY(HELLO), .grpc_status = "13", .grpc_message = "late"},
         .code = GRPC_INTERNAL,
         .text = "late"},
        {"an error after a stream's message",
         {BODY(HELLO), .grpc_status = "4", .grpc_message = "late"},
         .stream = true,
         .messages = 1,
         .code = GRPC_DEADLINE_EXCEEDED,
         .text = "late"},
        {"a status nobody knows",
         {.trailers_only = true, .grpc_status = "77", .grpc_message = "?"},
         .code = GRPC_UNKNOWN,
         .text = "?"},
        {"no status",
         {BODY(HELLO)},
         .code = GRPC_INTERNAL,
         .text = "the answer ended without a status"},
        {"HTTP 503, not gRPC",
         {.http_status = "503", .content_type = "text/html", BODY("<html>")},
         .code = GRPC_UNAVAILABLE,
         .text = "answered with HTTP status 503"},
        {"HTTP 404 without a body",
         {.http_status = "404", .content_type = "", .trailers_only = true},
         .code = GRPC_UNIMPLEMENTED,
         .text = "answered with HTTP status 404"},
        {"200, not gRPC",
         {.content_type = "application/json", BODY("{}"), .grpc_status = "0"},
         .code = GRPC_UNKNOWN,
         .text = "the answer is not gRPC"},
        {"no content type",
         {.content_type = "", BODY(HELLO), .grpc_status = "0"},
         .code = GRPC_UNKNOWN,
         .text = "the answer is not gRPC"},
        {"OK without a message",
         {.trailers_only = true, .grpc_status = "0"},
         .code = GRPC_INTERNAL,
         .text = "an answer without a message"},
        {"two messages to a unary call",
         {BODY(HELLO HELLO), .grpc_status = "0"},
         .code = GRPC_INTERNAL,
         .text = "more than one message"},
        {"OK within a message",
         {BODY(HELLO "\0\0\0\0\5hel"), .grpc_status = "0"},
         .stream = true,
         .messages = 1,
         .code = GRPC_INTERNAL,
         .text = "the answer ended within a message"},
        {"OK within a prefix",
         {BODY(HELLO "\0\0"), .grpc_status = "0"},
         .stream = true,
         .messages = 1,
         .code = GRPC_INTERNAL,
         .text = "the answer ended within a message"},
        {"compressed",
         {BODY("\1\0\0\0\5hello"), .grpc_status = "0"},
         .code = GRPC_INTERNAL,
         .text = "a compressed message"},
        {"too large",
         {BODY("\0\1\0\0\1hello"), .grpc_status = "0"},
         .code = GRPC_RESOURCE_EXHAUSTED,
         .text = "a message of 16777217 bytes"},
        {"too many headers",
         {BODY(HELLO), .grpc_status = "0", .extra_headers = 100},
         .code = GRPC_RESOURCE_EXHAUSTED,
         .text = "a response of more than 64 headers"},
        {"a long text",
         {.trailers_only = true, .grpc_status = "2", .grpc_message = long_text},
         .code = GRPC_UNKNOWN,
         .text = NULL},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (size_t step = 1; step <= STEP; step *= 256) {
            struct fixture f = fixture_new();
            struct caller other = {0}, c = {0};
            assert_int_equal(caller_start(&other, f.session, true, 0), 0);
            assert_int_equal(caller_start(&c, f.session, table[i].stream, 10), 0);
            peer_pump(f.peer, f.session, step);
            peer_answer(f.peer, 3, &table[i].reply);
            assert_int_equal(peer_pump(f.peer, f.session, step), 0);
            if (c.done != 1 || c.messages != table[i].messages || c.status.code != table[i].code ||
                (table[i].text && strcmp(c.status.text, table[i].text) != 0)) {
                fail_msg("%s: done %u, %u messages, %s: %s", table[i].name, c.done, c.messages,
                         grpc_code_name(c.status.code), c.status.text);
            }
            assert_int_equal(c.status.error, grpc_code_error(table[i].code));
            assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_OPEN);
            assert_int_equal(other.done, 0);
            const struct peer_reply fine = {BODY(HELLO), .grpc_status = "0"};
            peer_answer(f.peer, 1, &fine);
            peer_pump(f.peer, f.session, step);
            assert_int_equal(other.done, 1);
            assert_int_equal(other.status.error, 0);
            fixture_done(&f);
            assert_int_equal(c.done, 1);
        }
    }
}

static void test_a_reset_ends_the_call_with_what_the_reset_means(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= NGHTTP2_HTTP_1_1_REQUIRED; code++) {
        struct fixture f = fixture_new();
        struct caller c = {0};
        assert_int_equal(caller_start(&c, f.session, true, 0), 0);
        peer_pump(f.peer, f.session, STEP);
        assert_int_equal(nghttp2_submit_rst_stream(f.peer->h2, 0, 1, code), 0);
        peer_pump(f.peer, f.session, STEP);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.status.code, grpc_code_from_reset(code));
        assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_OPEN);
        fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_bad_answer_ends_its_call_and_no_other),
        cmocka_unit_test(test_a_reset_ends_the_call_with_what_the_reset_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
