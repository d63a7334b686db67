#include "grpc/session.h"

#include <errno.h>

#include "caller.h"
#include "content.pb-c.h"
#include "peer.h"

static const struct peer_reply ok = {BODY(HELLO), .grpc_status = "0"};

static void test_a_unary_call_asks_as_grpc_does_and_gets_its_message(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {0};
    Content__InfoRequest info = CONTENT__INFO_REQUEST__INIT;
    info.digest = "sha256:ab";
    const struct grpc_header more = {"x-trace", "7"};
    const struct grpc_request request = {.path = GRPC_CONTENT_INFO,
                                         .containerd_namespace = "k8s.io",
                                         .headers = &more,
                                         .header_count = 1,
                                         .message = &info.base,
                                         .deadline_at_ms = 10};
    c.call.on_message = caller_on_message;
    c.call.on_done = caller_on_done;
    assert_int_equal(grpc_call_start(f.session, &c.call, &request), 0);
    assert_true(grpc_call_active(&c.call));
    assert_int_equal(peer_pump(f.peer, f.session, STEP), 0);
    const struct peer_stream *st = peer_stream(f.peer, 1);
    assert_string_equal(st->headers, ":method: POST\n:scheme: http\n"
                                     ":path: /containerd.services.content.v1.Content/Info\n"
                                     ":authority: localhost\ncontent-type: application/grpc\n"
                                     "te: trailers\nuser-agent: spegel\n"
                                     "containerd-namespace: k8s.io\nx-trace: 7\n");
    assert_true(st->ended);
    assert_int_equal(st->body_bytes, 16);
    assert_memory_equal(st->body, "\0\0\0\0\13\12\11sha256:ab", 16);

    peer_answer(f.peer, 1, &ok);
    assert_int_equal(peer_pump(f.peer, f.session, STEP), 0);
    assert_int_equal(c.messages, 1);
    assert_memory_equal(c.last, "hello", 5);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.message_after_done, 0);
    assert_int_equal(c.status.error, 0);
    assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_OPEN);
    fixture_done(&f);
    assert_int_equal(c.done, 1);
}

static void test_a_unary_message_waits_for_the_status(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {0};
    struct peer_reply reply = ok;
    reply.keep_open = true;
    assert_int_equal(caller_start(&c, f.session, false, 10), 0);
    peer_pump(f.peer, f.session, STEP);
    peer_answer(f.peer, 1, &reply);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.messages + c.done, 0);
    peer_more(f.peer, 1, "", 0, false);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.messages, 1);
    assert_int_equal(c.done, 1);
    fixture_done(&f);
}

static void test_a_stream_gives_each_message_however_the_bytes_are_cut(void **state)
{
    (void)state;
    enum { LONG = 70000, BODY = 5 + 10 + 5 + 5 + LONG };
    char *body = calloc(1, BODY);
    assert_non_null(body);
    memcpy(body,
           "\0\0\0\0\0"
           "\0\0\0\0\5hello",
           15);
    grpc_prefix_write((uint8_t *)body + 20, LONG);
    for (size_t step = 1; step <= STEP; step = step < 40 ? step + 1 : step * 4) {
        struct fixture f = fixture_new();
        struct caller c = {0};
        const struct peer_reply reply = {.body = body, .body_bytes = BODY, .grpc_status = "0"};
        assert_int_equal(caller_start(&c, f.session, true, 0), 0);
        peer_pump(f.peer, f.session, step);
        peer_answer(f.peer, 1, &reply);
        assert_int_equal(peer_pump(f.peer, f.session, step), 0);
        assert_int_equal(c.messages, 4);
        assert_int_equal(c.bytes, 5 + LONG);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.status.code, GRPC_OK);
        fixture_done(&f);
    }
    free(body);
}

static void test_messages_of_sixteen_mebibytes_go_both_ways(void **state)
{
    (void)state;
    size_t n = LIMIT_GRPC_MESSAGE_BYTES;
    char *text = malloc(n + GRPC_PREFIX_BYTES);
    assert_non_null(text);
    memset(text, 'x', n);
    text[n - 5] = 0; /* one byte of tag and four of length make it n */
    struct fixture f = fixture_new();
    struct caller c = {0};
    Content__InfoRequest info = CONTENT__INFO_REQUEST__INIT;
    info.digest = text;
    struct grpc_request request = {
        .path = GRPC_CONTENT_INFO, .message = &info.base, .deadline_at_ms = 10};
    c.call.on_message = caller_on_message;
    c.call.on_done = caller_on_done;
    assert_int_equal(grpc_call_start(f.session, &c.call, &request), 0);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(peer_stream(f.peer, 1)->body_bytes, n + GRPC_PREFIX_BYTES);
    assert_true(peer_stream(f.peer, 1)->ended);
    grpc_prefix_write((uint8_t *)text, (uint32_t)n);
    const struct peer_reply reply = {
        .body = text, .body_bytes = n + GRPC_PREFIX_BYTES, .grpc_status = "0"};
    peer_answer(f.peer, 1, &reply);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.status.error, 0);
    assert_int_equal(c.bytes, n);

    text[n - 5] = 'x'; /* one byte more than there may be */
    memset(text, 'x', GRPC_PREFIX_BYTES);
    text[n - 4] = 0;
    assert_int_equal(grpc_call_start(f.session, &c.call, &request), -EMSGSIZE);
    assert_false(grpc_call_active(&c.call));
    fixture_done(&f);
    assert_int_equal(c.done, 1);
    free(text);
}

