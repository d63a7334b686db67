#include "store/follower.h"

static void what_was_there_before_is_held_and_announced_once_listed(void **state)
{
    struct node *n = node_of(state);
    struct image image;
    node_start(n);
    node_image(n, APP, 1, &image);
    import(n, &image);
    node_follow(n, "");
    assert_int_equal(n->listed, 0);
    assert_soon(n, node_is_live, NULL);
    assert_true(node_holds_image(n, &image));
    assert_true(node_app_is(n, &image.manifest));
    assert_true(node_announces(n, APP));
    assert_true(inventory_blob(n->inventory, &image.manifest)->is_manifest);
    assert_int_equal(n->listed, 1);
    assert_int_equal(n->ups, 1);
    assert_string_equal(containerd_problem(n->store), "");
    assert_non_null(strstr(containerd_content_root(n->store), n->directory));
    assert_true(containerd_version(n->store)[0] != 0);
    int fd = inventory_open(n->inventory, &image.layer);
    assert_true(fd >= 0);
    (void)close(fd);
    /* The second listing, which nothing depends on, changes nothing. */
    node_run(n, 1300);
    assert_true(containerd_counters(n->store).rescans >= 2);
    assert_true(node_holds_image(n, &image));
    assert_int_equal(n->announced.count, 4); /* the archive's own index.json was collected */
}

static void an_import_is_held_and_announced_at_once(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    node_image(n, APP, 1, &image);
    import(n, &image);
    assert_true(node_wait(n, node_holds_image, &image, 1000));
    assert_true(node_wait(n, node_announces, APP, 1000));
    assert_true(node_app_is(n, &image.manifest));
    assert_true(containerd_counters(n->store).events > 0);
}

static void a_tag_that_moves_is_answered_with_its_new_target(void **state)
{
    struct node *n = live_node(state);
    struct image old, new;
    node_image(n, APP, 1, &old);
    node_image(n, APP, 2, &new);
    import(n, &old);
    assert_soon(n, node_app_is, &old.manifest);
    import(n, &new);
    assert_soon(n, node_app_is, &new.manifest);
    assert_soon(n, node_holds_image, &new);
    import(n, &old);
    assert_soon(n, node_app_is, &old.manifest);
}

static void a_removed_image_and_what_is_collected_with_it_are_withdrawn(void **state)
{
    struct node *n = live_node(state);
    struct image kept, removed;
    node_image(n, "registry.test/kept:v1", 1, &kept);
    node_image(n, APP, 2, &removed);
    import(n, &kept);
    import(n, &removed);
    assert_soon(n, node_holds_image, &removed);
    assert_soon(n, node_announces, APP);
    node_ctr(n, "k8s.io images rm --sync %s", APP);
    assert_soon(n, node_lacks_image, &removed);
    assert_soon(n, node_withdrew, APP);
    assert_null(inventory_tag(n->inventory, "registry.test", "app", "v1", NULL));
    assert_true(node_holds_image(n, &kept));
    import(n, &removed);
    assert_soon(n, node_holds_image, &removed);
    assert_soon(n, node_app_is, &removed.manifest);
}

static void hundreds_of_names_that_come_and_go_end_as_containerd_has_them(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    node_image(n, APP, 1, &image);
    import(n, &image);
    node_shell(n,
               "for round in 1 2 3; do"
               " ctr -a %s -n k8s.io images tag --force %s"
               " $(for i in $(seq 150); do echo registry.test/many:$i; done) &&"
               " ctr -a %s -n k8s.io images rm"
               " $(for i in $(seq $((round * 10)) 150); do echo registry.test/many:$i; done);"
               " done",
               n->socket, APP, n->socket);
    assert_soon(n, node_announces, "registry.test/many:29");
    node_run(n, 500);
    for (int i = 1; i <= 150; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "registry.test/many:%d", i);
        assert_int_equal(node_announces(n, name), i < 30);
    }
    assert_int_equal(containerd_counters(n->store).failed_calls, 0);
}

static void contents_of_another_namespace_are_ours_only_once_it_shares_them(void **state)
{
    struct node *n = live_node(state);
    struct image ours, image;
    node_image(n, "registry.test/ours:v1", 1, &ours);
    import(n, &ours);
    assert_soon(n, node_holds_image, &ours);
    node_image(n, APP, 2, &image);
    node_ctr(n, "other images import --no-unpack %s", image.archive);
    node_run(n, 1500);
    assert_true(node_lacks_image(n, &image));
    assert_true(containerd_counters(n->store).info_misses >= 3);
    /* No file is written for this, so no file tells of it. */
    import(n, &image);
    assert_soon(n, node_holds_image, &image);
    assert_soon(n, node_announces, APP);
}

static void
contents_deleted_by_hand_are_withdrawn_though_another_namespace_keeps_the_file(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    char text[DIGEST_TEXT_BYTES], path[256];
    node_image(n, APP, 1, &image);
    import(n, &image);
    node_ctr(n, "other images import --no-unpack %s", image.archive);
    assert_soon(n, node_holds_image, &image);
    digest_format(&image.layer, text);
    node_ctr(n, "k8s.io content rm %s", text);
    assert_soon(n, node_lacks, &image.layer);
    node_blob_path(n, &image.layer, path);
    assert_int_equal(access(path, R_OK), 0);
    assert_true(node_holds(n, &image.manifest));
}

