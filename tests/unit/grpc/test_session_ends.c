#include "grpc/session.h"

#include <errno.h>

#include "caller.h"
#include "peer.h"

static void test_a_deadline_ends_the_call_and_tells_the_server(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller early = {0}, late = {0}, never = {0};
    assert_int_equal(grpc_session_next_at_ms(f.session), UINT64_MAX);
    assert_int_equal(caller_start(&never, f.session, true, 0), 0);
    assert_int_equal(grpc_session_next_at_ms(f.session), UINT64_MAX);
    assert_int_equal(caller_start(&late, f.session, false, 200), 0);
    assert_int_equal(caller_start(&early, f.session, false, 100), 0);
    assert_int_equal(grpc_session_next_at_ms(f.session), 100);
    peer_pump(f.peer, f.session, STEP);
    grpc_session_tick(f.session, 99);
    assert_int_equal(early.done, 0);
    grpc_session_tick(f.session, 100);
    assert_int_equal(early.done, 1);
    assert_int_equal(early.status.error, -ETIMEDOUT);
    assert_int_equal(late.done + never.done, 0);
    assert_int_equal(grpc_session_next_at_ms(f.session), 200);
    peer_pump(f.peer, f.session, STEP);
    assert_true(peer_stream(f.peer, 5)->reset);
    assert_int_equal(peer_stream(f.peer, 5)->reset_code, NGHTTP2_CANCEL);
    assert_false(peer_stream(f.peer, 3)->reset);
    fixture_done(&f);
    assert_int_equal(early.done, 1);
    assert_int_equal(late.done, 1);
    assert_int_equal(never.done, 1);
    assert_int_equal(never.status.error, -ECANCELED);
}

static void test_cancel_is_delivered_by_the_next_tick_and_never_inside(void **state)
{
    (void)state;
    static const struct {
        bool sent, answered;
    } when[] = {{false, false}, {true, false}, {true, true}};
    for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++) {
        struct fixture f = fixture_new();
        struct caller c = {0};
        const struct peer_reply reply = {BODY(HELLO HELLO), .grpc_status = "0", .keep_open = true};
        assert_int_equal(caller_start(&c, f.session, true, 0), 0);
        if (when[i].sent) {
            peer_pump(f.peer, f.session, STEP);
        }
        if (when[i].answered) {
            peer_answer(f.peer, 1, &reply);
            peer_pump(f.peer, f.session, STEP);
        }
        grpc_call_cancel(&c.call);
        grpc_call_cancel(&c.call);
        assert_int_equal(c.done, 0);
        assert_true(grpc_call_active(&c.call));
        assert_int_equal(grpc_session_next_at_ms(f.session), 0);
        grpc_session_tick(f.session, 1);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.status.error, -ECANCELED);
        grpc_call_cancel(&c.call);
        peer_pump(f.peer, f.session, STEP);
        assert_int_equal(f.peer->last_id, when[i].sent ? 1 : 0);
        assert_int_equal(peer_stream(f.peer, 1)->reset, when[i].sent);
        fixture_done(&f);
        assert_int_equal(c.done, 1);
    }
}

static void cancel_itself(struct caller *c)
{
    grpc_call_cancel(&c->call);
}

static void test_no_message_follows_a_cancel_from_within_the_first(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {.each = cancel_itself};
    const struct peer_reply reply = {BODY(HELLO HELLO HELLO), .grpc_status = "0"};
    assert_int_equal(caller_start(&c, f.session, true, 0), 0);
    peer_pump(f.peer, f.session, STEP);
    peer_answer(f.peer, 1, &reply);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(c.messages, 1);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.status.error, -ECANCELED);
    fixture_done(&f);
}

