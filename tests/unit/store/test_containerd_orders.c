#include "base/limits.h"
#include "store/scripted_containerd.h"

static int setup(void **state)
{
    struct script *s = malloc(sizeof(*s));
    assert_non_null(s);
    script_init(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    script_done(*state);
    free(*state);
    return 0;
}

/* --- image records --- */

static void it_subscribes_before_it_lists(void **state)
{
    struct script *s = *state;
    s->subscription = script_call(s, GRPC_EVENTS_SUBSCRIBE);
    int32_t version = script_call(s, GRPC_VERSION);
    assert_true(s->subscription < version);
    assert_false(script_is_called(s, GRPC_IMAGES_LIST));
    assert_false(script_is_called(s, GRPC_CONTENT_LIST));
    assert_false(script_is_called(s, GRPC_INTROSPECTION_PLUGINS)); /* the path was given */
}

static void a_name_that_changes_during_the_listing_is_fetched_after_it(void **state)
{
    struct script *s = *state;
    struct digest both[2] = {script_commit(s, "old"), script_commit(s, "new")};
    const struct digest *old = &both[0], *new = &both[1];
    script_begin(s);
    int32_t list = script_call(s, GRPC_IMAGES_LIST);
    script_answer_contents(s, script_call(s, GRPC_CONTENT_LIST), both, 2, 3);
    script_image_event(s, "/images/update", APP);
    assert_false(script_is_called(s, GRPC_IMAGES_GET));
    script_answer_images(s, list, APP, old); /* a snapshot from before the event */
    int32_t get = script_call(s, GRPC_IMAGES_GET);
    assert_false(script_app_is(s, old));
    script_answer_image(s, get, new);
    script_run(s, 50);
    assert_true(script_app_is(s, new));
    assert_int_equal(s->added, 3); /* the tag and both blobs, each once */
    assert_int_equal(s->removed, 0);
}

static void a_name_deleted_while_it_is_fetched_is_fetched_again(void **state)
{
    struct script *s = *state;
    struct digest d = script_commit(s, "one");
    script_begin_empty(s);
    script_image_event(s, "/images/create", APP);
    int32_t get = script_call(s, GRPC_IMAGES_GET);
    script_image_event(s, "/images/delete", APP);
    script_image_event(s, "/images/delete", APP);
    script_run(s, 20);
    script_answer_image(s, get, &d);
    get = script_call(s, GRPC_IMAGES_GET);
    script_fail(s, get, "5");
    assert_false(script_is_called(s, GRPC_IMAGES_GET)); /* two events, one more call */
    assert_false(script_app_is(s, &d));
}

static void a_name_deleted_and_made_again_is_as_the_last_answer_says(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    struct digest d = script_commit(s, "one");
    script_answer_info(s, script_call(s, GRPC_CONTENT_INFO), 3);
    script_image_event(s, "/images/delete", APP);
    script_image_event(s, "/images/create", APP);
    int32_t get = script_call(s, GRPC_IMAGES_GET);
    script_answer_image(s, get, &d); /* the delete's look-up sees the new one already */
    if ((get = script_call_within(s, GRPC_IMAGES_GET, 60))) {
        script_answer_image(s, get, &d);
    }
    script_run(s, 50);
    assert_true(script_app_is(s, &d));
    assert_int_equal(s->removed, 0);
}

static void a_flood_of_names_is_fetched_a_few_at_a_time_and_then_listed_instead(void **state)
{
    struct script *s = *state;
    struct digest d = script_commit(s, "one");
    char name[64];
    script_begin_empty(s);
    for (int i = 0; i < LIMIT_IMAGE_FETCHES + 10; i++) {
        (void)snprintf(name, sizeof(name), "registry.test/flood:%d", i);
        script_image_event(s, "/images/create", name);
        if (i % 100 == 0) {
            script_run(s, 1);
        }
    }
    int32_t gets[LIMIT_IMAGE_FETCHES_OPEN];
    for (int i = 0; i < LIMIT_IMAGE_FETCHES_OPEN; i++) {
        gets[i] = script_call(s, GRPC_IMAGES_GET);
    }
    assert_false(script_is_called(s, GRPC_IMAGES_GET));
    assert_false(script_is_called(s, GRPC_IMAGES_LIST)); /* not while these are open */
    for (int i = 0; i < LIMIT_IMAGE_FETCHES_OPEN; i++) {
        script_answer_image(s, gets[i], &d);
    }
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), name, &d);
    assert_true(script_call(s, GRPC_IMAGES_GET) > 0); /* and the rest of them after it */
}