static void test_more_bytes_than_any_window_go_through_one_stream(void **state)
{
    (void)state;
    size_t n = 6 * 1024 * 1024, rounds = 10;
    char *body = calloc(1, n);
    assert_non_null(body);
    grpc_prefix_write((uint8_t *)body, (uint32_t)n - GRPC_PREFIX_BYTES);
    struct fixture f = fixture_new();
    struct caller c = {0};
    const struct peer_reply reply = {
        .body = body, .body_bytes = n, .grpc_status = "0", .keep_open = true};
    assert_int_equal(caller_start(&c, f.session, true, 0), 0);
    peer_pump(f.peer, f.session, STEP);
    peer_answer(f.peer, 1, &reply);
    for (size_t i = 1; i <= rounds; i++) {
        peer_pump(f.peer, f.session, STEP);
        assert_int_equal(c.messages, i);
        peer_more(f.peer, 1, body, i == rounds ? 0 : n, i < rounds);
    }
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.status.error, 0);
    fixture_done(&f);
    free(body);
}

static void test_the_largest_message_waits_for_no_window_and_nothing_is_pushed(void **state)
{
    (void)state;
    size_t n = LIMIT_GRPC_MESSAGE_BYTES + GRPC_PREFIX_BYTES;
    char *body = calloc(1, n);
    assert_non_null(body);
    grpc_prefix_write((uint8_t *)body, LIMIT_GRPC_MESSAGE_BYTES);
    struct fixture f = fixture_new();
    struct caller c = {0};
    const struct peer_reply reply = {.body = body, .body_bytes = n, .grpc_status = "0"};
    assert_int_equal(caller_start(&c, f.session, true, 0), 0);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(nghttp2_session_get_remote_settings(f.peer->h2, NGHTTP2_SETTINGS_ENABLE_PUSH),
                     0);
    peer_answer(f.peer, 1, &reply);
    peer_push(f.peer, f.session);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.bytes, LIMIT_GRPC_MESSAGE_BYTES);
    fixture_done(&f);
    free(body);
}

static void test_an_answer_before_the_request_was_sent_stops_the_sending(void **state)
{
    (void)state;
    size_t n = LIMIT_GRPC_MESSAGE_BYTES / 2;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = 0;
    struct fixture f = fixture_new();
    struct caller c = {.call = {.on_message = caller_on_message, .on_done = caller_on_done}};
    Content__InfoRequest info = CONTENT__INFO_REQUEST__INIT;
    info.digest = text;
    const struct grpc_request request = {
        .path = GRPC_CONTENT_INFO, .message = &info.base, .deadline_at_ms = 10};
    assert_int_equal(grpc_call_start(f.session, &c.call, &request), 0);
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(grpc_session_output(f.session, &out, NULL), 0);
    assert_int_equal(nghttp2_session_mem_recv(f.peer->h2, (uint8_t *)out.data, out.len), out.len);
    buf_done(&out);
    const struct peer_reply reply = {.trailers_only = true, .grpc_status = "3"};
    peer_answer(f.peer, 1, &reply);
    peer_push(f.peer, f.session);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.status.error, -EINVAL);
    peer_pump(f.peer, f.session, STEP);
    assert_true(peer_stream(f.peer, 1)->reset);
    assert_int_equal(peer_stream(f.peer, 1)->reset_code, NGHTTP2_CANCEL);
    assert_false(peer_stream(f.peer, 1)->ended);
    assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_OPEN);
    fixture_done(&f);
    free(text);
}

static void test_interim_responses_are_passed_over(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {0};
    assert_int_equal(caller_start(&c, f.session, false, 10), 0);
    peer_pump(f.peer, f.session, STEP);
    nghttp2_nv interim[1];
    size_t count = 0;
    peer_nv(interim, &count, ":status", "103");
    assert_int_equal(nghttp2_submit_headers(f.peer->h2, 0, 1, NULL, interim, count, NULL), 0);
    peer_pump(f.peer, f.session, STEP);
    peer_answer(f.peer, 1, &ok);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.status.code, GRPC_OK);
    assert_int_equal(c.messages, 1);
    fixture_done(&f);
}

