#include "site.h"

#include <sys/resource.h>

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static struct server_counters counters_seen;

static void see_counters(struct scene *scene)
{
    counters_seen = *server_counters(((struct site *)scene->arg)->server);
}

static void client_is_slow(struct scene *scene)
{
    char out[1000];
    uint64_t start_ms = scene_now_ms();
    int slow = scene_connect(scene, NULL), silent = scene_connect(scene, NULL),
        kept = scene_connect(scene, NULL);
    scene_send(scene, kept, GET("/small"));
    EXPECT(scene_read_response(kept, out, sizeof(out), false) > 0);
    /* A byte now and then does not prolong the time a head may take. */
    for (int i = 0; i < 8; i++) {
        (void)send(slow, "GET / HTTP/1.1" + i, 1, MSG_NOSIGNAL);
        scene_sleep_ms(10);
    }
    EXPECT(recv(slow, out, 1, 0) <= 0);
    EXPECT(scene_now_ms() - start_ms < 180);
    /* The others are held by the idle time-out, which is longer. */
    EXPECT(recv(silent, out, 1, 0) == 0);
    EXPECT(recv(kept, out, 1, 0) == 0);
    EXPECT(scene_now_ms() - start_ms >= 195);
    (void)close(slow);
    (void)close(silent);
    (void)close(kept);
    see_counters(scene);
}

static void slow_heads_and_idle_connections_are_closed(void **state)
{
    static const struct server_limits limits = {.head_timeout_ms = 60,
                                                .idle_timeout_ms = 200,
                                                .stall_ms = 1000,
                                                .drain_ms = 100,
                                                .connections = 10};
    assert_true(site_serve(*state, &limits, client_is_slow));
    assert_int_equal(counters_seen.slow_heads, 1);
    assert_int_equal(counters_seen.idle_closed, 2);
}

static void client_works_slowly_but_steadily(struct scene *scene)
{
    char out[1000];
    int fd = scene_connect(scene, NULL);
    for (int i = 0; i < 6; i++) {
        scene_send(scene, fd, GET("/later"));
        EXPECT(scene_read_response(fd, out, sizeof(out), false) > 0);
        scene_sleep_ms(40);
    }
    (void)close(fd);
}

static void each_request_starts_the_clocks_anew(void **state)
{
    static const struct server_limits limits = {.head_timeout_ms = 60,
                                                .idle_timeout_ms = 100,
                                                .stall_ms = 1000,
                                                .drain_ms = 100,
                                                .connections = 10};
    assert_true(site_serve(*state, &limits, client_works_slowly_but_steadily));
    assert_int_equal(((struct site *)*state)->requests, 6);
}

static int connect_small_window(struct scene *scene)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 8192;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(scene->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    return fd;
}

static void client_takes_nothing(struct scene *scene)
{
    struct site *site = scene->arg;
    char out[1000];
    int trickle = connect_small_window(scene), stuck = connect_small_window(scene);
    scene_send(scene, trickle, GET("/endless"));
    scene_send(scene, stuck, GET("/endless"));
    /* 600 ms: one reads a little now and then, which must do; the other nothing. */
    for (int i = 0; i < 30; i++) {
        EXPECT(recv(trickle, out, sizeof(out), 0) > 0);
        (void)recv(trickle, out, sizeof(out), MSG_DONTWAIT);
        scene_sleep_ms(20);
    }
    EXPECT(site->finished == 1 && site->last_body_status == -ECANCELED);
    EXPECT(site->bodies_open == 1);
    see_counters(scene);
    (void)close(trickle);
    (void)close(stuck);
}

static void a_client_that_takes_nothing_is_closed_and_a_slow_one_is_not(void **state)
{
    static const struct server_limits limits = {.head_timeout_ms = 1000,
                                                .idle_timeout_ms = 1000,
                                                .stall_ms = 200,
                                                .drain_ms = 100,
                                                .connections = 10};
    assert_true(site_serve(*state, &limits, client_takes_nothing));
    assert_int_equal(counters_seen.stalled_clients, 1);
}

