#include "io/stream.h"

#include "base/limits.h"
#include "io/socket_server.h"

#define WAIT_MS 5000

struct client {
    struct loop *loop;
    struct socket_server server;
    struct stream *stream;
    unsigned ups, downs, failures; /* of connections; of attempts */
    unsigned received;             /* bytes */
    uint8_t sum;                   /* of those bytes */
    size_t to_send;
    uint8_t next;
    char why[128];
    enum { FREE_NEVER, FREE_UP, FREE_RECEIVED, FREE_OUTPUT, FREE_DOWN } free_in;
};

static bool client_frees(struct client *c, int where)
{
    if ((int)c->free_in == where) {
        stream_free(c->stream);
        c->stream = NULL;
        return true;
    }
    return false;
}

static void on_up(void *arg)
{
    struct client *c = arg;
    c->ups++;
    if (!client_frees(c, FREE_UP)) {
        stream_flush(c->stream);
    }
}

static void on_received(void *arg, const void *bytes, size_t n)
{
    struct client *c = arg;
    c->received += (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        c->sum = (uint8_t)(c->sum + ((const uint8_t *)bytes)[i]);
    }
    (void)client_frees(c, FREE_RECEIVED);
}

static void on_output(void *arg, struct buf *out)
{
    struct client *c = arg;
    if (client_frees(c, FREE_OUTPUT)) {
        return;
    }
    size_t n = c->to_send < out->max ? c->to_send : out->max;
    char *to = buf_reserve(out, n);
    for (size_t i = 0; i < n && to; i++) {
        to[i] = (char)c->next++;
    }
    buf_commit(out, n);
    c->to_send -= n;
}

static void on_down(void *arg, bool was_up, const struct error *why)
{
    struct client *c = arg;
    assert_int_equal(stream_is_up(c->stream), false);
    assert_true(why->code < 0);
    *(was_up ? &c->downs : &c->failures) += 1;
    (void)snprintf(c->why, sizeof(c->why), "%.100s", why->text);
    (void)client_frees(c, FREE_DOWN);
}

static const struct stream_events events = {on_up, on_received, on_output, on_down};

static int setup(void **state)
{
    struct client *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    assert_int_equal(loop_new(&c->loop), 0);
    socket_server_init(&c->server, c->loop);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct client *c = *state;
    stream_free(c->stream);
    socket_server_done(&c->server);
    loop_free(c->loop);
    free(c);
    return 0;
}

static void connect_now(struct client *c)
{
    assert_int_equal(stream_new(c->loop, c->server.path, &events, c, &c->stream), 0);
}

static uint64_t wait_for(struct client *c, const unsigned *is, unsigned value)
{
    uint64_t ms = socket_server_wait(c->loop, is, value, WAIT_MS);
    assert_true(*is >= value);
    return ms;
}

static void wait_a_while(struct client *c, unsigned ms)
{
    unsigned never = 0;
    (void)socket_server_wait(c->loop, &never, 1, ms);
}

static void echo(struct socket_server *s, const void *bytes, size_t n)
{
    *(unsigned *)s->arg += (unsigned)n;
    while (n > 0) {
        ssize_t sent = send(s->fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0) {
            break; /* the client's side is full: enough was echoed */
        }
        bytes = (const char *)bytes + sent;
        n -= (size_t)sent;
    }
}

static void says_why_while_there_is_no_socket_and_connects_when_it_appears(void **state)
{
    struct client *c = *state;
    connect_now(c);
    wait_for(c, &c->failures, 4); /* 100, 200, 400 ms: the next wait is 800 ms */
    assert_non_null(strstr(c->why, "No such file"));
    assert_int_equal(c->ups, 0);
    socket_server_start(&c->server);
    assert_true(wait_for(c, &c->ups, 1) < 300);
    assert_true(stream_is_up(c->stream));
}

static void waits_for_a_directory_that_is_not_there_either(void **state)
{
    struct client *c = *state;
    assert_int_equal(rmdir(c->server.directory), 0);
    connect_now(c);
    wait_for(c, &c->failures, 1);
    char command[128];
    (void)snprintf(command, sizeof(command), "mkdir %s", c->server.directory);
    assert_int_equal(system(command), 0);
    socket_server_start(&c->server);
    wait_for(c, &c->ups, 1);
}