static void events_of_other_namespaces_and_garbage_change_nothing(void **state)
{
    struct script *s = *state;
    Events__Image image = EVENTS__IMAGE__INIT;
    Events__Content content = EVENTS__CONTENT__INIT;
    char name[] = APP, sha512[] =
                           "sha512:"
                           "00000000000000000000000000000000000000000000000000000000000000000"
                           "0000000000000000000000000000000000000000000000000000000000000000";
    sha512[7 + 128] = 0;
    image.name = name;
    script_begin_empty(s);
    script_event(s, "other", "/images/create", &image.base);
    script_event(s, "k8s.io", "/tasks/start", &image.base);
    script_run(s, 20);
    assert_int_equal(containerd_counters(s->store).events, 0);
    script_event_bytes(s, "\xff\xff\xff", 3);
    script_run(s, 20);
    image.name = name + strlen(name);
    script_event(s, "k8s.io", "/images/create", &image.base); /* no name */
    script_run(s, 20);
    content.digest = name; /* no digest */
    script_event(s, "k8s.io", "/content/create", &content.base);
    script_run(s, 20);
    content.digest = sha512; /* a digest, of no use here */
    script_event(s, "k8s.io", "/content/create", &content.base);
    script_run(s, 20);
    assert_int_equal(containerd_counters(s->store).malformed_events, 3);
    assert_false(script_is_called(s, GRPC_IMAGES_GET));
    assert_false(script_is_called(s, GRPC_CONTENT_INFO));
    assert_int_equal(s->downs, 0);
}

/* --- contents --- */

static void a_file_that_content_does_not_know_yet_is_asked_for_again(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    struct digest d = script_commit(s, "new");
    script_fail(s, script_call(s, GRPC_CONTENT_INFO), "5");
    script_fail(s, script_call(s, GRPC_CONTENT_INFO), "5");
    assert_false(script_holds(s, &d));
    script_answer_info(s, script_call(s, GRPC_CONTENT_INFO), 3);
    assert_true(script_comes_to_hold(s, &d));
    assert_int_equal(containerd_counters(s->store).info_misses, 0);
}

static void a_file_removed_while_it_is_asked_for_is_not_held(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    struct digest d = script_commit(s, "new");
    int32_t info = script_call(s, GRPC_CONTENT_INFO);
    assert_int_equal(unlink(script_path(s, &d)), 0);
    script_answer_info(s, info, 3); /* before the loop has seen the removal */
    script_run(s, 50);
    assert_false(script_holds(s, &d));
    assert_int_equal(s->added, 0);
}

static void a_file_of_another_size_is_not_held(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    struct digest d = script_commit(s, "new");
    script_answer_info(s, script_call(s, GRPC_CONTENT_INFO), 4);
    script_run(s, 50);
    assert_false(script_holds(s, &d));
    assert_int_equal(containerd_counters(s->store).wrong_sizes, 1);
}

static void a_file_removed_during_the_listing_is_not_brought_back_by_it(void **state)
{
    struct script *s = *state;
    struct digest d = script_commit(s, "one");
    script_begin(s);
    int32_t list = script_call(s, GRPC_CONTENT_LIST);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), NULL, NULL);
    assert_int_equal(unlink(script_path(s, &d)), 0);
    script_run(s, 20);
    script_answer_contents(s, list, &d, 1, 3);
    assert_true(socket_server_wait(s->loop, &s->ups, 1, SCRIPT_WAIT_MS) < SCRIPT_WAIT_MS);
    script_run(s, 50);
    assert_false(script_holds(s, &d));
    assert_int_equal(s->added, 0);
}

static void a_file_that_comes_during_the_listing_is_asked_for_after_it(void **state)
{
    struct script *s = *state;
    script_begin(s);
    int32_t list = script_call(s, GRPC_CONTENT_LIST);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), NULL, NULL);
    struct digest d = script_commit(s, "new");
    assert_false(script_is_called(s, GRPC_CONTENT_INFO));
    script_answer_contents(s, list, NULL, 0, 0);
    script_answer_info(s, script_call(s, GRPC_CONTENT_INFO), 3);
    assert_true(script_comes_to_hold(s, &d));
    assert_int_equal(s->removed, 0);
}

