/* Cold rollouts between two nodes: what goes wrong, and that nobody waits longer than he must. */
#include "registry/cold_fixture.h"

#define NEAR_MS 700 /* of slack, where a time is asserted: the machine may be busy */

/* --- the arbiter --- */

static void an_answer_that_is_lost_is_not_waited_for(void **state)
{
    struct rollout *r = *state;
    r->answers[0] = ANSWER_LOST;
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    assert_true(r->follower.client.all_ms < LIMIT_NO_PROGRESS_MS + NEAR_MS);
    assert_int_equal(cold_counters(r->follower.cold)->unanswered, 1);
}

static void an_arbiter_that_says_to_wait_for_long_is_asked_soon_all_the_same(void **state)
{
    struct rollout *r = *state;
    r->retry_ms = UINT16_MAX;
    r->answers[0] = GOSSIP_SWARM_WAIT;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    assert_true(r->follower.client.all_ms < LIMIT_COLD_WAIT_MAX_MS + NEAR_MS);
}

/* Its containerd goes upstream, and would else be taken for a child of its last parent. */
static void who_gives_up_says_that_it_follows_nobody(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_NONE;
    r->answer_count = 2;
    site_ask(&r->follower, "GET", r->target, ""); /* the parent has nothing in flight: 404 */
    assert_int_equal(r->follower.client.status, 404);
    assert_int_equal(r->want_count, 2);
    const struct gossip_flight *said = last_said(r, &r->follower);
    assert_non_null(said);
    assert_int_equal(said->parent, 0);
    assert_int_equal(said->state, GOSSIP_FLIGHT_GROWING);
}

/* --- parents --- */

static void of_two_parents_the_one_that_broke_is_named(void **state)
{
    struct rollout *r = *state;
    r->offers[1] = SILENT;
    r->answers[1] = GOSSIP_SWARM_OFFER;
    r->answers[2] = GOSSIP_SWARM_GRANT;
    r->answer_count = 3;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    parent_grows(r, 0, DOWNLOADS_MIB);
    run_for(r, LIMIT_NO_PROGRESS_MS + 600); /* silent for long: another one is tried */
    assert_int_equal(r->want_count, 2);
    download_abort(&r->download);
    run_for(r, 300); /* that one may give it yet */
    follower_finishes(r);
    assert_int_equal(r->want_count, 3);
    bool lost = false;
    for (size_t i = 0; i < r->wants[2].failed_count; i++) {
        lost |=
            r->wants[2].failed[i].id == PARENT && r->wants[2].failed[i].fault == GOSSIP_FAULT_LOST;
        assert_false(r->wants[2].failed[i].id == SILENT &&
                     r->wants[2].failed[i].fault == GOSSIP_FAULT_LOST);
    }
    assert_true(lost);
    assert_int_equal(r->client.body_bytes, DOWNLOADS_MIB);
    assert_false(r->client.reset);
}

/* --- children --- */

/* The parent's pull failed as soon as the manifest had come, and what came was thrown away. */
static void whoever_waits_for_what_is_never_held_is_sent_on(void **state)
{
    struct rollout *r = *state;
    char text[DIGEST_TEXT_BYTES];
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    digest_format(&r->digest, text);
    (void)snprintf(r->target, sizeof r->target, "/v2/app/manifests/%s?ns=registry.lab", text);
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    follower_asks(r, "");
    run_for(r, 100);
    assert_int_equal(r->client.status, 0); /* manifests come from whoever holds them */
    uint64_t from_ms = loop_now_ms(r->loop);
    download_commit(&r->download);
    follower_finishes(r);
    assert_int_equal(r->client.status, 404);
    assert_true(loop_now_ms(r->loop) - from_ms < LIMIT_COLD_INGEST_MS + NEAR_MS);
    assert_int_equal(last_said(r, &r->parent)->state, GOSSIP_FLIGHT_GONE);
}

