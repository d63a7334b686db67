#include "io/peer.h"

#include <fcntl.h>

#include "scripted_peer.h"

#define BODY_BYTES (3 * 1024 * 1024)

struct fixture {
    struct loop *loop;
    struct multi *multi;
    struct peer_pool *pool;
    struct pipe_pool *pipes;
    struct scripted_peer peer;
    char *content, *got;

    struct peer_exchange *exchange;
    struct pipe_pair pipe; /* used when `splices` */
    bool splices, head_seen, over;
    int status, error;
    int64_t got_bytes;
    struct http_response head;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(loop_new(&f->loop), 0);
    assert_int_equal(multi_new(f->loop, &f->multi), 0);
    assert_int_equal(peer_pool_new(f->multi, &f->pool), 0);
    f->pipes = pipe_pool_new();
    f->content = scripted_content(BODY_BYTES);
    f->got = malloc(BODY_BYTES + 1);
    scripted_start(&f->peer, SCRIPT_GOOD, f->content, BODY_BYTES);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    peer_close(f->exchange);
    peer_pool_free(f->pool);
    multi_free(f->multi);
    pipe_pool_free(f->pipes);
    loop_free(f->loop);
    scripted_stop(&f->peer);
    free(f->content);
    free(f->got);
    free(f);
    return 0;
}

static void finish(struct fixture *f, int error)
{
    f->error = error;
    f->over = true;
    peer_close(f->exchange);
    f->exchange = NULL;
}

static int64_t read_some(struct fixture *f)
{
    char *to = f->got + f->got_bytes;
    size_t room = (size_t)(BODY_BYTES + 1 - f->got_bytes);
    if (!f->splices) {
        return peer_read(f->exchange, to, room < 50000 ? room : 50000);
    }
    int64_t n = peer_splice(f->exchange, &f->pipe, 1 << 20);
    if (n > 0) {
        assert_int_equal(read(f->pipe.read_fd, to, (size_t)n), n);
        f->pipe.used_bytes -= (size_t)n;
    }
    return n;
}

static void on_readable(void *arg)
{
    struct fixture *f = arg;
    for (;;) {
        int64_t n = read_some(f);
        if (n == -EAGAIN) {
            peer_watch(f->exchange, true);
            return;
        }
        if (n <= 0) {
            finish(f, (int)n);
            return;
        }
        f->got_bytes += n;
    }
}

static void on_head(void *arg, const struct http_response *head)
{
    struct fixture *f = arg;
    assert_false(f->head_seen);
    f->head_seen = true;
    f->head = *head;
    on_readable(f);
}

static void on_failed(void *arg, int error)
{
    finish(arg, error);
}

static bool is_over(void *arg)
{
    return ((struct fixture *)arg)->over;
}

static void start(struct fixture *f, const char *target, const char *fields, bool head)
{
    const struct peer_request request = {&f->peer.address, head, target, fields};
    const struct peer_events events = {on_head, on_readable, on_failed, f};
    f->over = f->head_seen = false;
    f->got_bytes = 0;
    f->error = 0;
    assert_int_equal(peer_start(f->pool, &request, &events, &f->exchange), 0);
}

static void run(struct fixture *f, const char *fields, bool head)
{
    start(f, "/v2/a/blobs/b?ns=c", fields, head);
    assert_true(loop_run_until(f->loop, is_over, f, 10000));
}

static void a_body_is_read_to_its_end(void **state)
{
    struct fixture *f = *state;
    run(f, "X-Spegel-Mirrored: true\r\n", false);
    assert_int_equal(f->error, 0);
    assert_int_equal(f->head.status, 200);
    assert_int_equal(f->got_bytes, BODY_BYTES);
    assert_memory_equal(f->got, f->content, BODY_BYTES);
    assert_non_null(strstr(f->peer.last_request, "GET /v2/a/blobs/b?ns=c HTTP/1.1\r\nHost: 127."));
    assert_non_null(strstr(f->peer.last_request, "\r\nX-Spegel-Mirrored: true\r\n"));
    assert_non_null(strstr(f->peer.last_request, "\r\nUser-Agent: spegel\r\n"));
}

static void a_body_is_spliced_to_its_end(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(pipe_pool_take(f->pipes, &f->pipe), 0);
    f->splices = true;
    run(f, "", false);
    assert_int_equal(f->error, 0);
    assert_int_equal(f->got_bytes, BODY_BYTES);
    assert_memory_equal(f->got, f->content, BODY_BYTES);
    pipe_pool_give(f->pipes, &f->pipe);
}

static void ways_to_fail_are_told_apart(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum script script;
        int error;
        bool head;
        int64_t bytes;
    } table[] = {
        {SCRIPT_SHORT, -ENODATA, true, 70000},
        {SCRIPT_RESETS, -ECONNRESET, true, 70000},
        {SCRIPT_HANGS_UP, -ECONNRESET, false, 0},
        {SCRIPT_GARBAGE, -EPROTO, false, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        atomic_store(&f->peer.script, table[i].script);
        atomic_store(&f->peer.at, 70000);
        run(f, "", false);
        assert_int_equal(f->error, table[i].error);
        assert_int_equal(f->head_seen, table[i].head);
        assert_int_equal(f->got_bytes, table[i].bytes);
        assert_memory_equal(f->got, f->content, (size_t)f->got_bytes);
    }
}