/* The first content of a new containerd: its directory is made, and the file is in it before it can
 * be watched, and before containerd says that it has it. */
static void what_comes_with_its_directory_is_asked_for_until_it_is_known(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/blobs/sha256", s->server.directory);
    assert_int_equal(rmdir(path), 0);
    script_answer_contents(s, script_call(s, GRPC_CONTENT_LIST), NULL, 0, 0);
    script_run(s, 20);
    assert_int_equal(mkdir(path, 0755), 0);
    struct digest d = script_commit(s, "new");
    uint64_t from_ms = loop_now_ms(s->loop);
    script_answer_contents(s, script_call(s, GRPC_CONTENT_LIST), NULL, 0, 0);
    script_fail(s, script_call(s, GRPC_CONTENT_INFO), "5");
    script_answer_info(s, script_call(s, GRPC_CONTENT_INFO), 3);
    assert_true(script_comes_to_hold(s, &d));
    assert_true(loop_now_ms(s->loop) - from_ms < LIMIT_STORE_RETRY_MS); /* not by a listing */
}

static void a_file_replaced_during_the_listing_is_asked_for_after_it(void **state)
{
    struct script *s = *state;
    struct digest d = script_commit(s, "one");
    script_begin(s);
    int32_t list = script_call(s, GRPC_CONTENT_LIST);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), NULL, NULL);
    assert_int_equal(unlink(script_path(s, &d)), 0);
    (void)script_commit(s, "one"); /* downloaded again, not yet committed */
    script_run(s, 20);
    script_answer_contents(s, list, &d, 1, 3); /* what was there before */
    int32_t info = script_call(s, GRPC_CONTENT_INFO);
    assert_false(script_holds(s, &d));
    script_answer_info(s, info, 3);
    assert_true(script_comes_to_hold(s, &d));
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void a_file_removed_at_any_turn_of_a_listing_ends_as_not_held(void **state)
{
    (void)state;
    for (int turns = 1; turns < 12; turns++) {
        struct script s;
        script_init(&s);
        struct digest d = script_commit(&s, "one");
        script_begin(&s);
        script_answer_images(&s, script_call(&s, GRPC_IMAGES_LIST), NULL, NULL);
        script_answer_contents(&s, script_call(&s, GRPC_CONTENT_LIST), &d, 1, 3);
        for (int i = 0; i < turns; i++) {
            struct defer end;
            defer_init(&end, stop, s.loop);
            defer_start(s.loop, &end);
            loop_run(s.loop);
            defer_stop(&end);
        }
        (void)usleep(2000); /* a scan that has begun has seen the file */
        assert_int_equal(unlink(script_path(&s, &d)), 0);
        script_run(&s, 40);
        assert_int_equal(s.ups, 1);
        assert_false(script_holds(&s, &d));
        assert_int_equal(s.added, s.removed);
        script_done(&s);
    }
}

static void an_answer_from_before_a_listing_is_asked_for_anew_after_it(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    struct digest d = script_commit(s, "new");
    int32_t info = script_call(s, GRPC_CONTENT_INFO);
    int32_t list = script_call(s, GRPC_CONTENT_LIST); /* the second one, after a second */
    script_answer_info(s, info, 3);
    script_run(s, 50);
    script_answer_contents(s, list, NULL, 0, 0); /* older still */
    info = script_call(s, GRPC_CONTENT_INFO);
    script_answer_info(s, info, 3);
    assert_true(script_comes_to_hold(s, &d));
    assert_int_equal(s->added, 1);
    assert_int_equal(s->removed, 0);
}

static void malformed_contents_are_left_out_and_counted(void **state)
{
    struct script *s = *state;
    struct digest d = script_commit(s, "one");
    Content__ListResponse list = CONTENT__LIST_RESPONSE__INIT;
    Content__Info infos[4], *pointers[4];
    char texts[4][DIGEST_TEXT_BYTES] = {"sha256:short", "", "", ""};
    for (int i = 0; i < 4; i++) {
        content__info__init(&infos[i]);
        infos[i].digest = texts[i];
        infos[i].size = 3;
        pointers[i] = &infos[i];
    }
    digest_format(&d, texts[2]);
    digest_format(&d, texts[3]);
    texts[3][8] ^= 1;
    infos[3].size = -1;
    list.n_info = 4;
    list.info = pointers;
    script_begin(s);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), NULL, NULL);
    script_answer(s, script_call(s, GRPC_CONTENT_LIST), &list.base);
    assert_true(script_comes_to_hold(s, &d));
    assert_int_equal(containerd_counters(s->store).malformed_contents, 3);
    assert_int_equal(inventory_blob_count(s->inventory), 1);
}