static void a_blob_shorter_than_was_said_ends_in_fin(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    parent_begins(r, "7000000");
    follower_asks(r, "");
    parent_grows(r, 0, DOWNLOADS_MIB);
    run_for(r, 200);
    parent_grows(r, DOWNLOADS_MIB, BLOB_BYTES);
    run_for(r, 100);
    download_commit(&r->download);
    run_for(r, 100);
    assert_int_equal(
        inventory_add_blob(r->parent.inventory, &r->digest, BLOB_BYTES, &r->parent.root), 0);
    uint64_t from_ms = loop_now_ms(r->loop);
    follower_finishes(r);
    assert_true(loop_now_ms(r->loop) - from_ms < LIMIT_NO_PROGRESS_MS);
    assert_int_equal(r->client.content_length, 7000000);
    assert_int_equal(r->client.body_bytes, BLOB_BYTES);
    assert_false(r->client.reset);
}

/* A parent's word for the length was believed, and containerd's is another. */
static void a_length_that_turns_out_otherwise_ends_in_fin(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, NULL);
    parent_grows(r, 0, DOWNLOADS_MIB);
    run_for(r, 100);
    struct cold_flight *f = cold_flight_join(r->parent.cold, &r->digest);
    assert_non_null(f);
    cold_flight_set_total(f, 2 * DOWNLOADS_MIB);
    r->client = (struct blocking_client){0};
    client_start(&r->client, server_port(r->parent.server), "GET", r->target, FIRST_BYTE, r->body,
                 sizeof r->body);
    run_for(r, 200);
    download_file(&r->download, "total", TOTAL);
    parent_grows(r, DOWNLOADS_MIB, BLOB_BYTES);
    client_finish(&r->client, r->loop, 5000);
    assert_int_equal(r->client.content_length, 2 * DOWNLOADS_MIB);
    assert_true(r->client.body_bytes < 2 * DOWNLOADS_MIB);
    assert_false(r->client.reset);
    cold_flight_leave(f);
}