static void carries_megabytes_both_ways_in_order(void **state)
{
    struct client *c = *state;
    unsigned at_server = 0;
    c->server.received = echo;
    c->server.arg = &at_server;
    socket_server_start(&c->server);
    c->to_send = 3 * 1024 * 1024;
    connect_now(c);
    wait_for(c, &at_server, 3 * 1024 * 1024);
    wait_a_while(c, 50);
    assert_int_equal(at_server, 3 * 1024 * 1024);
    assert_true(c->received > 0);

    c->received = c->sum = c->next = 0;
    c->to_send = 256;
    stream_flush(c->stream);
    wait_for(c, &c->received, 256);
    assert_int_equal(c->sum, (uint8_t)(255 * 256 / 2));
}

static void connects_again_after_the_server_hung_up_and_after_it_was_restarted(void **state)
{
    struct client *c = *state;
    socket_server_start(&c->server);
    connect_now(c);
    wait_for(c, &c->server.accepted, 1);
    socket_server_hang_up(&c->server);
    wait_for(c, &c->downs, 1);
    wait_for(c, &c->server.accepted, 2);
    socket_server_stop(&c->server);
    wait_for(c, &c->downs, 2);
    wait_a_while(c, 500);
    socket_server_start(&c->server);
    assert_true(wait_for(c, &c->server.accepted, 3) < 300);
    assert_int_equal(c->downs, 2);
}

static void a_server_that_hangs_up_at_once_is_met_less_and_less_often(void **state)
{
    struct client *c = *state;
    c->server.hangs_up = true;
    socket_server_start(&c->server);
    connect_now(c);
    wait_a_while(c, 1600); /* at 0, 100, 300, 700, 1500 ms */
    assert_in_range(c->server.accepted, 4, 5);
}

static void one_that_proved_useful_is_met_again_soon(void **state)
{
    struct client *c = *state;
    socket_server_start(&c->server);
    connect_now(c);
    for (unsigned round = 1; round <= 6; round++) {
        assert_true(wait_for(c, &c->server.accepted, round) < 300);
        wait_for(c, &c->ups, round);
        stream_settled(c->stream);
        socket_server_hang_up(&c->server);
        wait_for(c, &c->downs, round);
    }
}

static void dropping_says_the_sentence_once_and_connects_again(void **state)
{
    struct client *c = *state;
    socket_server_start(&c->server);
    connect_now(c);
    stream_drop(c->stream, "nothing to drop yet");
    wait_for(c, &c->ups, 1);
    stream_drop(c->stream, "tired of %s", "it");
    stream_drop(c->stream, "a second time");
    assert_int_equal(c->downs, 0);
    assert_false(stream_is_up(c->stream));
    wait_for(c, &c->downs, 1);
    assert_string_equal(c->why, "tired of it");
    wait_for(c, &c->ups, 2);
    assert_int_equal(c->downs, 1);
}

static void may_be_freed_inside_every_callback(void **state)
{
    struct client *c = *state;
    unsigned at_server = 0;
    c->server.received = echo;
    c->server.arg = &at_server;
    socket_server_start(&c->server);
    for (int where = FREE_UP; where <= FREE_DOWN; where++) {
        c->free_in = where;
        c->to_send = 100;
        connect_now(c);
        wait_a_while(c, 30);
        socket_server_hang_up(&c->server);
        wait_a_while(c, 30);
        assert_null(c->stream);
    }
    socket_server_stop(&c->server);
    connect_now(c);
    wait_a_while(c, 30);
    assert_null(c->stream);
}

static void refuses_paths_that_no_unix_address_holds(void **state)
{
    struct client *c = *state;
    char path[200] = "/";
    memset(path + 1, 'a', 150);
    assert_int_equal(stream_new(c->loop, path, &events, c, &c->stream), -EINVAL);
    assert_int_equal(stream_new(c->loop, "s.sock", &events, c, &c->stream), -EINVAL);
    assert_null(c->stream);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    struct client *c = *state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct stream *s = NULL;
        int r = stream_new(c->loop, c->server.path, &events, c, &s);
        assert_true(r == 0 || r == -ENOMEM);
        stream_free(s);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(says_why_while_there_is_no_socket_and_connects_when_it_appears),
        TEST(waits_for_a_directory_that_is_not_there_either),
        TEST(carries_megabytes_both_ways_in_order),
        TEST(connects_again_after_the_server_hung_up_and_after_it_was_restarted),
        TEST(a_server_that_hangs_up_at_once_is_met_less_and_less_often),
        TEST(one_that_proved_useful_is_met_again_soon),
        TEST(dropping_says_the_sentence_once_and_connects_again),
        TEST(may_be_freed_inside_every_callback),
        TEST(refuses_paths_that_no_unix_address_holds),
        TEST(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
