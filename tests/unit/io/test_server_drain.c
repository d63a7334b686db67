#include "site.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static char big_buffer[SITE_BIG_BYTES + 4096]; /* the client's; one client at a time */

static void client_drains(struct scene *scene)
{
    struct site *site = scene->arg;
    char out[8192];
    int idle = scene_connect(scene, NULL), crossing = scene_connect(scene, NULL),
        busy = scene_connect(scene, NULL);
    scene_send(scene, idle, GET("/small"));
    EXPECT(scene_read_response(idle, out, sizeof(out), false) > 0);
    scene_send(scene, busy, GET("/drain"));
    scene_sleep_ms(10);
    scene_send(scene, crossing, GET("/small"));
    /* The response under way is completed, and says that it is the last. */
    EXPECT(scene_read_to_end(busy, out, sizeof(out)) > 3000);
    EXPECT(strstr(out, "\r\nConnection: close\r\n"));
    EXPECT(scene_read_to_end(crossing, out, sizeof(out)) >= 0);
    EXPECT(strstr(out, "hello"));
    EXPECT(scene_read_to_end(idle, out, sizeof(out)) == 0);
    (void)close(idle);
    (void)close(busy);
    (void)close(crossing);
    for (int i = 0; i < 100 && !site->drained; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(site->drained);
    int late = scene_connect(scene, NULL);
    EXPECT(late < 0);
}

static void draining_completes_what_runs_and_closes_what_idles(void **state)
{
    assert_true(site_serve(*state, NULL, client_drains));
}

static void client_comes_late(struct scene *scene)
{
    struct site *site = scene->arg;
    char out[8192];
    int running = scene_connect(scene, NULL), drains = scene_connect(scene, NULL);
    scene_send(scene, running, GET("/big"));
    EXPECT(recv(running, out, 100, MSG_WAITALL) == 100); /* the rest once all else is seen */
    scene_send(scene, drains, GET("/drain"));
    EXPECT(scene_read_to_end(drains, out, sizeof(out)) > 3000);
    /* Who comes now is answered, once a connection. */
    for (int i = 0; i < 3; i++) {
        int late = scene_connect(scene, NULL);
        scene_send(scene, late, GET("/small"));
        EXPECT(scene_read_to_end(late, out, sizeof(out)) > 0);
        EXPECT(strstr(out, "200 OK") && strstr(out, "hello") && strstr(out, "Connection: close"));
        (void)close(late);
    }
    int silent = scene_connect(scene, NULL), slow = scene_connect(scene, NULL);
    scene_send(scene, slow, "GET /sm");
    scene_sleep_ms(20);
    EXPECT(!site->drained);
    /* But nobody waits for the late ones, and what ran keeps no connection. */
    EXPECT(scene_read_to_end(running, big_buffer, sizeof(big_buffer)) >= SITE_BIG_BYTES - 100);
    (void)close(running);
    (void)close(drains);
    for (int i = 0; i < 100 && !site->drained; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(site->drained && server_connections(site->server) == 2);
    EXPECT(scene_connect(scene, NULL) < 0);
    (void)close(silent);
    (void)close(slow);
}

static void late_comers_are_answered_while_draining_but_not_waited_for(void **state)
{
    assert_true(site_serve(*state, NULL, client_comes_late));
}

static void client_takes_too_long(struct scene *scene)
{
    struct site *site = scene->arg;
    char out[8192];
    int running = scene_connect(scene, NULL), drains = scene_connect(scene, NULL);
    scene_send(scene, running, GET("/endless"));
    EXPECT(recv(running, out, 100, MSG_WAITALL) == 100);
    scene_send(scene, drains, GET("/drain"));
    EXPECT(scene_read_to_end(drains, out, sizeof(out)) > 3000);
    EXPECT(!site->drained);
    for (int i = 0; i < 200 && !site->drained; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(site->drained && site->last_body_status == -ECANCELED && site->bodies_open == 0);
    (void)close(running);
    (void)close(drains);
}

static void draining_ends_in_time_whoever_reads_slowly(void **state)
{
    ((struct site *)*state)->drain_max_ms = 300;
    assert_true(site_serve(*state, NULL, client_takes_too_long));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, site_set_up, site_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(draining_completes_what_runs_and_closes_what_idles),
        TEST(late_comers_are_answered_while_draining_but_not_waited_for),
        TEST(draining_ends_in_time_whoever_reads_slowly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