static void a_refused_connection_fails_from_the_loop(void **state)
{
    struct fixture *f = *state;
    union address real = f->peer.address;
    f->peer.address.in4.sin_port = htons(1);
    run(f, "", false);
    assert_int_equal(f->error, -ECONNREFUSED);
    f->peer.address = real;
}

static void clean_connections_are_kept_and_used_again(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 4; i++) {
        run(f, i == 2 ? "Range: bytes=5-9\r\n" : "", i == 1);
        assert_int_equal(f->error, 0);
        assert_int_equal(peer_pool_idle(f->pool), 1);
    }
    atomic_store(&f->peer.script, SCRIPT_ABSENT); /* its body came with the head, unread */
    run(f, "", false);
    assert_int_equal(atomic_load(&f->peer.connections), 1);
    assert_int_equal(atomic_load(&f->peer.requests), 5);
}

static void a_body_left_half_read_costs_the_connection(void **state)
{
    struct fixture *f = *state;
    start(f, "/", "", false);
    atomic_store(&f->peer.script, SCRIPT_FROZEN_BODY);
    atomic_store(&f->peer.at, 1000);
    assert_false(loop_run_until(f->loop, is_over, f, 200));
    peer_close(f->exchange);
    f->exchange = NULL;
    assert_int_equal(peer_pool_idle(f->pool), 0);
}

static void a_kept_connection_that_died_is_replaced_unnoticed(void **state)
{
    struct fixture *f = *state;
    run(f, "", true);
    assert_int_equal(peer_pool_idle(f->pool), 1);
    /* Closed at the far end; the loop has not run, so nobody here knows. */
    int fd = atomic_load(&f->peer.fds[0]);
    (void)shutdown(fd, SHUT_RDWR);
    usleep(20000);
    run(f, "", false);
    assert_int_equal(f->error, 0);
    assert_int_equal(f->got_bytes, BODY_BYTES);
    assert_int_equal(atomic_load(&f->peer.connections), 2);
}

static bool none_is_idle(void *arg)
{
    return peer_pool_idle(arg) == 0;
}

static void an_idle_connection_closed_by_the_peer_is_dropped(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->peer.script, SCRIPT_DROPS_KEPT);
    run(f, "", false);
    assert_true(loop_run_until(f->loop, none_is_idle, f->pool, 2000));
}

static void a_target_that_would_split_the_request_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct peer_events events = {on_head, on_readable, on_failed, f};
    const char *const targets[] = {"v2/", "/a b", "/a\r\nX: y", "/a\n"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        const struct peer_request request = {&f->peer.address, false, targets[i], ""};
        assert_int_equal(peer_start(f->pool, &request, &events, &f->exchange), -EINVAL);
    }
}

static void pipes_have_a_cap_and_empty_ones_are_kept(void **state)
{
    struct fixture *f = *state;
    static struct pipe_pair pairs[256];
    size_t n = 0;
    int r = 0;
    while (n < 256 && (r = pipe_pool_take(f->pipes, &pairs[n])) == 0) {
        n++;
    }
    assert_int_equal(r, -ENOBUFS);
    assert_in_range(n, 64, 200);
    for (size_t i = n; i-- > 0;) {
        assert_int_equal(write(pairs[i].write_fd, "x", i % 2), i % 2);
        pairs[i].used_bytes = i % 2;
        pipe_pool_give(f->pipes, &pairs[i]);
        assert_int_equal(pairs[i].read_fd, -1);
        pipe_pool_give(f->pipes, &pairs[i]);
    }
    struct pipe_pair again;
    assert_int_equal(pipe_pool_take(f->pipes, &again), 0);
    char byte;
    assert_int_equal(read(again.read_fd, &byte, 1), -1); /* no bytes of another transfer */
    pipe_pool_give(f->pipes, &again);
}

static void one_run_without_memory(struct fixture *f)
{
    const struct peer_request request = {&f->peer.address, false, "/", "Range: bytes=0-99\r\n"};
    const struct peer_events events = {on_head, on_readable, on_failed, f};
    f->over = f->head_seen = false;
    f->got_bytes = 0;
    if (peer_start(f->pool, &request, &events, &f->exchange) == 0 &&
        !loop_run_until(f->loop, is_over, f, 300)) {
        peer_close(f->exchange); /* a socket that could not be watched: the asker gives up */
        f->exchange = NULL;
    }
}

static void without_memory_an_exchange_fails_or_works(void **state)
{
    struct fixture *f = *state;
    run(f, "", true); /* the loop's heap of timers is there from now on */
    SUPPORT_OUT_OF_MEMORY_SWEEP(one_run_without_memory(f));
    assert_int_equal(f->got_bytes, 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_body_is_read_to_its_end),
        TEST(a_body_is_spliced_to_its_end),
        TEST(ways_to_fail_are_told_apart),
        TEST(a_refused_connection_fails_from_the_loop),
        TEST(clean_connections_are_kept_and_used_again),
        TEST(a_body_left_half_read_costs_the_connection),
        TEST(a_kept_connection_that_died_is_replaced_unnoticed),
        TEST(an_idle_connection_closed_by_the_peer_is_dropped),
        TEST(a_target_that_would_split_the_request_is_refused),
        TEST(pipes_have_a_cap_and_empty_ones_are_kept),
        TEST(without_memory_an_exchange_fails_or_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
