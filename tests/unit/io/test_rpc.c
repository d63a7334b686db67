#include "io/rpc.h"

#include "base/limits.h"
#include "grpc/caller.h"
#include "grpc/peer.h"
#include "io/socket_server.h"

#define WAIT_MS 5000

/* nghttp2's server behind a unix socket. */
struct node {
    struct loop *loop;
    struct socket_server server;
    struct peer *peer;
    struct rpc *rpc;
    unsigned ups, downs, failures;
    unsigned calls_open_at_down; /* must stay 0: calls end before `down` */
    struct caller caller;
};

static void node_send(struct node *n)
{
    const uint8_t *bytes;
    ssize_t count;
    while ((count = nghttp2_session_mem_send(n->peer->h2, &bytes)) > 0) {
        assert_int_equal(send(n->server.fd, bytes, (size_t)count, MSG_NOSIGNAL), count);
    }
}

static void node_received(struct socket_server *s, const void *bytes, size_t n)
{
    struct node *node = s->arg;
    if (!node->peer) {
        node->peer = peer_new(NULL, 0);
    }
    assert_int_equal(nghttp2_session_mem_recv(node->peer->h2, bytes, n), (ssize_t)n);
    node_send(node);
}

static void node_forget_connection(struct node *n)
{
    if (n->peer) {
        peer_free(n->peer);
        n->peer = NULL;
    }
}

static void on_up(void *arg)
{
    ((struct node *)arg)->ups++;
}

static void on_down(void *arg, bool was_up, const struct error *why)
{
    struct node *n = arg;
    assert_true(why->code < 0);
    *(was_up ? &n->downs : &n->failures) += 1;
    n->calls_open_at_down += grpc_call_active(&n->caller.call);
}

static int setup(void **state)
{
    static const struct rpc_events events = {on_up, on_down};
    struct node *n = calloc(1, sizeof(*n));
    assert_non_null(n);
    assert_int_equal(loop_new(&n->loop), 0);
    socket_server_init(&n->server, n->loop);
    n->server.received = node_received;
    n->server.arg = n;
    socket_server_start(&n->server);
    assert_int_equal(rpc_new(n->loop, n->server.path, &events, n, &n->rpc), 0);
    *state = n;
    return 0;
}

static int teardown(void **state)
{
    struct node *n = *state;
    rpc_free(n->rpc);
    assert_int_equal(n->calls_open_at_down, 0);
    node_forget_connection(n);
    socket_server_done(&n->server);
    loop_free(n->loop);
    free(n);
    return 0;
}

static uint64_t wait_for(struct node *n, const unsigned *is, unsigned value)
{
    uint64_t ms = socket_server_wait(n->loop, is, value, WAIT_MS);
    assert_true(*is >= value);
    return ms;
}

static void wait_for_request(struct node *n, int32_t id)
{
    for (int i = 0; i < 500 && (!n->peer || !n->peer->streams[id / 2].ended); i++) {
        unsigned never = 0;
        (void)socket_server_wait(n->loop, &never, 1, 5);
    }
    assert_true(n->peer && n->peer->streams[id / 2].ended);
}

static int call(struct node *n, bool stream, uint32_t timeout_ms)
{
    const struct grpc_request request = {.path = GRPC_IMAGES_LIST, .stream = stream};
    n->caller =
        (struct caller){.call = {.on_message = caller_on_message, .on_done = caller_on_done}};
    return rpc_call(n->rpc, &n->caller.call, &request, timeout_ms);
}

static void a_call_is_answered(void **state)
{
    struct node *n = *state;
    assert_int_equal(call(n, false, 1000), -EPIPE);
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, false, 1000), 0);
    wait_for_request(n, 1);
    peer_answer(n->peer, 1, &(struct peer_reply){BODY(HELLO), .grpc_status = "0"});
    node_send(n);
    wait_for(n, &n->caller.done, 1);
    assert_int_equal(n->caller.status.code, GRPC_OK);
    assert_memory_equal(n->caller.last, "hello", 5);
    assert_int_equal(n->downs, 0);
}

static void a_call_without_an_answer_ends_at_its_deadline(void **state)
{
    struct node *n = *state;
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, false, 150), 0);
    uint64_t ms = wait_for(n, &n->caller.done, 1);
    assert_int_equal(n->caller.status.code, GRPC_DEADLINE_EXCEEDED);
    assert_in_range(ms, 120, 1000);
    assert_true(rpc_is_up(n->rpc));
}

static void a_cancelled_call_ends_without_the_server(void **state)
{
    struct node *n = *state;
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, true, 0), 0);
    wait_for_request(n, 1);
    rpc_cancel(n->rpc, &n->caller.call);
    assert_int_equal(n->caller.done, 0);
    assert_true(wait_for(n, &n->caller.done, 1) < 1000);
    assert_int_equal(n->caller.status.code, GRPC_CANCELLED);
}

static void the_end_of_the_server_ends_its_calls_and_the_next_one_is_found(void **state)
{
    struct node *n = *state;
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, true, 0), 0);
    wait_for_request(n, 1);
    socket_server_stop(&n->server);
    wait_for(n, &n->downs, 1);
    assert_int_equal(n->caller.done, 1);
    assert_int_equal(n->caller.status.code, GRPC_UNAVAILABLE);
    assert_int_equal(call(n, false, 1000), -EPIPE);
    node_forget_connection(n);
    socket_server_start(&n->server);
    wait_for(n, &n->ups, 2);
    assert_int_equal(call(n, false, 1000), 0);
    wait_for_request(n, 1);
}

static void goaway_and_garbage_lead_to_a_new_connection(void **state)
{
    struct node *n = *state;
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, true, 0), 0);
    wait_for_request(n, 1);
    assert_int_equal(nghttp2_submit_goaway(n->peer->h2, 0, 1, NGHTTP2_NO_ERROR, NULL, 0), 0);
    node_send(n);
    wait_for(n, &n->downs, 1);
    assert_int_equal(n->caller.done, 1);
    node_forget_connection(n);

    wait_for(n, &n->ups, 2);
    wait_for(n, &n->server.accepted, 2);
    assert_int_equal(send(n->server.fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL), 28);
    wait_for(n, &n->downs, 2);
    node_forget_connection(n);
    wait_for(n, &n->ups, 3);
}

static void dropping_ends_calls(void **state)
{
    struct node *n = *state;
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, true, 0), 0);
    rpc_drop(n->rpc, "no use");
    assert_false(rpc_is_up(n->rpc));
    assert_int_equal(n->caller.done, 0);
    wait_for(n, &n->downs, 1);
    assert_string_equal(n->caller.status.text, "no use");
}

static void freeing_ends_calls_inside(void **state)
{
    struct node *n = *state;
    wait_for(n, &n->ups, 1);
    assert_int_equal(call(n, true, 0), 0);
    rpc_free(n->rpc);
    n->rpc = NULL;
    assert_int_equal(n->caller.done, 1);
    assert_int_equal(n->caller.status.code, GRPC_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_call_is_answered),
        TEST(a_call_without_an_answer_ends_at_its_deadline),
        TEST(a_cancelled_call_ends_without_the_server),
        TEST(the_end_of_the_server_ends_its_calls_and_the_next_one_is_found),
        TEST(goaway_and_garbage_lead_to_a_new_connection),
        TEST(dropping_ends_calls),
        TEST(freeing_ends_calls_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
