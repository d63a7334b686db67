#include "site.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD(target) "HEAD " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_CLOSE(target) "GET " target " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static char big_buffer[SITE_BIG_BYTES + 4096]; /* the client's; one client at a time */

static void client_keeps_the_connection(struct scene *scene)
{
    static const char *const targets[] = {GET("/small"), GET("/later"),     HEAD("/small"),
                                          HEAD("/head"), GET("/304"),       GET("/flow"),
                                          GET("/empty"), GET("/file/5/70"), GET("/ready-later"),
                                          GET("/none"),  HEAD("/flow"),     GET("/big")};
    static const char *const starts[] = {
        "HTTP/1.1 200 OK\r\n",           "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n",           "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 304 Not Modified\r\n", "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\n",           "HTTP/1.1 206 Partial Content\r\n",
        "HTTP/1.1 200 OK\r\n",           "HTTP/1.1 404 Not Found\r\n",
        "HTTP/1.1 200 OK\r\n",           "HTTP/1.1 200 OK\r\n"};
    static const ssize_t body_bytes[] = {5, 5, 0, 0, 0, 3000000, 0, 70, 3000, 0, 0, SITE_BIG_BYTES};
    int fd = scene_connect(scene, NULL);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        scene_send(scene, fd, targets[i]);
        ssize_t n = scene_read_response(fd, big_buffer, sizeof(big_buffer), *targets[i] == 'H');
        EXPECT(strncmp(big_buffer, starts[i], strlen(starts[i])) == 0);
        const char *body = strstr(big_buffer, "\r\n\r\n");
        EXPECT(body && n - (body + 4 - big_buffer) == body_bytes[i]);
        EXPECT(strstr(big_buffer, "\r\nDate: ") && !strstr(big_buffer, "Connection:"));
        if (strstr(targets[i], "/head")) {
            EXPECT(strstr(big_buffer, "Content-Length: 123456789\r\n"));
        }
        if (strstr(targets[i], "/304")) {
            EXPECT(!strstr(big_buffer, "Content-Length"));
        }
        if (strstr(targets[i], "HEAD /flow")) {
            EXPECT(strstr(big_buffer, "Content-Length: 3000000\r\nX-Test") ||
                   strstr(big_buffer, "Content-Length: 3000000\r\n"));
        }
        if (strstr(targets[i], "/file/5/70")) {
            for (size_t k = 0; k < 70; k++) {
                EXPECT(body[4 + k] == site_file_byte(5 + k));
            }
        }
    }
    (void)close(fd);
}

static void one_connection_serves_every_kind_of_answer(void **state)
{
    struct site *site = *state;
    assert_true(site_serve(site, NULL, client_keeps_the_connection));
    assert_int_equal(site->requests, 12);
    assert_int_equal(site->finished, 12);
    assert_int_equal(site->last_bytes, SITE_BIG_BYTES);
    assert_true(site->last_local);
}

static void client_pipelines(struct scene *scene)
{
    int fd = scene_connect(scene, NULL);
    char out[4096];
    static const char *const targets[] = {"/small", "/later", "/small", "/empty", "/small"};
    char all[2000] = "";
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 5; i++) {
            (void)snprintf(all + strlen(all), sizeof(all) - strlen(all),
                           "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", targets[i]);
        }
    }
    /* Cut at an odd place, so that a head is split between two reads. */
    EXPECT(send(fd, all, 333, MSG_NOSIGNAL) == 333);
    scene_sleep_ms(5);
    scene_send(scene, fd, all + 333);
    for (int i = 0; i < 15; i++) {
        EXPECT(scene_read_response(fd, out, sizeof(out), false) > 0);
        const char *body = strstr(out, "\r\n\r\n");
        EXPECT(body && strcmp(body + 4, i % 5 == 1 ? "later" : i % 5 == 3 ? "" : "hello") == 0);
    }
    (void)close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    assert_true(site_serve(*state, NULL, client_pipelines));
    assert_int_equal(((struct site *)*state)->requests, 15);
}

static void client_floods(struct scene *scene)
{
    int fd = scene_connect(scene, NULL);
    char request[1000], out[2000];
    (void)snprintf(request, sizeof(request),
                   "GET /later HTTP/1.1\r\nHost: a\r\nX-Filler: %0700d\r\n\r\n", 1);
    for (int i = 0; i < 60; i++) {
        scene_send(scene, fd, request);
    }
    for (int i = 0; i < 60; i++) {
        EXPECT(scene_read_response(fd, out, sizeof(out), false) > 0);
    }
    (void)close(fd);
}

static void more_pipelined_bytes_than_the_read_buffer_wait_in_the_socket(void **state)
{
    assert_true(site_serve(*state, NULL, client_floods));
    assert_int_equal(((struct site *)*state)->requests, 60);
}

