#include "io/fetch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "scripted_peer.h"

#define BODY_BYTES 100000

struct fixture {
    struct loop *loop;
    struct fetcher *fetcher;
    struct scripted_peer peer;
    char *content;
    char url[96];
    struct fetch fetch;
    unsigned calls;
    bool over;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(loop_new(&f->loop), 0);
    assert_int_equal(fetcher_new(f->loop, &f->fetcher), 0);
    f->content = scripted_content(BODY_BYTES);
    scripted_start(&f->peer, SCRIPT_GOOD, f->content, BODY_BYTES);
    char address[ADDRESS_TEXT_BYTES];
    address_format(&f->peer.address.sa, address);
    (void)snprintf(f->url, sizeof(f->url), "http://%s/thing?x=1", address);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fetch_done(&f->fetch);
    fetcher_free(f->fetcher);
    loop_free(f->loop);
    scripted_stop(&f->peer);
    free(f->content);
    free(f);
    return 0;
}

static void on_fetched(struct fetch *fetch, void *arg)
{
    struct fixture *f = arg;
    assert_ptr_equal(fetch, &f->fetch);
    f->calls++;
    f->over = true;
}

static bool is_over(void *arg)
{
    return ((struct fixture *)arg)->over;
}

static struct fetch_options options_of(const struct fixture *f)
{
    return (struct fetch_options){.url = f->url, .body_max_bytes = 1 << 20, .timeout_ms = 2000};
}

static void run_fetch(struct fixture *f, const struct fetch_options *options)
{
    fetch_done(&f->fetch);
    f->over = false;
    f->calls = 0;
    assert_int_equal(fetch_start(f->fetcher, &f->fetch, options, on_fetched, f), 0);
    assert_int_equal(f->calls, 0);
    assert_true(loop_run_until(f->loop, is_over, f, 10000));
    assert_int_equal(f->calls, 1);
}

static void a_body_arrives_whole_with_its_status(void **state)
{
    struct fixture *f = *state;
    const struct fetch_options options = options_of(f);
    run_fetch(f, &options);
    assert_int_equal(f->fetch.error, 0);
    assert_int_equal(f->fetch.status, 200);
    assert_int_equal(f->fetch.body.len, BODY_BYTES);
    assert_memory_equal(f->fetch.body.data, f->content, BODY_BYTES);
}

static void headers_are_sent_and_user_agent_is_spegel(void **state)
{
    struct fixture *f = *state;
    struct fetch_options options = options_of(f);
    options.headers = (const char *const[]){"X-Spegel-Auth: abc", "Accept: text/plain", NULL};
    run_fetch(f, &options);
    assert_non_null(strstr(f->peer.last_request, "GET /thing?x=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(f->peer.last_request, "\r\nX-Spegel-Auth: abc\r\n"));
    assert_non_null(strstr(f->peer.last_request, "\r\nUser-Agent: spegel\r\n"));
    assert_null(strstr(f->peer.last_request, "Accept-Encoding"));
}

static void a_head_request_has_no_body(void **state)
{
    struct fixture *f = *state;
    struct fetch_options options = options_of(f);
    options.head = true;
    run_fetch(f, &options);
    assert_int_equal(f->fetch.status, 200);
    assert_int_equal(f->fetch.body.len, 0);
}

static void the_address_given_beats_the_host_in_the_url(void **state)
{
    struct fixture *f = *state;
    struct fetch_options options = options_of(f);
    options.url = "http://no-such-host.invalid/there";
    options.to = &f->peer.address;
    run_fetch(f, &options);
    assert_int_equal(f->fetch.error, 0);
    assert_non_null(strstr(f->peer.last_request, "\r\nHost: no-such-host.invalid\r\n"));
}

static void what_goes_wrong_is_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum script script;
        size_t max;
        uint32_t timeout_ms;
        int error, status;
    } table[] = {
        {SCRIPT_GOOD, BODY_BYTES, 2000, 0, 200},
        {SCRIPT_GOOD, BODY_BYTES - 1, 2000, -EFBIG, 0},
        {SCRIPT_ABSENT, 1000, 2000, 0, 404}, /* an answer is an answer */
        {SCRIPT_BUSY, 1000, 2000, 0, 503},
        {SCRIPT_FROZEN, 1000, 200, -ETIMEDOUT, 0},
        {SCRIPT_FROZEN_BODY, BODY_BYTES, 200, -ETIMEDOUT, 0},
        {SCRIPT_SHORT, BODY_BYTES, 2000, -ECONNRESET, 0},
        {SCRIPT_RESETS, BODY_BYTES, 2000, -ECONNRESET, 0},
        {SCRIPT_HANGS_UP, 1000, 2000, -ECONNRESET, 0},
        {SCRIPT_GARBAGE, 1000, 2000, -EINVAL, 0}, /* HTTP/0.9 is not spoken */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        atomic_store(&f->peer.script, table[i].script);
        atomic_store(&f->peer.at, 5000);
        struct fetch_options options = options_of(f);
        options.body_max_bytes = table[i].max;
        options.timeout_ms = table[i].timeout_ms;
        run_fetch(f, &options);
        assert_int_equal(f->fetch.error, table[i].error);
        assert_int_equal(f->fetch.status, table[i].status);
        assert_int_equal(f->fetch.reason.code, table[i].error);
        if (table[i].error) {
            assert_int_equal(f->fetch.body.len, 0);
        }
    }
}

