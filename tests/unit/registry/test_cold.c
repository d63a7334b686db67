/* Cold rollouts between two nodes: how a follower is fed while its parent's containerd downloads.
 */
#include "registry/cold_fixture.h"

/* --- tests --- */

static void whoever_is_granted_it_is_sent_upstream_and_says_that_it_leads(void **state)
{
    struct rollout *r = *state;
    r->answers[0] = GOSSIP_SWARM_GRANT;
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    assert_non_null(strstr(r->follower.reply, "fetch it from upstream"));
    assert_int_equal(r->want_count, 1);
    assert_int_equal(r->wants[0].key, gossip_key_digest(r->digest.bytes));
    const struct gossip_flight *said = last_said(r, &r->follower);
    assert_non_null(said);
    assert_int_equal(said->state, GOSSIP_FLIGHT_GROWING);
    assert_int_equal(said->parent, 0);
    download_write(&r->own, 0, DOWNLOADS_MIB);
    run_for(r, 1300);
    said = last_said(r, &r->follower);
    assert_int_equal(said->bytes, DOWNLOADS_MIB);
    own_is_gone(r);
    run_for(r, 800);
    assert_int_equal(last_said(r, &r->follower)->state, GOSSIP_FLIGHT_GONE);
    assert_int_equal(cold_counters(r->follower.cold)->flights_gone, 1);
}

static void a_follower_receives_what_its_parent_downloads_while_it_grows(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    run_until_it_follows(r);
    run_for(r, 100);
    assert_int_equal(r->client.status, 0); /* no head before the first byte */
    for (int64_t at = 0; at < BLOB_BYTES; at += DOWNLOADS_MIB) {
        parent_grows(r, at, at + DOWNLOADS_MIB);
        run_for(r, 30);
    }
    assert_int_equal(last_said(r, &r->follower)->parent, PARENT);
    parent_commits(r);
    follower_finishes(r);
    assert_whole(r);
    assert_asked_for_one_parent(r);
    assert_int_equal(cold_counters(r->follower.cold)->bytes_followed, BLOB_BYTES);
    assert_int_equal(cold_counters(r->parent.cold)->fed, 1);
    assert_int_equal(last_said(r, &r->parent)->state, GOSSIP_FLIGHT_HELD);
}

/* An image that is removed at once is never seen in the store; its bytes were right all the same.
 */
static void a_commit_is_told_once_though_the_store_never_has_it(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    download_commit(&r->download);
    run_for(r, 800);
    assert_int_equal(r->committed, 1);
}

static void a_commit_in_the_middle_of_feeding_loses_nothing(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    parent_grows(r, 0, 1000);
    run_for(r, 100);
    parent_grows(r, 1000, BLOB_BYTES);
    parent_commits(r);
    follower_finishes(r);
    assert_whole(r);
}

static void without_a_known_length_the_follower_waits_for_the_commit(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, NULL);
    follower_asks(r, "");
    parent_grows(r, 0, BLOB_BYTES);
    run_for(r, 300);
    assert_int_equal(r->client.status, 0);
    parent_commits(r);
    follower_finishes(r);
    assert_whole(r);
}

static void a_range_is_answered_from_what_has_grown_beyond_its_beginning(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, 2 * DOWNLOADS_MIB);
    follower_asks(r, "Range: bytes=3000000-\r\n");
    run_for(r, 100);
    assert_int_equal(r->client.status, 0);
    parent_grows(r, 2 * DOWNLOADS_MIB, BLOB_BYTES);
    follower_finishes(r);
    assert_int_equal(r->client.status, 206);
    assert_int_equal(r->client.body_bytes, BLOB_BYTES - 3000000);
    assert_memory_equal(r->body, r->blob + 3000000, BLOB_BYTES - 3000000);
    assert_int_equal(r->wants[0].bytes, 3000000);
}

