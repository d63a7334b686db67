/* What one remote address may hold. Needs a network namespace of its own, in which 192.0.2.0/24 is
 * delivered locally without belonging to an interface, so that its hosts count as remote. */
#include "site.h"

#include <sched.h>

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define SLOTS 20

static struct server_counters counters_seen;

static bool is_open(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static unsigned count_open(const int *fds, size_t n)
{
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        count += is_open(fds[i]);
    }
    return count;
}

static void client_attacks_slowly(struct scene *scene)
{
    struct site *site = scene->arg;
    char out[1000];
    int local = scene_connect(scene, NULL), slow[3 * SLOTS], other[4];
    scene_send(scene, local, "GET /sm"); /* older than all of the attack, and as headless */
    for (int i = 0; i < 3 * SLOTS; i++) {
        slow[i] = scene_connect(scene, "192.0.2.66");
        EXPECT(slow[i] >= 0);
        scene_send(scene, slow[i], "GET /sm");
    }
    for (int i = 0; i < 100 && server_counters(site->server)->accepted < 3 * SLOTS + 1; i++) {
        scene_sleep_ms(5);
    }
    scene_sleep_ms(20);
    EXPECT(count_open(slow, 3 * SLOTS) == SLOTS / 2);
    EXPECT(is_open(slow[3 * SLOTS - 1]) && !is_open(slow[0])); /* the oldest went */
    EXPECT(is_open(local));
    /* Others, local or not, are served as if nothing were the matter. */
    for (int i = 0; i < 4; i++) {
        other[i] = scene_connect(scene, i % 2 ? "192.0.2.7" : NULL);
        scene_send(scene, other[i], GET("/small"));
        EXPECT(scene_read_response(other[i], out, sizeof(out), false) > 0);
        EXPECT(site->last_local == (i % 2 == 0));
    }
    scene_send(scene, local, "all HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(scene_read_response(local, out, sizeof(out), false) > 0);
    for (int i = 0; i < 3 * SLOTS; i++) {
        (void)close(slow[i]);
    }
    for (int i = 0; i < 4; i++) {
        (void)close(other[i]);
    }
    (void)close(local);
    counters_seen = *server_counters(site->server);
}

static const struct server_limits limits = {.head_timeout_ms = 10000,
                                            .idle_timeout_ms = 10000,
                                            .stall_ms = 10000,
                                            .drain_ms = 100,
                                            .connections = SLOTS};

static void one_remote_address_holds_at_most_half_the_slots(void **state)
{
    assert_true(site_serve(*state, &limits, client_attacks_slowly));
    assert_int_equal(counters_seen.evicted, 3 * SLOTS - SLOTS / 2);
    assert_int_equal(counters_seen.refused_cap, 0);
}

static void client_asks_for_much(struct scene *scene)
{
    int busy[SLOTS / 2];
    char byte;
    for (int i = 0; i < SLOTS / 2; i++) {
        busy[i] = scene_connect(scene, "192.0.2.66");
        scene_send(scene, busy[i], GET("/hang"));
        scene_sleep_ms(2);
    }
    int more = scene_connect(scene, "192.0.2.66");
    EXPECT(recv(more, &byte, 1, 0) <= 0);
    EXPECT(count_open(busy, SLOTS / 2) == SLOTS / 2);
    /* Local ones may have more than half. */
    for (int i = 0; i < SLOTS / 2; i++) {
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd, GET("/hang"));
        scene_sleep_ms(2);
        EXPECT(is_open(fd));
    }
    counters_seen = *server_counters(((struct site *)scene->arg)->server);
}

static void beyond_that_nothing_that_is_busy_is_given_up(void **state)
{
    assert_true(site_serve(*state, &limits, client_asks_for_much));
    assert_int_equal(counters_seen.refused_cap, 1);
    assert_int_equal(counters_seen.evicted, 0);
}

static int setup(void **state)
{
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_remote_address_holds_at_most_half_the_slots),
        TEST(beyond_that_nothing_that_is_busy_is_given_up),
    };
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
        (void)fprintf(stderr, "skipped: no network namespace to be had here\n");
        return 77;
    }
    if (system("ip link set lo up && ip route add local 192.0.2.0/24 dev lo") != 0) {
        (void)fprintf(stderr, "skipped: iproute2 is missing\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