static void test_goaway_ends_later_calls_and_lets_earlier_ones_end(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller first = {0}, second = {0}, third = {0};
    const struct peer_reply reply = {BODY(HELLO), .grpc_status = "0"};
    assert_int_equal(caller_start(&first, f.session, false, 10), 0);
    assert_int_equal(caller_start(&second, f.session, false, 10), 0);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(caller_start(&third, f.session, false, 10), 0); /* not sent yet */
    assert_int_equal(nghttp2_submit_goaway(f.peer->h2, 0, 1, NGHTTP2_ENHANCE_YOUR_CALM,
                                           (const uint8_t *)"too_many_pings", 14),
                     0);
    peer_push(f.peer, f.session);
    assert_int_equal(first.done, 0);
    assert_int_equal(second.done, 1);
    assert_int_equal(third.done, 1);
    assert_int_equal(second.status.code, GRPC_UNAVAILABLE);
    assert_int_equal(third.status.code, GRPC_UNAVAILABLE);
    assert_string_equal(third.status.text,
                        "the server went away: ENHANCE_YOUR_CALM too_many_pings");
    assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_DRAINING);
    assert_int_equal(caller_start(&third, f.session, false, 10), -EPIPE);
    peer_answer(f.peer, 1, &reply);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(first.done, 1);
    assert_int_equal(first.status.error, 0);
    assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_DEAD);
    assert_string_equal(grpc_session_reason(f.session), third.status.text);
    fixture_done(&f);
    assert_int_equal(first.done + second.done + third.done, 3);
}

static void test_a_call_that_a_graceful_goaway_overtakes_is_not_sent(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c = {0};
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(caller_start(&c, f.session, false, 10), 0);
    /* As Go's GracefulStop begins: GOAWAY with the largest stream id there is. */
    assert_int_equal(nghttp2_submit_shutdown_notice(f.peer->h2), 0);
    peer_push(f.peer, f.session);
    assert_int_equal(c.done, 0);
    peer_pump(f.peer, f.session, STEP);
    assert_int_equal(grpc_session_next_at_ms(f.session), 0);
    grpc_session_tick(f.session, 1);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.status.code, GRPC_UNAVAILABLE);
    assert_memory_equal(c.status.text, "not sent: ", 10);
    assert_int_equal(f.peer->last_id, 0);
    assert_int_equal(grpc_session_state(f.session), GRPC_SESSION_DEAD);
    fixture_done(&f);
}

static void test_a_lost_connection_ends_every_call_once(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    struct caller c[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(caller_start(&c[i], f.session, true, 0), 0);
    }
    peer_pump(f.peer, f.session, STEP);
    grpc_session_fail(f.session, "the socket said %s", "EOF");
    grpc_session_fail(f.session, "again");
    struct error err;
    assert_int_equal(grpc_session_receive(f.session, "x", 1, &err), -EPIPE);
    assert_string_equal(err.text, "the socket said EOF");
    assert_false(grpc_session_has_output(f.session));
    assert_int_equal(caller_start(&c[0], f.session, true, 0), -EPIPE);
    fixture_done(&f);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c[i].done, 1);
        assert_int_equal(c[i].status.code, GRPC_UNAVAILABLE);
        assert_string_equal(c[i].status.text, "the socket said EOF");
    }
}

static void test_a_peer_that_does_not_speak_http2_is_the_end_of_the_session(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } table[] = {
#define BYTES(text) {text, sizeof(text) - 1}
        BYTES("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"),
        BYTES("\0\0\0\1\0\0\0\0\1"),                            /* no SETTINGS first */
        BYTES("\0\0\0\4\0\0\0\0\0\0\0\1\0\0\0\0\0x"),           /* DATA on stream 0 */
        BYTES("\0\0\0\4\0\0\0\0\0\0\0\4\5\4\0\0\0\1\0\0\0\0"),  /* PUSH_PROMISE, too short */
        BYTES("\0\0\0\4\0\0\0\0\0\0\0\4\10\0\0\0\0\0\0\0\0\0"), /* WINDOW_UPDATE of 0 */
        BYTES("\0\0\0\4\0\0\0\0\0\0\0\1\1\4\0\0\0\1\xff"),      /* broken HPACK */
        BYTES("\0\0\6\4\0\0\0\0\0\0\4\xff\xff\xff\xff"),        /* a window of 2^32 - 1 */
        BYTES("\0\0\0\4\0\0\0\0\0\0\0\1\11\4\0\0\0\1\x88"),     /* CONTINUATION of nothing */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct grpc_session *s = grpc_session_new();
        struct caller c = {0};
        struct buf out;
        assert_int_equal(caller_start(&c, s, true, 0), 0);
        buf_init(&out, STEP);
        int r = grpc_session_output(s, &out, NULL);
        for (size_t at = 0; r == 0 && at < table[i].n; at++) {
            r = grpc_session_receive(s, table[i].bytes + at, 1, NULL);
            if (r == 0) {
                r = grpc_session_output(s, &out, NULL);
            }
        }
        if (r != -EPROTO || grpc_session_state(s) != GRPC_SESSION_DEAD) {
            fail_msg("row %zu: %d %s", i, r, grpc_session_reason(s));
        }
        assert_true(c.done == 1 || grpc_session_next_at_ms(s) == 0);
        grpc_session_tick(s, 1);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.status.code, GRPC_UNAVAILABLE);
        buf_done(&out);
        grpc_session_free(s);
        assert_int_equal(c.done, 1);
    }
}