static void an_aborted_download_ends_in_fin_and_the_retry_goes_upstream(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    parent_grows(r, 0, 2 * DOWNLOADS_MIB);
    run_for(r, 200);
    download_abort(&r->download);
    follower_finishes(r);
    assert_int_equal(r->client.status, 200);
    assert_false(r->client.reset);
    assert_int_equal(r->client.body_bytes, 2 * DOWNLOADS_MIB);
    assert_memory_equal(r->body, r->blob, 2 * DOWNLOADS_MIB);
    assert_int_equal(r->want_count, 2);
    assert_int_equal(r->wants[1].failed[0].id, PARENT);
    assert_int_equal(r->wants[1].failed[0].fault, GOSSIP_FAULT_LOST);
    assert_int_equal(r->wants[1].bytes, 2 * DOWNLOADS_MIB);
    follower_asks(r, "Range: bytes=2097152-\r\n");
    follower_finishes(r);
    assert_int_equal(r->client.status, 404);
}

/* Killed, it leaves its download as it is. */
static void a_lost_containerd_ends_its_downloads_and_whom_they_fed(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    parent_grows(r, 0, 2 * DOWNLOADS_MIB);
    run_for(r, 200);
    cold_containerd_lost(r->parent.cold);
    assert_int_equal(last_said(r, &r->parent)->state, GOSSIP_FLIGHT_GONE);
    follower_finishes(r);
    assert_int_equal(r->client.body_bytes, 2 * DOWNLOADS_MIB);
    assert_int_equal(r->want_count, 2);
}

/* Upstream is slow: the arbiter, which hears from the parent, says to stay. */
static void a_silent_parent_is_kept_while_the_arbiter_says_so(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    parent_grows(r, 0, DOWNLOADS_MIB);
    run_for(r, LIMIT_NO_PROGRESS_MS + 700);
    assert_int_equal(r->want_count, 2);
    assert_int_equal(r->wants[1].failed[0].id, PARENT);
    assert_int_equal(r->wants[1].failed[0].fault, GOSSIP_FAULT_STALLED);
    parent_grows(r, DOWNLOADS_MIB, BLOB_BYTES);
    follower_finishes(r);
    assert_whole(r);
    assert_int_equal(cold_counters(r->follower.cold)->stayed, 1);
    assert_int_equal(mirror_counters(r->follower.mirror)->resumed, 0);
    assert_int_equal(r->parent.client.status, 404); /* asked once, long ago */
    assert_int_equal(cold_counters(r->parent.cold)->fed, 1);
}

/* The one that is named turns out to give nothing; so it is the old one again, at the offset. */

static void a_follower_told_to_wait_asks_again(void **state)
{
    struct rollout *r = *state;
    r->answers[0] = r->answers[1] = GOSSIP_SWARM_WAIT;
    r->answers[2] = GOSSIP_SWARM_OFFER;
    r->answer_count = 3;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    follower_asks(r, "");
    follower_finishes(r);
    assert_whole(r);
    assert_int_equal(r->want_count, 3);
}

static void with_no_arbiter_it_is_a_miss_or_what_a_holder_gives(void **state)
{
    struct rollout *r = *state;
    r->answers[0] = GOSSIP_SWARM_NONE;
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    site_write(&r->parent, &r->digest, r->blob, BLOB_BYTES);
    assert_int_equal(
        inventory_add_blob(r->parent.inventory, &r->digest, BLOB_BYTES, &r->parent.root), 0);
    r->follower.holder = &r->parent;
    follower_asks(r, "");
    follower_finishes(r);
    assert_whole(r);
    assert_int_equal(r->want_count, 2); /* one holder is few: the arbiter was asked first */
}

static void a_parent_that_has_nothing_in_flight_says_404_and_the_arbiter_is_asked_anew(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    assert_int_equal(r->want_count, 2);
    assert_int_equal(r->wants[1].failed[0].fault, GOSSIP_FAULT_REFUSED);
}