static void client_half_closes(struct scene *scene)
{
    static const char *const targets[] = {GET("/small"), GET("/later"), GET("/flow"),
                                          GET("/file/0/5243003"), GET("/small") GET("/later")};
    static const ssize_t least[] = {5, 5, 3000000, SITE_FILE_BYTES, 150};
    for (size_t i = 0; i < 5; i++) {
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd, targets[i]);
        EXPECT(shutdown(fd, SHUT_WR) == 0);
        ssize_t n = scene_read_to_end(fd, big_buffer, sizeof(big_buffer));
        EXPECT(n > least[i] && n < least[i] + 600);
        (void)close(fd);
    }
}

static void a_client_that_shut_down_its_writing_still_gets_its_answer(void **state)
{
    assert_int_equal(SITE_FILE_BYTES, 5243003);
    assert_true(site_serve(*state, NULL, client_half_closes));
    assert_int_equal(((struct site *)*state)->gone, 0);
}

static void client_speaks_http_1_0(struct scene *scene)
{
    char out[4096];
    int fd = scene_connect(scene, NULL);
    scene_send(scene, fd, "GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT(scene_read_response(fd, out, sizeof(out), false) > 0);
    EXPECT(strstr(out, "\r\nConnection: keep-alive\r\n"));
    scene_send(scene, fd, "GET /small HTTP/1.0\r\n\r\n");
    EXPECT(scene_read_to_end(fd, out, sizeof(out)) > 0);
    EXPECT(strstr(out, "\r\nConnection: close\r\n") && strstr(out, "hello"));
    (void)close(fd);
    fd = scene_connect(scene, NULL);
    scene_send(scene, fd, GET_CLOSE("/flow"));
    EXPECT(scene_read_to_end(fd, big_buffer, sizeof(big_buffer)) > 3000000);
    EXPECT(strstr(big_buffer, "\r\nConnection: close\r\n"));
    (void)close(fd);
}

static void connection_options_are_kept(void **state)
{
    assert_true(site_serve(*state, NULL, client_speaks_http_1_0));
}

static void client_is_refused(struct scene *scene)
{
    char long_target[9000], long_head[20000];
    (void)snprintf(long_target, sizeof(long_target), "GET /%08500d HTTP/1.1\r\n\r\n", 1);
    (void)snprintf(long_head, sizeof(long_head), "GET / HTTP/1.1\r\nX: %017000d\r\n\r\n", 1);
    const struct {
        const char *request, *start;
    } rows[] = {
        {"\x16\x03\x01\x02\x03\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 "},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 "},
        {long_target, "HTTP/1.1 414 "},
        {long_head, "HTTP/1.1 431 "},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 413 "},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 413 "},
        {"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
         "HTTP/1.1 413 "},
        {"HEAD /small HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n", "HTTP/1.1 200 "},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[4096];
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd, rows[i].request);
        EXPECT(scene_read_to_end(fd, out, sizeof(out)) > 0); /* FIN */
        EXPECT(strncmp(out, rows[i].start, strlen(rows[i].start)) == 0);
        EXPECT(i == 9 || strstr(out, "\r\nContent-Type: application/json\r\n"));
        EXPECT(strstr(out, "{\"errors\":[{\"code\":\""));
        (void)close(fd);
    }
    /* Nothing of a body is waited for, and nothing of it lost on the way to a clean end. */
    char out[4096], body[60000];
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = 0;
    int fd = scene_connect(scene, NULL);
    scene_send(scene, fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 59999\r\n\r\n");
    scene_send(scene, fd, body);
    EXPECT(scene_read_to_end(fd, out, sizeof(out)) > 0);
    EXPECT(strncmp(out, "HTTP/1.1 413 ", 13) == 0);
    (void)close(fd);
}

static struct server_counters counters_seen;

static void client_is_refused_and_counts(struct scene *scene)
{
    client_is_refused(scene);
    counters_seen = *server_counters(((struct site *)scene->arg)->server);
}

static void garbage_and_bodies_are_refused_with_a_clean_end(void **state)
{
    struct site *site = *state;
    assert_true(site_serve(site, NULL, client_is_refused_and_counts));
    assert_int_equal(site->requests, 1); /* HEAD /small */
    assert_int_equal(counters_seen.bad_requests, 5);
    assert_int_equal(counters_seen.head_too_large, 1);
    assert_int_equal(counters_seen.target_too_long, 1);
    assert_int_equal(counters_seen.with_body, 4);
}

static void client_sees_a_broken_body(struct scene *scene)
{
    char out[8192];
    int fd = scene_connect(scene, NULL);
    /* Unread input at the server's side must not turn its FIN into RST. */
    scene_send(scene, fd, GET("/breaks") GET("/small"));
    EXPECT(scene_read_to_end(fd, out, sizeof(out)) > 0);
    const char *body = strstr(out, "\r\n\r\n");
    EXPECT(strncmp(out, "HTTP/1.1 200 ", 13) == 0 && strstr(out, "Content-Length: 3000\r\n"));
    EXPECT(body && strlen(body + 4) == 2000);
    (void)close(fd);
}

static void a_body_that_breaks_ends_with_fin(void **state)
{
    struct site *site = *state;
    assert_true(site_serve(site, NULL, client_sees_a_broken_body));
    assert_int_equal(site->last_body_status, -EIO);
    assert_int_equal(site->last_status, 200);
    assert_int_equal(site->last_bytes, 2000);
    assert_int_equal(site->requests, 1);
}