static void
where_a_length_is_needed_a_body_without_one_or_too_long_is_refused_at_its_head(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum script script;
        size_t max;
        int error, status;
    } table[] = {
        {SCRIPT_GOOD, BODY_BYTES, 0, 200},
        {SCRIPT_GOOD, BODY_BYTES - 1, -EFBIG, 0},
        {SCRIPT_NO_LENGTH, BODY_BYTES, -EFBIG, 0},
        {SCRIPT_ABSENT, 1000, 0, 404},
        {SCRIPT_BUSY, 1000, 0, 503},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        atomic_store(&f->peer.script, table[i].script);
        struct fetch_options options = options_of(f);
        options.body_max_bytes = table[i].max;
        options.length_needed = true;
        run_fetch(f, &options);
        assert_int_equal(f->fetch.error, table[i].error);
        assert_int_equal(f->fetch.status, table[i].status);
        assert_true(table[i].status != 200 || f->fetch.body.len == BODY_BYTES);
    }
}

static void a_refused_connection_says_so_at_once(void **state)
{
    struct fixture *f = *state;
    struct fetch_options options = options_of(f);
    union address nobody = {.in4 = {.sin_family = AF_INET, .sin_port = htons(1)}};
    nobody.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    options.to = &nobody;
    run_fetch(f, &options);
    assert_int_equal(f->fetch.error, -ECONNREFUSED);
    assert_true(f->fetch.reason.text[0] != 0);
}

static void the_proxy_variables_count_only_where_asked_for(void **state)
{
    struct fixture *f = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* nobody there */
    struct fetch_options options = options_of(f);
    run_fetch(f, &options);
    assert_int_equal(f->fetch.error, 0);
    options.proxy_env = true;
    run_fetch(f, &options);
    assert_int_equal(f->fetch.error, -ECONNREFUSED);
    unsetenv("http_proxy");
}

static void cancelling_ends_it_once_and_later(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->peer.script, SCRIPT_FROZEN);
    const struct fetch_options options = options_of(f);
    assert_int_equal(fetch_start(f->fetcher, &f->fetch, &options, on_fetched, f), 0);
    fetch_cancel(&f->fetch);
    fetch_cancel(&f->fetch);
    assert_int_equal(f->calls, 0);
    assert_true(loop_run_until(f->loop, is_over, f, 1000));
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->fetch.error, -ECANCELED);
    fetch_cancel(&f->fetch); /* over: nothing happens */
}

static void connections_are_reused(void **state)
{
    struct fixture *f = *state;
    const struct fetch_options options = options_of(f);
    for (int i = 0; i < 5; i++) {
        run_fetch(f, &options);
    }
    assert_int_equal(atomic_load(&f->peer.requests), 5);
    assert_int_equal(atomic_load(&f->peer.connections), 1);
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    struct fixture *f = *state;
    struct fetch_options options = options_of(f);
    options.url = "file:///etc/passwd";
    assert_int_equal(fetch_start(f->fetcher, &f->fetch, &options, on_fetched, f), -EINVAL);
    options = options_of(f);
    options.timeout_ms = 0;
    assert_int_equal(fetch_start(f->fetcher, &f->fetch, &options, on_fetched, f), -EINVAL);
    options = options_of(f);
    options.ca_dir = "/nonexistent/certs";
    assert_int_equal(fetch_start(f->fetcher, &f->fetch, &options, on_fetched, f), -ENOENT);
    assert_non_null(strstr(f->fetch.reason.text, "/nonexistent/certs"));
}

/* libcurl's and libuv's own allocations are not among those that fail: ours are. */
static void without_memory_it_fails_or_works(void **state)
{
    struct fixture *f = *state;
    struct fetch_options options = options_of(f);
    run_fetch(f, &options);   /* the loop's own heap of timers is there from now on */
    options.timeout_ms = 300; /* how a socket that could not be watched ends */
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        fetch_done(&f->fetch);
        f->over = false;
        if (fetch_start(f->fetcher, &f->fetch, &options, on_fetched, f) == 0) {
            assert_true(loop_run_until(f->loop, is_over, f, 5000));
        }
    });
    assert_int_equal(f->fetch.status, 200);
}

static struct fixture *many_fixture;
static unsigned many_over;
static void on_one_of_many(struct fetch *fetch, void *arg)
{
    (void)arg;
    assert_int_equal(fetch->error, 0);
    assert_int_equal(fetch->body.len, BODY_BYTES);
    many_over++;
}

static bool are_all_over(void *arg)
{
    return many_over == *(unsigned *)arg;
}

static void many_at_once_all_end(void **state)
{
    struct fixture *f = many_fixture = *state;
    static struct fetch fetches[40];
    unsigned count = 40;
    many_over = 0;
    const struct fetch_options options = options_of(f);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(fetch_start(f->fetcher, &fetches[i], &options, on_one_of_many, NULL), 0);
    }
    assert_true(loop_run_until(f->loop, are_all_over, &count, 10000));
    for (unsigned i = 0; i < count; i++) {
        fetch_done(&fetches[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_body_arrives_whole_with_its_status),
        TEST(headers_are_sent_and_user_agent_is_spegel),
        TEST(a_head_request_has_no_body),
        TEST(the_address_given_beats_the_host_in_the_url),
        TEST(what_goes_wrong_is_named),
        TEST(where_a_length_is_needed_a_body_without_one_or_too_long_is_refused_at_its_head),
        TEST(a_refused_connection_says_so_at_once),
        TEST(the_proxy_variables_count_only_where_asked_for),
        TEST(cancelling_ends_it_once_and_later),
        TEST(connections_are_reused),
        TEST(requests_that_make_no_sense_are_refused),
        TEST(without_memory_it_fails_or_works),
        TEST(many_at_once_all_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