static void only_peers_that_follow_are_fed_and_only_so_many(void **state)
{
    struct rollout *r = *state;
    static struct blocking_client children[LIMIT_COLD_CHILDREN];
    static char bodies[LIMIT_COLD_CHILDREN][4096];
    parent_begins(r, TOTAL);
    site_ask(&r->parent, "GET", r->target, "X-Spegel-Mirrored: true\r\n");
    assert_int_equal(r->parent.client.status, 404);
    site_ask(&r->parent, "HEAD", r->target, FIRST_BYTE);
    assert_int_equal(r->parent.client.status, 404);
    for (size_t i = 0; i < LIMIT_COLD_CHILDREN; i++) {
        children[i] = (struct blocking_client){0};
        client_start(&children[i], server_port(r->parent.server), "GET", r->target, FIRST_BYTE,
                     bodies[i], sizeof bodies[i]);
    }
    run_for(r, 200);
    site_ask(&r->parent, "GET", r->target, FIRST_BYTE);
    assert_int_equal(r->parent.client.status, 503);
    assert_true(site_said(&r->parent, "Retry-After"));
    /* The download ends: those who wait hear it at once. */
    download_abort(&r->download);
    for (size_t i = 0; i < LIMIT_COLD_CHILDREN; i++) {
        client_finish(&children[i], r->loop, 5000);
        assert_int_equal(children[i].status, 404);
    }
}

static void a_child_that_leaves_makes_room(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    for (size_t i = 0; i < 2 * LIMIT_COLD_CHILDREN; i++) {
        follower_asks(r, "");
        r->client.abort_at = 1;
        follower_finishes(r);
        run_for(r, 20);
        assert_int_equal(r->client.status, 200);
    }
    struct buf json;
    buf_init(&json, 4096);
    assert_int_equal(cold_write_json(r->parent.cold, &json), 0);
    assert_non_null(strstr(json.data, "\"children\":0"));
    assert_non_null(strstr(json.data, "\"total\":" TOTAL));
    buf_done(&json);
}

static void requests_from_other_mirrors_never_ask_the_arbiter(void **state)
{
    struct rollout *r = *state;
    site_ask(&r->follower, "GET", r->target, "X-Spegel-Mirrored: true\r\n");
    site_ask(&r->follower, "GET", r->target, "X-Spegel-Node: 999999999999\r\n");
    site_ask(&r->follower, "GET", r->target, "X-Spegel-Mirror: false\r\n");
    site_ask(&r->follower, "HEAD", r->target, "");
    assert_int_equal(r->want_count, 0);
}

/* So many who are slow to read receive what the parent holds. */
static void parent_sends_to(struct rollout *r, const char *fields, struct blocking_client *readers,
                            char *bodies)
{
    site_write(&r->parent, &r->digest, r->blob, BLOB_BYTES);
    assert_int_equal(
        inventory_add_blob(r->parent.inventory, &r->digest, BLOB_BYTES, &r->parent.root), 0);
    for (size_t i = 0; i < LIMIT_PEER_STREAMS; i++) {
        readers[i] = (struct blocking_client){
            .pause_at = 1, .pause_ms = 1500, .receive_buffer = 4096, .abort_at = 1};
        client_start(&readers[i], server_port(r->parent.server), "GET", r->target, fields,
                     bodies + i * 16384, 4096);
        readers[i].abort_at = -1;
    }
    run_for(r, 300);
}