static void client_sees_no_body(struct scene *scene)
{
    char out[4096];
    int fd = scene_connect(scene, NULL);
    scene_send(scene, fd, GET("/never-ready"));
    EXPECT(scene_read_response(fd, out, sizeof(out), false) > 0);
    EXPECT(strncmp(out, "HTTP/1.1 404 ", 13) == 0);
    scene_send(scene, fd, GET("/small"));
    EXPECT(scene_read_response(fd, out, sizeof(out), false) > 0);
    EXPECT(strstr(out, "hello"));
    (void)close(fd);
}

static void a_body_that_never_had_a_byte_becomes_404(void **state)
{
    struct site *site = *state;
    assert_true(site_serve(site, NULL, client_sees_no_body));
    assert_int_equal(site->last_body_status, -EIO);
    assert_int_equal(site->finished, 2);
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(fd);
}

static void client_goes_away(struct scene *scene)
{
    struct site *site = scene->arg;
    char out[1000];
    int fd = scene_connect(scene, NULL);
    scene_send(scene, fd, GET("/hang"));
    scene_sleep_ms(20);
    reset(fd);
    for (int i = 0; i < 100 && site->gone == 0; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(site->gone == 1);
    fd = scene_connect(scene, NULL);
    scene_send(scene, fd, GET("/hang") GET("/small")); /* with input left in the socket */
    scene_sleep_ms(20);
    reset(fd);
    for (int i = 0; i < 100 && site->gone == 1; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(site->gone == 2);
    /* In the middle of bodies: closing with bytes unread is what curl and containerd do. */
    static const char *const targets[] = {GET("/endless"), GET("/file/0/5243003"), GET("/big")};
    for (size_t i = 0; i < 3; i++) {
        unsigned before = site->finished;
        fd = scene_connect(scene, NULL);
        scene_send(scene, fd, targets[i]);
        EXPECT(recv(fd, out, sizeof(out), 0) > 0);
        scene_sleep_ms(20);
        (void)close(fd);
        for (int k = 0; k < 100 && site->finished == before; k++) {
            scene_sleep_ms(5);
        }
        EXPECT(site->finished == before + 1);
        EXPECT(i == 2 || site->last_body_status == -ECANCELED);
        EXPECT(site->bodies_open == 0);
    }
}

static void clients_that_go_away_end_their_requests_at_once(void **state)
{
    assert_true(site_serve(*state, NULL, client_goes_away));
}

static void client_leaves_everything_open(struct scene *scene)
{
    char out[100];
    static const char *const targets[] = {GET("/endless"), GET("/hang"), GET("/file/0/5243003"),
                                          "GET /sm", GET("/small")};
    for (size_t i = 0; i < 5; i++) {
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd, targets[i]);
        if (i != 1 && i != 3) {
            EXPECT(recv(fd, out, 1, 0) == 1);
        }
        scene->failure_line = fd; /* left open: closed by the process's end */
    }
    scene_sleep_ms(20);
    scene->failure_line = 0;
}

static void freeing_the_server_ends_all_that_is_under_way(void **state)
{
    struct site *site = *state;
    assert_true(site_serve(site, NULL, client_leaves_everything_open));
    assert_int_equal(site->gone, 1);
    assert_int_equal(site->last_body_status, -ECANCELED);
}

static void client_of_a_poor_server(struct scene *scene)
{
    static const char *const targets[] = {GET_CLOSE("/small"), GET_CLOSE("/file/0/1000"),
                                          GET_CLOSE("/flow"), GET_CLOSE("/big")};
    for (size_t i = 0; i < 4; i++) {
        int fd = scene_connect(scene, NULL);
        (void)send(fd, targets[i], strlen(targets[i]), MSG_NOSIGNAL);
        (void)scene_read_to_end(fd, big_buffer, sizeof(big_buffer));
        (void)close(fd);
    }
}

static void running_out_of_memory_costs_a_response_and_no_more(void **state)
{
    struct site *site = *state;
    static const struct server_limits limits = {.head_timeout_ms = 1000,
                                                .idle_timeout_ms = 1000,
                                                .stall_ms = 1000,
                                                .drain_ms = 100,
                                                .connections = 10};
    for (unsigned nth = 1; nth < 60; nth++) {
        support_fail_allocation(nth);
        (void)site_serve(site, &limits, client_of_a_poor_server);
        support_fail_allocation(0);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, site_set_up, site_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_connection_serves_every_kind_of_answer),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(more_pipelined_bytes_than_the_read_buffer_wait_in_the_socket),
        TEST(a_client_that_shut_down_its_writing_still_gets_its_answer),
        TEST(connection_options_are_kept),
        TEST(garbage_and_bodies_are_refused_with_a_clean_end),
        TEST(a_body_that_breaks_ends_with_fin),
        TEST(a_body_that_never_had_a_byte_becomes_404),
        TEST(clients_that_go_away_end_their_requests_at_once),
        TEST(freeing_the_server_ends_all_that_is_under_way),
        TEST(running_out_of_memory_costs_a_response_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