/* --- the connection --- */

static void a_listing_that_makes_no_sense_leads_to_a_new_connection(void **state)
{
    struct script *s = *state;
    script_begin(s);
    script_answer_bytes(s, script_call(s, GRPC_IMAGES_LIST), "\xff\xff", 2);
    assert_true(socket_server_wait(s->loop, &s->server.accepted, 2, SCRIPT_WAIT_MS) <
                SCRIPT_WAIT_MS);
    assert_int_equal(s->ups, 0);
    assert_int_equal(containerd_counters(s->store).failed_calls, 1);
    script_forget_connection(s);
    script_begin_empty(s);
}

static void
the_end_of_the_subscription_means_listing_everything_again_and_nothing_twice(void **state)
{
    struct script *s = *state;
    struct digest d = script_commit(s, "one");
    script_begin(s);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), APP, &d);
    script_answer_contents(s, script_call(s, GRPC_CONTENT_LIST), &d, 1, 3);
    assert_true(script_comes_to_hold(s, &d));
    assert_int_equal(s->added, 2);
    assert_int_equal(nghttp2_submit_rst_stream(s->peer->h2, 0, s->subscription, 2), 0);
    script_send(s);
    assert_true(socket_server_wait(s->loop, &s->downs, 1, SCRIPT_WAIT_MS) < SCRIPT_WAIT_MS);
    assert_true(script_app_is(s, &d));
    script_forget_connection(s);
    script_begin(s);
    script_answer_images(s, script_call(s, GRPC_IMAGES_LIST), APP, &d);
    script_answer_contents(s, script_call(s, GRPC_CONTENT_LIST), &d, 1, 3);
    assert_true(socket_server_wait(s->loop, &s->ups, 2, SCRIPT_WAIT_MS) < SCRIPT_WAIT_MS);
    assert_int_equal(s->added, 2);
    assert_int_equal(s->removed, 0);
}

static void a_failed_look_up_on_a_good_connection_means_listing_again(void **state)
{
    struct script *s = *state;
    script_begin_empty(s);
    script_image_event(s, "/images/create", APP);
    script_fail(s, script_call(s, GRPC_IMAGES_GET), "13");
    assert_true(script_call(s, GRPC_IMAGES_LIST) > 0);
    assert_int_equal(s->downs, 0);
    assert_int_equal(containerd_counters(s->store).failed_calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(it_subscribes_before_it_lists),
        TEST(a_name_that_changes_during_the_listing_is_fetched_after_it),
        TEST(a_name_deleted_while_it_is_fetched_is_fetched_again),
        TEST(a_name_deleted_and_made_again_is_as_the_last_answer_says),
        TEST(a_flood_of_names_is_fetched_a_few_at_a_time_and_then_listed_instead),
        TEST(events_of_other_namespaces_and_garbage_change_nothing),
        TEST(a_file_that_content_does_not_know_yet_is_asked_for_again),
        TEST(a_file_removed_while_it_is_asked_for_is_not_held),
        TEST(a_file_of_another_size_is_not_held),
        TEST(a_file_removed_during_the_listing_is_not_brought_back_by_it),
        TEST(a_file_that_comes_during_the_listing_is_asked_for_after_it),
        TEST(what_comes_with_its_directory_is_asked_for_until_it_is_known),
        TEST(a_file_replaced_during_the_listing_is_asked_for_after_it),
        cmocka_unit_test(a_file_removed_at_any_turn_of_a_listing_ends_as_not_held),
        TEST(an_answer_from_before_a_listing_is_asked_for_anew_after_it),
        TEST(malformed_contents_are_left_out_and_counted),
        TEST(a_listing_that_makes_no_sense_leads_to_a_new_connection),
        TEST(the_end_of_the_subscription_means_listing_everything_again_and_nothing_twice),
        TEST(a_failed_look_up_on_a_good_connection_means_listing_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