static int child_connects(struct rollout *r)
{
    char request[512];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(server_port(r->parent.server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n" FIRST_BYTE "\r\n",
                     r->target);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* Who waited here and went to another parent takes nobody's place. */
static void a_child_that_leaves_before_it_was_fed_makes_room(void **state)
{
    struct rollout *r = *state;
    int fds[LIMIT_COLD_CHILDREN];
    parent_begins(r, TOTAL);
    for (size_t i = 0; i < LIMIT_COLD_CHILDREN; i++) {
        fds[i] = child_connects(r);
    }
    run_for(r, 100);
    for (size_t i = 0; i < LIMIT_COLD_CHILDREN; i++) {
        (void)close(fds[i]);
    }
    run_for(r, 600);
    parent_grows(r, 0, BLOB_BYTES);
    site_ask(&r->parent, "GET", r->target, FIRST_BYTE);
    assert_int_equal(r->parent.client.status, 200);
}

/* Anybody who reaches the port may say that he follows; the places are the members'. */
static void outsiders_are_told_404_and_take_no_place(void **state)
{
    static const char *const forged[] = {"true", "held", "a member's", ""};
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, DOWNLOADS_MIB);
    run_for(r, 100);
    for (size_t i = 0; i < LIMIT_COLD_CHILDREN + 2; i++) {
        char fields[128];
        (void)snprintf(fields, sizeof fields, "X-Spegel-Mirrored: true\r\nX-Spegel-Follow: %s\r\n",
                       forged[i % 4]);
        site_ask(&r->parent, "GET", r->target, fields);
        assert_int_equal(r->parent.client.status, 404);
    }
    assert_int_equal(registry_counters(r->parent.registry)->bad_badges, LIMIT_COLD_CHILDREN + 2);
    assert_int_equal(cold_counters(r->parent.cold)->fed_refused, 0);
    follower_asks(r, "");
    run_for(r, 100);
    parent_grows(r, DOWNLOADS_MIB, BLOB_BYTES);
    parent_commits(r);
    follower_finishes(r);
    assert_whole(r);
    assert_asked_for_one_parent(r); /* and fed at once */
}

/* --- leaving --- */

static void a_node_that_leaves_lets_those_go_who_wait(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    run_for(r, 100);
    static struct blocking_client child;
    static char body[4096];
    child = (struct blocking_client){0};
    client_start(&child, server_port(r->follower.server), "GET", r->target, FIRST_BYTE, body,
                 sizeof body);
    run_for(r, 300);
    assert_int_equal(r->client.status, 0);
    registry_set_draining(r->follower.registry);
    uint64_t from_ms = loop_now_ms(r->loop);
    follower_finishes(r);
    client_finish(&child, r->loop, 5000);
    assert_true(loop_now_ms(r->loop) - from_ms < NEAR_MS);
    assert_int_equal(r->client.status, 404);
    assert_int_equal(child.status, 503);
}

static void a_server_that_ends_takes_all_who_wait_or_are_fed_with_it(void **state)
{
    struct rollout *r = *state;
    static struct blocking_client fed, waits;
    static char bodies[2][4096];
    parent_begins(r, TOTAL);
    parent_grows(r, 0, DOWNLOADS_MIB);
    follower_asks(r, "");
    fed = (struct blocking_client){.pause_at = 1, .pause_ms = 500, .abort_at = 4000};
    client_start(&fed, server_port(r->parent.server), "GET", r->target, FIRST_BYTE, bodies[0],
                 sizeof bodies[0]);
    waits = (struct blocking_client){0};
    client_start(&waits, server_port(r->parent.server), "GET", r->target,
                 FIRST_BYTE "Range: bytes=5000000-\r\n", bodies[1], sizeof bodies[1]);
    run_for(r, 200);
    server_free(r->parent.server);
    r->parent.server = NULL;
    server_free(r->follower.server);
    r->follower.server = NULL;
    follower_finishes(r);
    client_finish(&fed, r->loop, 5000);
    client_finish(&waits, r->loop, 5000);
    assert_int_equal(waits.status, 0);
    assert_int_equal(cold_counters(r->parent.cold)->fed, 2);
}

/* --- without memory --- */

static void assert_right_as_far_as_it_goes(struct rollout *r)
{
    int status = r->client.status; /* 0: closed, which containerd survives */
    assert_true(status == 0 || status == 200 || status == 404);
    if (status == 200) {
        assert_false(r->client.reset);
        assert_int_equal(r->client.content_length, BLOB_BYTES);
        assert_true(r->client.body_bytes > 0);
        assert_memory_equal(r->body, r->blob, r->client.body_bytes);
    }
}

/* Without a flight, and without doubts in whoever gave it all. */
static void follower_begins_anew(struct rollout *r)
{
    cold_held(r->follower.cold, &r->digest);
    mirror_appeared(r->follower.mirror, &r->digest);
    run_for(r, 20);
}

static void without_memory_a_follower_and_its_parent_go_on(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    unsigned whole = 0;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        r->want_count = r->flight_count = 0;
        follower_asks(r, "");
        follower_finishes(r);
        assert_right_as_far_as_it_goes(r);
        whole += r->client.body_bytes == BLOB_BYTES;
        follower_begins_anew(r);
    });
    assert_true(whole > 0);
    r->want_count = r->flight_count = 0;
    follower_asks(r, "");
    follower_finishes(r);
    assert_whole(r);
}

/* The same of one that waits when memory ends, with the bytes and the commit yet to come. */
static void without_memory_who_waits_is_answered(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    for (unsigned nth = 1; nth < 40; nth += 1 + nth / 8) {
        r->want_count = r->flight_count = 0;
        parent_begins(r, TOTAL);
        follower_asks(r, "");
        run_for(r, 30);
        support_fail_allocation(nth);
        run_for(r, 10);
        support_fail_allocation(0);
        parent_grows(r, 0, BLOB_BYTES);
        support_fail_allocation(nth);
        follower_finishes(r);
        support_fail_allocation(0);
        assert_right_as_far_as_it_goes(r);
        download_abort(&r->download);
        follower_begins_anew(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_that_is_lost_is_not_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            an_arbiter_that_says_to_wait_for_long_is_asked_soon_all_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_gives_up_says_that_it_follows_nobody, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(of_two_parents_the_one_that_broke_is_named, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(whoever_waits_for_what_is_never_held_is_sent_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_blob_shorter_than_was_said_ends_in_fin, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_length_that_turns_out_otherwise_ends_in_fin, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_child_that_leaves_before_it_was_fed_makes_room, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(outsiders_are_told_404_and_take_no_place, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_leaves_lets_those_go_who_wait, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_ends_takes_all_who_wait_or_are_fed_with_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_a_follower_and_its_parent_go_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_memory_who_waits_is_answered, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