static void names_made_while_it_connects_are_all_seen(void **state)
{
    struct node *n = node_of(state);
    struct image image;
    node_start(n);
    node_image(n, APP, 1, &image);
    import(n, &image);
    node_shell(n,
               "for i in $(seq 40); do ctr -a %s -n k8s.io images tag %s registry.test/n:$i;"
               " done >/dev/null 2>&1 &",
               n->socket, APP);
    for (int round = 0; round < 6; round++) { /* connections begin at all points of it */
        node_follow(n, NULL);
        assert_soon(n, node_is_live, NULL);
        if (round < 5) {
            node_run(n, 100);
            node_renew(n);
        }
    }
    assert_soon(n, node_announces, "registry.test/n:40");
    for (int i = 1; i <= 40; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "registry.test/n:%d", i);
        assert_true(node_announces(n, name));
    }
}

static void names_that_are_no_references_are_counted_once_and_ids_not_at_all(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    char id[DIGEST_TEXT_BYTES];
    node_image(n, APP, 1, &image);
    digest_format(&image.config, id);
    import(n, &image);
    /* ctr 2.x looks at names itself unless told not to. */
    node_shell(n,
               "ctr -a %s -n k8s.io images tag"
               " $(ctr images tag --help | grep -o -m1 -e --skip-reference-check)"
               " %s %s 'what is this' no/registry:v1 registry.test/UPPER:v1",
               n->socket, APP, id);
    node_ctr(n, "k8s.io images tag %s registry.test/good:v1", APP);
    assert_soon(n, node_announces, "registry.test/good:v1");
    node_run(n, 1300); /* another listing */
    assert_int_equal(containerd_counters(n->store).malformed_names, 3);
    node_ctr(n, "k8s.io images rm 'what is this' %s", id);
    node_run(n, 200);
    assert_true(node_holds_image(n, &image));
}

static bool has_rescanned(struct node *n, const void *count)
{
    return containerd_counters(n->store).rescans >= *(const uint64_t *)count;
}

static void it_may_be_freed_at_any_moment(void **state)
{
    struct node *n = node_of(state);
    struct image image;
    node_start(n);
    node_image(n, APP, 1, &image);
    import(n, &image);
    for (unsigned ms = 0; ms < 24; ms += 2) {
        node_follow(n, NULL);
        if (ms > 0) {
            node_run(n, ms);
        }
        node_renew(n);
        node_run(n, 1); /* what is left on the pool ends by itself */
    }
    uint64_t twice = 2;
    node_follow(n, NULL);
    assert_soon(n, has_rescanned, &twice);
    assert_true(node_holds_image(n, &image));
}

static void configurations_that_cannot_work_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *socket, *namespace, *content_path;
    } table[] = {
        {"relative.sock", "k8s.io", NULL},
        {"/run/c.sock", "", NULL},
        {"/run/c.sock", "with\"quote", NULL},
        {"/run/c.sock", ".dot", NULL},
        {"/run/c.sock", "k8s.io", "relative"},
        {"/a-name-much-longer-than-the-108-bytes-that-an-address-of-a-unix-socket-takes/"
         "a-name-much-longer-than-the-108-bytes",
         "k8s.io", NULL},
    };
    struct loop *loop;
    assert_int_equal(loop_new(&loop), 0);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct error err = {0};
        struct containerd *store = NULL;
        const struct containerd_config config = {.socket = table[i].socket,
                                                 .namespace = table[i].namespace,
                                                 .content_path = table[i].content_path};
        assert_int_equal(containerd_new(loop, NULL, &config, &store, &err), -EINVAL);
        assert_null(store);
        assert_int_equal(err.code, -EINVAL);
        assert_true(strlen(err.text) > 10);
    }
    loop_free(loop);
}

static void running_out_of_memory_at_the_start_leaves_nothing_behind(void **state)
{
    (void)state;
    struct loop *loop;
    struct error err;
    const struct containerd_config config = {.socket = "/nowhere/c.sock", .namespace = "k8s.io"};
    assert_int_equal(loop_new(&loop), 0);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct containerd *store = NULL;
        int r = containerd_new(loop, NULL, &config, &store, &err);
        assert_true(r == 0 || r == -ENOMEM);
        containerd_free(store);
    });
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        cmocka_unit_test(configurations_that_cannot_work_are_refused_with_a_sentence),
        cmocka_unit_test(running_out_of_memory_at_the_start_leaves_nothing_behind),
        TEST(what_was_there_before_is_held_and_announced_once_listed),
        TEST(an_import_is_held_and_announced_at_once),
        TEST(a_tag_that_moves_is_answered_with_its_new_target),
        TEST(a_removed_image_and_what_is_collected_with_it_are_withdrawn),
        TEST(hundreds_of_names_that_come_and_go_end_as_containerd_has_them),
        TEST(contents_of_another_namespace_are_ours_only_once_it_shares_them),
        TEST(contents_deleted_by_hand_are_withdrawn_though_another_namespace_keeps_the_file),
        TEST(names_made_while_it_connects_are_all_seen),
        TEST(names_that_are_no_references_are_counted_once_and_ids_not_at_all),
        TEST(it_may_be_freed_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
