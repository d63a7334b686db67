#include "cluster/bootstrap.h"

#include <unistd.h>

#include "io/server.h"
#include "scripted_peer.h"

/* A label of more than 63 bytes: no resolver is asked, so that it fails at once everywhere. */
#define NO_HOST "no-such-host-no-such-host-no-such-host-no-such-host-no-such-host-x.invalid"

struct fixture {
    struct loop *loop;
    struct fetcher *fetcher;
    struct bootstrap *bootstrap;
    struct server *server; /* answers /id with `answer` */
    const char *answer;
    int status;
    unsigned requests;
    /* what it told */
    unsigned found_calls, reached_calls, want_calls, want_failures;
    size_t count;
    union address addresses[8], reached;
};

static void on_found(void *arg, const union address *addresses, size_t count)
{
    struct fixture *f = arg;
    f->found_calls++;
    f->count = count;
    for (size_t i = 0; i < count && i < 8; i++) {
        f->addresses[i] = addresses[i];
    }
}

static void on_reached(void *arg, const union address *host)
{
    struct fixture *f = arg;
    f->reached_calls++;
    f->reached = *host;
}

static void on_request(void *arg, struct conn *c, const struct http_request *request)
{
    struct fixture *f = arg;
    struct buf none;
    buf_init(&none, 0);
    f->requests++;
    assert_string_equal(request->target, "/id");
    server_respond(c, f->status, &none, f->answer, strlen(f->answer));
}