static void a_busy_holder_tells_peers_that_can_ask_elsewhere_and_nobody_else(void **state)
{
    struct rollout *r = *state;
    static struct blocking_client readers[LIMIT_PEER_STREAMS];
    static char bodies[LIMIT_PEER_STREAMS * 16384];
    r->parent.holder = &r->follower; /* what it knows of others */
    parent_sends_to(r, WHAT_IS_HELD, readers, bodies);
    static const struct {
        const char *fields;
        int status;
    } table[] = {
        {WHAT_IS_HELD, 503},
        {FIRST_BYTE, 503},
        {"X-Spegel-Mirrored: true\r\n", 200},
        {"X-Spegel-Mirrored: true\r\nX-Spegel-Follow: held\r\n", 200}, /* no member's */
        {"X-Spegel-Follow: " BADGE_HELD "\r\n", 200}, /* no peer says so without the other */
        {"", 200},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        site_ask(&r->parent, "GET", r->target, table[i].fields);
        assert_int_equal(r->parent.client.status, table[i].status);
        if (table[i].status == 503) {
            assert_true(site_said(&r->parent, "Retry-After: 1"));
            assert_non_null(strstr(r->parent.reply, "\"holders\":[\"127.0.0.1:"));
        }
    }
    for (size_t i = 0; i < LIMIT_PEER_STREAMS; i++) {
        client_finish(&readers[i], r->loop, 20000);
    }
}

static void outsiders_do_not_keep_a_holder_busy_for_members(void **state)
{
    struct rollout *r = *state;
    static struct blocking_client readers[LIMIT_PEER_STREAMS];
    static char bodies[LIMIT_PEER_STREAMS * 16384];
    parent_sends_to(r, "X-Spegel-Mirrored: true\r\nX-Spegel-Follow: held\r\n", readers, bodies);
    site_ask(&r->parent, "GET", r->target, WHAT_IS_HELD);
    assert_int_equal(r->parent.client.status, 200);
    for (size_t i = 0; i < LIMIT_PEER_STREAMS; i++) {
        client_finish(&readers[i], r->loop, 20000);
    }
}

/* Somebody with curl, or another namespace's pull: nothing is downloaded here. */
static void who_downloads_nothing_does_not_ask_the_arbiter(void **state)
{
    struct rollout *r = *state;
    own_is_gone(r);
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    assert_int_equal(r->want_count, 0);
    assert_int_equal(cold_counters(r->follower.cold)->no_ingest, 1);
    assert_int_equal(cold_counters(r->follower.cold)->flights, 0);
}

/* Its download is taken away while it still receives: nothing lies there to feed others from. */
static void who_downloads_no_more_is_no_parent(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    parent_grows(r, 0, DOWNLOADS_MIB);
    run_for(r, 100);
    own_is_gone(r);
    run_for(r, LIMIT_COLD_INGEST_MS + 600);
    assert_int_equal(last_said(r, &r->follower)->state, GOSSIP_FLIGHT_GONE);
    site_ask(&r->follower, "GET", r->target, FIRST_BYTE);
    assert_int_equal(r->follower.client.status, 404);
    parent_grows(r, DOWNLOADS_MIB, BLOB_BYTES);
    follower_finishes(r);
    assert_whole(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            whoever_is_granted_it_is_sent_upstream_and_says_that_it_leads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_follower_receives_what_its_parent_downloads_while_it_grows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_commit_is_told_once_though_the_store_never_has_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_commit_in_the_middle_of_feeding_loses_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_a_known_length_the_follower_waits_for_the_commit,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_range_is_answered_from_what_has_grown_beyond_its_beginning, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_aborted_download_ends_in_fin_and_the_retry_goes_upstream,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_containerd_ends_its_downloads_and_whom_they_fed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_parent_is_kept_while_the_arbiter_says_so, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_follower_told_to_wait_asks_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(with_no_arbiter_it_is_a_miss_or_what_a_holder_gives, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_parent_that_has_nothing_in_flight_says_404_and_the_arbiter_is_asked_anew, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(only_peers_that_follow_are_fed_and_only_so_many, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_child_that_leaves_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(requests_from_other_mirrors_never_ask_the_arbiter, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_busy_holder_tells_peers_that_can_ask_elsewhere_and_nobody_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(outsiders_do_not_keep_a_holder_busy_for_members, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_downloads_nothing_does_not_ask_the_arbiter, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_downloads_no_more_is_no_parent, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