static void test_calls_share_a_session_up_to_a_cap_and_wait_for_the_server(void **state)
{
    (void)state;
    const nghttp2_settings_entry few = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3};
    struct fixture f = {peer_new(&few, 1), grpc_session_new()};
    struct caller *callers = calloc(LIMIT_GRPC_CALLS + 1, sizeof(*callers));
    assert_non_null(callers);
    peer_pump(f.peer, f.session, STEP); /* the settings */
    for (size_t i = 0; i < LIMIT_GRPC_CALLS; i++) {
        assert_int_equal(caller_start(&callers[i], f.session, false, 10), 0);
    }
    assert_int_equal(caller_start(&callers[LIMIT_GRPC_CALLS], f.session, false, 10), -EBUSY);
    for (int32_t id = 1; id < 2 * LIMIT_GRPC_CALLS; id += 2) {
        peer_pump(f.peer, f.session, STEP);
        assert_true(f.peer->last_id >= id && f.peer->last_id <= id + 4);
        peer_answer(f.peer, id, &ok);
    }
    peer_pump(f.peer, f.session, STEP);
    for (size_t i = 0; i < LIMIT_GRPC_CALLS; i++) {
        assert_int_equal(callers[i].done, 1);
        assert_int_equal(callers[i].status.error, 0);
    }
    assert_int_equal(caller_start(&callers[LIMIT_GRPC_CALLS], f.session, false, 10), 0);
    fixture_done(&f);
    assert_int_equal(callers[LIMIT_GRPC_CALLS].status.error, -ECANCELED);
    free(callers);
}

static void start_again(struct caller *c)
{
    if (c->done < 3) {
        assert_int_equal(caller_start(c, c->session, false, 10), 0);
    }
}

static void test_a_call_may_be_started_again_when_it_is_done(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {.then = start_again};
    assert_int_equal(caller_start(&c, f.session, false, 10), 0);
    for (int32_t id = 1; id <= 5; id += 2) {
        peer_pump(f.peer, f.session, STEP);
        peer_answer(f.peer, id, &ok);
    }
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.done, 3);
    assert_int_equal(c.messages, 3);
    fixture_done(&f);
}

static void free_caller(struct caller *c)
{
    free(c);
}

static void test_a_call_may_be_freed_when_it_is_done(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    for (int32_t id = 1; id <= 5; id += 2) {
        struct caller *c = calloc(1, sizeof(*c));
        assert_non_null(c);
        c->then = free_caller;
        assert_int_equal(caller_start(c, f.session, false, 10), 0);
        peer_pump(f.peer, f.session, STEP);
        if (id == 1) {
            peer_answer(f.peer, id, &ok);
            peer_pump(f.peer, f.session, STEP);
        } else if (id == 3) {
            grpc_session_tick(f.session, 10);
        }
    }
    fixture_done(&f); /* ends the third; ASan sees to it that all are freed, once */
}

static void test_pings_are_answered_and_never_sent(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {0};
    assert_int_equal(caller_start(&c, f.session, true, 0), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(nghttp2_submit_ping(f.peer->h2, 0, (const uint8_t *)"12345678"), 0);
        peer_pump(f.peer, f.session, 1);
    }
    grpc_session_tick(f.session, UINT64_MAX - 1);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(f.peer->ping_acks, 3);
    assert_int_equal(f.peer->pings, 0);
    assert_int_equal(c.done, 0);
    fixture_done(&f);
}

static void test_output_never_goes_over_the_cap_of_the_buffer(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 400; cap += 7) {
        struct grpc_session *s = grpc_session_new();
        struct caller c = {0};
        struct buf out;
        size_t total = 0;
        assert_int_equal(caller_start(&c, s, true, 0), 0);
        buf_init(&out, cap);
        for (unsigned rounds = 0; grpc_session_has_output(s); rounds++) {
            assert_true(rounds < 2000);
            assert_int_equal(grpc_session_output(s, &out, NULL), 0);
            assert_true(out.len <= cap);
            total += out.len;
            buf_clear(&out);
        }
        buf_done(&out);
        static size_t expected;
        expected = expected ? expected : total;
        assert_int_equal(total, expected);
        grpc_session_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_unary_call_asks_as_grpc_does_and_gets_its_message),
        cmocka_unit_test(test_a_unary_message_waits_for_the_status),
        cmocka_unit_test(test_a_stream_gives_each_message_however_the_bytes_are_cut),
        cmocka_unit_test(test_messages_of_sixteen_mebibytes_go_both_ways),
        cmocka_unit_test(test_more_bytes_than_any_window_go_through_one_stream),
        cmocka_unit_test(test_the_largest_message_waits_for_no_window_and_nothing_is_pushed),
        cmocka_unit_test(test_an_answer_before_the_request_was_sent_stops_the_sending),
        cmocka_unit_test(test_interim_responses_are_passed_over),
        cmocka_unit_test(test_calls_share_a_session_up_to_a_cap_and_wait_for_the_server),
        cmocka_unit_test(test_a_call_may_be_started_again_when_it_is_done),
        cmocka_unit_test(test_a_call_may_be_freed_when_it_is_done),
        cmocka_unit_test(test_pings_are_answered_and_never_sent),
        cmocka_unit_test(test_output_never_goes_over_the_cap_of_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