static void on_gone(void *arg, struct conn *c)
{
    (void)arg;
    (void)c;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    assert_int_equal(loop_new(&f->loop), 0);
    assert_int_equal(fetcher_new(f->loop, &f->fetcher), 0);
    const struct server_handler handler = {on_request, on_gone, f};
    assert_int_equal(server_new(f->loop, &handler, &f->server), 0);
    assert_int_equal(server_listen(f->server, "127.0.0.1:0", &err), 0);
    f->status = 200;
    *state = f;
    return 0;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void stop(struct fixture *f)
{
    bootstrap_free(f->bootstrap);
    f->bootstrap = NULL;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop(f);
    server_free(f->server);
    (void)loop_run_until(f->loop, never, NULL, 50); /* what was cancelled ends */
    fetcher_free(f->fetcher);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void start(struct fixture *f, struct bootstrap_config config)
{
    stop(f);
    config.label = "ours";
    config.found = on_found;
    config.reached = on_reached;
    config.arg = f;
    f->found_calls = f->reached_calls = 0;
    f->want_calls = f->want_failures = 0;
    assert_int_equal(bootstrap_new(f->loop, f->fetcher, &config, &f->bootstrap), 0);
    assert_int_equal(f->found_calls, 0); /* never from inside */
}

static void start_url(struct fixture *f, const char *ca_dir)
{
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/id", server_port(f->server));
    start(f, (struct bootstrap_config){.url = url, .ca_dir = ca_dir});
}

static bool is_told(void *arg)
{
    const struct fixture *f = arg;
    return f->found_calls >= f->want_calls &&
           bootstrap_counters(f->bootstrap)->failures >= f->want_failures;
}

static void wait_for(struct fixture *f, unsigned calls, unsigned failures)
{
    f->want_calls = calls;
    f->want_failures = failures;
    assert_true(loop_run_until(f->loop, is_told, f, 10000));
}

static void assert_address(const union address *address, const char *text)
{
    char is[ADDRESS_TEXT_BYTES];
    address_format(&address->sa, is);
    assert_string_equal(is, text);
}

static void names_become_addresses_with_their_ports(void **state)
{
    struct fixture *f = *state;
    const struct bootstrap_target targets[] = {
        {"127.0.0.1", 5001}, {"::1", 5002}, {"127.0.0.3", 5003}};
    start(f, (struct bootstrap_config){.targets = targets, .target_count = 3});
    wait_for(f, 1, 0);
    assert_int_equal(f->count, 3);
    assert_address(&f->addresses[0], "127.0.0.1:5001");
    assert_address(&f->addresses[1], "[::1]:5002");
    assert_address(&f->addresses[2], "127.0.0.3:5003");
    assert_int_equal(f->reached_calls, 0);
    wait_for(f, 2, 0); /* it goes on */
    const struct bootstrap_target name = {"localhost", 5001};
    start(f, (struct bootstrap_config){.targets = &name, .target_count = 1});
    wait_for(f, 1, 0);
    assert_true(f->count > 0);
    for (size_t i = 0; i < f->count; i++) {
        assert_true(address_is_loopback(&f->addresses[i].sa));
    }
}

static void nobody_to_ask_is_an_answer_and_a_failed_look_up_is_none(void **state)
{
    struct fixture *f = *state;
    start(f, (struct bootstrap_config){0});
    wait_for(f, 1, 0);
    assert_int_equal(f->count, 0);
    const struct bootstrap_target bad = {NO_HOST, 5001};
    start(f, (struct bootstrap_config){.targets = &bad, .target_count = 1});
    wait_for(f, 0, 1);
    assert_int_equal(f->found_calls, 0);
    /* One of two: what there is is told, and it counts as failed too. */
    const struct bootstrap_target both[] = {{NO_HOST, 5001}, {"127.0.0.1", 5001}};
    start(f, (struct bootstrap_config){.targets = both, .target_count = 2});
    wait_for(f, 1, 1);
    assert_int_equal(f->count, 1);
}

static void another_node_is_asked_over_http(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *answer;
        size_t count;
        const char *first;
    } rows[] = {
        {"{\"id\":\"0123456789ab\",\"addrs\":[\"10.0.0.1:5001\",\"[fd00::1]:5001\"],"
         "\"registry_port\":5000,\"label\":\"ours\"}",
         2, "10.0.0.1:5001"},
        {"{\"addrs\":[]}", 0, NULL},
        {"{\"addrs\":[\"nonsense\",5,null,\"10.0.0.1\",\"[fd00::2]:1\"],\"label\":5}", 1,
         "[fd00::2]:1"},
        {"{\"addrs\":[\"10.0.0.1:5001\"],\"label\":\"theirs\"}", 1, "10.0.0.1:5001"}, /* warns */
        {"{\"addrs\":[\"10.0.0.1:1\",\"10.0.0.1:2\",\"10.0.0.1:3\",\"10.0.0.1:4\",\"10.0.0.1:5\","
         "\"10.0.0.1:6\",\"10.0.0.1:7\",\"10.0.0.1:8\",\"10.0.0.1:9\",\"10.0.0.1:10\","
         "\"10.0.0.1:11\",\"10.0.0.1:12\",\"10.0.0.1:13\",\"10.0.0.1:14\",\"10.0.0.1:15\","
         "\"10.0.0.1:16\",\"10.0.0.1:17\",\"10.0.0.1:18\"]}",
         16, "10.0.0.1:1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f->answer = rows[i].answer;
        start_url(f, NULL);
        wait_for(f, 1, 0);
        assert_int_equal(f->count, rows[i].count);
        if (rows[i].first) {
            assert_address(&f->addresses[0], rows[i].first);
        }
        assert_int_equal(f->reached_calls, 1);
        assert_address(&f->reached, "127.0.0.1:0");
    }
}

static void an_answer_that_is_none_is_a_failure(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        const char *answer;
    } rows[] = {{503, "{\"addrs\":[]}"}, {404, ""},          {200, ""},
                {200, "not JSON"},       {200, "[]"},        {200, "{\"addrs\":{}}"},
                {200, "{\"addrs\":[\""}, {200, "{\"id\":1}"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f->status = rows[i].status;
        f->answer = rows[i].answer;
        start_url(f, NULL);
        wait_for(f, 0, 1);
        assert_int_equal(f->found_calls, 0);
        assert_int_equal(f->reached_calls, 1); /* it was there, all the same */
    }
    server_free(f->server);
    f->server = NULL;
    start(f, (struct bootstrap_config){.url = "http://127.0.0.1:1/id"});
    wait_for(f, 0, 1);
    assert_int_equal(f->found_calls, 0);
}

static void it_tries_on_until_it_works(void **state)
{
    struct fixture *f = *state;
    f->status = 503;
    f->answer = "{\"addrs\":[\"10.0.0.1:5001\"]}";
    start_url(f, NULL);
    wait_for(f, 0, 2);
    f->status = 200;
    wait_for(f, 1, 2);
    assert_int_equal(bootstrap_counters(f->bootstrap)->failures, 2);
    assert_int_equal(bootstrap_counters(f->bootstrap)->lookups, 3);
    start_url(f, "/nonexistent-certificates");
    wait_for(f, 0, 1);
    assert_int_equal(f->requests, 3);
}

static void it_may_end_at_any_moment(void **state)
{
    struct fixture *f = *state;
    const struct bootstrap_target name = {NO_HOST, 5001};
    f->answer = "{\"addrs\":[]}";
    for (unsigned ms = 0; ms < 4; ms++) {
        start_url(f, NULL);
        (void)loop_run_until(f->loop, never, NULL, ms);
        start(f, (struct bootstrap_config){.targets = &name, .target_count = 1});
        (void)loop_run_until(f->loop, never, NULL, ms);
    }
}

static void without_memory_it_does_not_start(void **state)
{
    struct fixture *f = *state;
    const struct bootstrap_target target = {"127.0.0.1", 5001};
    struct bootstrap_config config = {.targets = &target,
                                      .target_count = 1,
                                      .label = "ours",
                                      .found = on_found,
                                      .reached = on_reached,
                                      .arg = f};
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct bootstrap *b;
        if (bootstrap_new(f->loop, f->fetcher, &config, &b) == 0) {
            bootstrap_free(b);
        }
    });
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(names_become_addresses_with_their_ports),
        TEST(nobody_to_ask_is_an_answer_and_a_failed_look_up_is_none),
        TEST(another_node_is_asked_over_http),
        TEST(an_answer_that_is_none_is_a_failure),
        TEST(it_tries_on_until_it_works),
        TEST(it_may_end_at_any_moment),
        TEST(without_memory_it_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