/* What a server says to a unary call and a stream, so that it can be played to a client that runs
 * out of memory while nobody else does. */
static void record(struct buf *ret_bytes)
{
    struct fixture f = fixture_new();
    struct caller unary = {0}, stream = {0};
    const struct peer_reply reply = {BODY(HELLO), .grpc_status = "0"};
    assert_int_equal(caller_start(&unary, f.session, false, 10), 0);
    assert_int_equal(caller_start(&stream, f.session, true, 0), 0);
    struct buf out;
    buf_init(&out, STEP);
    assert_int_equal(grpc_session_output(f.session, &out, NULL), 0);
    assert_int_equal(nghttp2_session_mem_recv(f.peer->h2, (uint8_t *)out.data, out.len), out.len);
    buf_done(&out);
    peer_answer(f.peer, 1, &reply);
    peer_answer(f.peer, 3, &reply);
    assert_int_equal(nghttp2_submit_ping(f.peer->h2, 0, NULL), 0);
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(f.peer->h2, &bytes)) > 0) {
        assert_int_equal(buf_append(ret_bytes, bytes, (size_t)n), 0);
    }
    fixture_done(&f);
}

/* Returns how many of the two calls ended well. */
static int play(const struct buf *bytes, struct buf *out)
{
    struct grpc_session *s = grpc_session_new();
    if (!s) {
        return 0;
    }
    struct caller c[2] = {0};
    unsigned started = 0;
    int good = 0;
    for (unsigned i = 0; i < 2; i++) {
        int r = caller_start(&c[i], s, i == 1, i == 1 ? 0 : 10);
        assert_true(r == 0 || r == -ENOMEM || r == -EPIPE);
        assert_int_equal(grpc_call_active(&c[i].call), r == 0);
        started += r == 0;
    }
    buf_clear(out);
    (void)grpc_session_output(s, out, NULL);
    for (size_t at = 0; at < bytes->len; at += 7) {
        size_t n = bytes->len - at < 7 ? bytes->len - at : 7;
        (void)grpc_session_receive(s, bytes->data + at, n, NULL);
        buf_clear(out);
        (void)grpc_session_output(s, out, NULL);
    }
    grpc_session_tick(s, 10);
    grpc_session_free(s);
    for (unsigned i = 0; i < 2; i++) {
        good += c[i].done == 1 && c[i].status.error == 0;
        assert_true(c[i].status.error != 0 || c[i].done == 0 || c[i].messages == 1);
    }
    assert_int_equal(c[0].done + c[1].done, started);
    return good;
}

static void test_without_memory_calls_still_end_exactly_once(void **state)
{
    (void)state;
    struct buf bytes, out;
    buf_init(&bytes, STEP);
    buf_init(&out, STEP);
    record(&bytes);
    assert_non_null(buf_reserve(&out, STEP / 2)); /* the caller's buffer is not under test */
    int good = 0, sweeps = 0;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        good = play(&bytes, &out);
        sweeps++;
    });
    assert_true(sweeps > 20);
    assert_int_equal(good, 2); /* the last run had all the memory it wanted */
    buf_done(&bytes);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deadline_ends_the_call_and_tells_the_server),
        cmocka_unit_test(test_cancel_is_delivered_by_the_next_tick_and_never_inside),
        cmocka_unit_test(test_no_message_follows_a_cancel_from_within_the_first),
        cmocka_unit_test(test_goaway_ends_later_calls_and_lets_earlier_ones_end),
        cmocka_unit_test(test_a_call_that_a_graceful_goaway_overtakes_is_not_sent),
        cmocka_unit_test(test_a_lost_connection_ends_every_call_once),
        cmocka_unit_test(test_a_peer_that_does_not_speak_http2_is_the_end_of_the_session),
        cmocka_unit_test(test_without_memory_calls_still_end_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