static void client_fills_the_slots(struct scene *scene)
{
    char out[1000];
    int fds[12];
    /* Four idle, four headless (two silent, two with half a head), two busy. */
    for (int i = 0; i < 10; i++) {
        fds[i] = scene_connect(scene, NULL);
        if (i < 4) {
            scene_send(scene, fds[i], GET("/small"));
            EXPECT(scene_read_response(fds[i], out, sizeof(out), false) > 0);
        } else if (i == 6 || i == 7) {
            scene_send(scene, fds[i], "GET /sm");
        } else if (i >= 8) {
            scene_send(scene, fds[i], GET("/hang"));
        }
        scene_sleep_ms(3); /* the order of arrival counts */
    }
    static const int victims[] = {4, 5, 6, 7, 0, 1, 2, 3};
    for (int i = 0; i < 8; i++) {
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd, GET("/hang"));
        EXPECT(recv(fds[victims[i]], out, 1, 0) <= 0);
        scene_sleep_ms(3);
    }
    /* All ten are busy: the next one is refused, the busy ones live. */
    int fd = scene_connect(scene, NULL);
    EXPECT(recv(fd, out, 1, 0) <= 0);
    EXPECT(recv(fds[8], out, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    see_counters(scene);
}

static void at_the_cap_headless_then_idle_connections_make_room(void **state)
{
    static const struct server_limits limits = {.head_timeout_ms = 10000,
                                                .idle_timeout_ms = 10000,
                                                .stall_ms = 1000,
                                                .drain_ms = 100,
                                                .connections = 10};
    assert_true(site_serve(*state, &limits, client_fills_the_slots));
    assert_int_equal(counters_seen.evicted, 8);
    assert_int_equal(counters_seen.refused_cap, 1);
    assert_int_equal(counters_seen.accepted, 18);
}

static void client_uses_up_descriptors(struct scene *scene)
{
    char out[1000];
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = scene_connect(scene, NULL);
        scene_send(scene, fds[i], GET("/hang"));
    }
    scene_sleep_ms(20);
    int before = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(scene->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct rlimit old, low;
    EXPECT(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = old;
    low.rlim_cur = (rlim_t)before + 1; /* not one descriptor is left */
    EXPECT(setrlimit(RLIMIT_NOFILE, &low) == 0);
    /* Nobody can make room: accepted on the reserve and closed, rather than reported for ever. */
    EXPECT(connect(before, (struct sockaddr *)&a, sizeof(a)) == 0);
    EXPECT(recv(before, out, 1, 0) <= 0);
    (void)close(before);
    EXPECT(setrlimit(RLIMIT_NOFILE, &old) == 0);
    int after = scene_connect(scene, NULL);
    scene_send(scene, after, GET("/small"));
    EXPECT(scene_read_response(after, out, sizeof(out), false) > 0);
    for (int i = 0; i < 8; i++) {
        (void)close(fds[i]);
    }
    (void)close(after);
    see_counters(scene);
}

static void running_out_of_descriptors_loses_one_connection_not_the_server(void **state)
{
    assert_true(site_serve(*state, NULL, client_uses_up_descriptors));
    assert_in_range(counters_seen.accept_errors, 1, 3);
    assert_int_equal(counters_seen.accepted, 9);
}

static void client_never_stops_sending(struct scene *scene)
{
    char x[4096];
    memset(x, 'x', sizeof(x));
    int fd = scene_connect(scene, NULL);
    scene_send(scene, fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    uint64_t sent = 0, start_ms = scene_now_ms();
    while (sent < 50000000) {
        ssize_t n = send(fd, x, sizeof(x), MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        sent += (uint64_t)n;
    }
    EXPECT(sent < 30000000 && scene_now_ms() - start_ms < 5000);
    (void)close(fd);
    /* And one that sends nothing, nor closes. */
    fd = scene_connect(scene, NULL);
    scene_send(scene, fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    struct site *site = scene->arg;
    for (int i = 0; i < 100 && server_connections(site->server) > 0; i++) {
        scene_sleep_ms(10);
    }
    EXPECT(server_connections(site->server) == 0);
    (void)close(fd);
}

static void what_is_thrown_away_before_closing_has_limits(void **state)
{
    assert_true(site_serve(*state, NULL, client_never_stops_sending));
}

static void addresses_that_cannot_be_listened_on_are_named(void **state)
{
    (void)state;
    struct loop *loop;
    struct server *server, *second;
    struct server_handler handler = {0};
    struct error err;
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(server_new(loop, &handler, &server), 0);
    assert_int_equal(server_new(loop, &handler, &second), 0);
    assert_int_equal(server_port(server), 0);
    assert_int_equal(server_listen(server, ":0", &err), 0); /* both families */
    char text[32];
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", server_port(server));
    assert_int_equal(server_listen(second, text, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, text));
    assert_int_equal(server_listen(second, "192.0.2.7:0", &err), -EADDRNOTAVAIL);
    assert_int_equal(server_listen(second, "nonsense", &err), -EINVAL);
    assert_int_equal(server_listen(second, "[::1]:0", &err), 0);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                               .sin6_port = htons(server_port(server))};
    assert_int_equal(connect(fd, (struct sockaddr *)&six, sizeof(six)), 0);
    (void)close(fd);
    server_free(server);
    server_free(second);
    loop_free(loop);
}

static int setup(void **state)
{
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    site_make_file(site);
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    struct site *site = *state;
    (void)unlink(site->path);
    free(site);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(slow_heads_and_idle_connections_are_closed),
        TEST(each_request_starts_the_clocks_anew),
        TEST(a_client_that_takes_nothing_is_closed_and_a_slow_one_is_not),
        TEST(at_the_cap_headless_then_idle_connections_make_room),
        TEST(running_out_of_descriptors_loses_one_connection_not_the_server),
        TEST(what_is_thrown_away_before_closing_has_limits),
        TEST(addresses_that_cannot_be_listened_on_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
