#include "store/follower.h"

static void a_socket_that_appears_late_is_found_at_once(void **state)
{
    struct node *n = node_of(state);
    node_follow(n, NULL);
    node_run(n, 800);
    assert_false(containerd_is_listed(n->store));
    assert_non_null(strstr(containerd_problem(n->store), "No such file"));
    node_start(n);
    assert_true(node_wait(n, node_is_live, NULL, 1500));
    assert_int_equal(n->listed, 1);
    assert_int_equal(n->downs, 0);
}

static void after_a_restart_everything_that_changed_meanwhile_is_seen(void **state)
{
    struct node *n = live_node(state);
    struct image kept, moved_old, moved_new, removed, new;
    node_image(n, "registry.test/kept:v1", 1, &kept);
    node_image(n, APP, 2, &moved_old);
    node_image(n, APP, 3, &moved_new);
    node_image(n, "registry.test/removed:v1", 4, &removed);
    node_image(n, "registry.test/new:v1", 5, &new);
    import(n, &kept);
    import(n, &moved_old);
    import(n, &removed);
    assert_soon(n, node_holds_image, &removed);
    assert_soon(n, node_announces, "registry.test/removed:v1");

    node_end(n, SIGKILL);
    assert_soon(n, node_is_down, NULL);
    assert_true(node_holds_image(n, &kept));
    assert_true(node_announces(n, "registry.test/kept:v1"));
    assert_int_equal(n->downs, 1);

    node_start_unseen(n);
    import(n, &moved_new);
    import(n, &new);
    node_ctr(n, "k8s.io images rm --sync registry.test/removed:v1");
    node_end(n, SIGTERM);
    /* Collected files are seen without containerd; new ones wait for it. */
    assert_soon(n, node_lacks_image, &removed);
    assert_true(node_lacks_image(n, &new));

    node_start(n);
    assert_true(node_wait(n, node_is_live, NULL, 1500));
    assert_true(node_holds_image(n, &kept));
    assert_true(node_holds_image(n, &new));
    assert_true(node_announces(n, "registry.test/new:v1"));
    assert_false(node_announces(n, "registry.test/removed:v1"));
    assert_true(node_app_is(n, &moved_new.manifest));
    assert_int_equal(n->listed, 1);
    assert_int_equal(n->ups, 2);

    struct image later;
    node_image(n, "registry.test/later:v1", 6, &later);
    import(n, &later);
    assert_soon(n, node_holds_image, &later);
}

static void restarts_in_a_row_are_survived_while_images_come(void **state)
{
    struct node *n = live_node(state);
    struct image images[4];
    for (unsigned i = 0; i < 4; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "registry.test/restart:%u", i);
        node_image(n, name, i + 1, &images[i]);
        import(n, &images[i]);
        node_end(n, i & 1 ? SIGTERM : SIGKILL);
        node_start(n); /* the loop has not turned: lost and found connection in one */
        assert_soon(n, node_holds_image, &images[i]);
        assert_soon(n, node_announces, name);
    }
    assert_soon(n, node_is_live, NULL);
}

static void a_file_unlinked_behind_its_back_is_withdrawn(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    char path[256];
    node_image(n, APP, 1, &image);
    import(n, &image);
    assert_soon(n, node_holds_image, &image);
    node_blob_path(n, &image.layer, path);
    assert_int_equal(unlink(path), 0);
    assert_true(node_wait(n, node_lacks, &image.layer, 1000));
    assert_true(node_app_is(n, &image.manifest)); /* the tag's target is there */

    node_blob_path(n, &image.manifest, path);
    assert_int_equal(unlink(path), 0);
    assert_true(node_wait(n, node_withdrew, APP, 1000));
}

static void a_file_truncated_behind_its_back_is_withdrawn(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    char path[256];
    node_image(n, APP, 1, &image);
    import(n, &image);
    assert_soon(n, node_holds_image, &image);
    node_blob_path(n, &image.layer, path);
    node_shell(n, "chmod u+w %s && truncate -s 100 %s", path, path);
    assert_soon(n, node_lacks, &image.layer);
    assert_true(containerd_counters(n->store).wrong_sizes > 0);
}

static void a_manifest_overwritten_behind_its_back_is_withdrawn(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    char path[256];
    node_image(n, APP, 1, &image);
    import(n, &image);
    assert_soon(n, node_app_is, &image.manifest);
    node_blob_path(n, &image.manifest, path);
    node_shell(n, "dd if=/dev/zero of=%s bs=$(stat -c %%s %s) count=1 conv=notrunc", path, path);
    assert_soon(n, node_lacks, &image.manifest);
    assert_soon(n, node_withdrew, APP);
    assert_int_equal(containerd_counters(n->store).corrupt_manifests, 1);
}

static void a_directory_that_vanishes_and_returns_takes_everything_and_brings_it_back(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    node_image(n, APP, 1, &image);
    import(n, &image);
    assert_soon(n, node_holds_image, &image);
    node_shell(n, "mv %s/blobs %s/away", CONTENT_ROOT, CONTENT_ROOT);
    assert_soon(n, node_lacks_image, &image);
    assert_soon(n, node_withdrew, APP);
    node_shell(n, "mv %s/away %s/blobs", CONTENT_ROOT, CONTENT_ROOT);
    assert_soon(n, node_holds_image, &image);
    assert_soon(n, node_announces, APP);

    node_end(n, SIGTERM);
    assert_soon(n, node_is_down, NULL);
    node_shell(n, "mv %s/blobs %s/away", CONTENT_ROOT, CONTENT_ROOT);
    assert_soon(n, node_lacks_image, &image); /* and without containerd */
}

static void a_wrong_content_path_means_nothing_is_held_until_it_is_right(void **state)
{
    struct node *n = node_of(state);
    struct image image;
    char path[160];
    node_start(n);
    node_image(n, APP, 1, &image);
    import(n, &image);
    (void)snprintf(path, sizeof(path), "%s/elsewhere/content", n->directory);
    node_follow(n, path);
    assert_soon(n, node_is_live, NULL);
    assert_int_equal(inventory_blob_count(n->inventory), 0);
    assert_int_equal(n->announced.count, 0);
    assert_string_equal(containerd_content_root(n->store), path);
    node_shell(n, "mkdir elsewhere && ln -s ../%s elsewhere/content", CONTENT_ROOT);
    assert_soon(n, node_holds_image, &image);
}

static void a_frozen_containerd_takes_nothing_away_but_lost_files_and_is_heard_again(void **state)
{
    struct node *n = live_node(state);
    struct image image;
    char path[256];
    node_image(n, APP, 1, &image);
    import(n, &image);
    assert_soon(n, node_holds_image, &image);
    assert_int_equal(kill(n->pid, SIGSTOP), 0);
    node_blob_path(n, &image.layer, path);
    assert_int_equal(unlink(path), 0);
    assert_soon(n, node_lacks, &image.layer);
    assert_true(node_app_is(n, &image.manifest));
    assert_int_equal(kill(n->pid, SIGCONT), 0);
    node_image(n, "registry.test/after:v1", 2, &image);
    import(n, &image);
    assert_soon(n, node_holds_image, &image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_socket_that_appears_late_is_found_at_once),
        TEST(after_a_restart_everything_that_changed_meanwhile_is_seen),
        TEST(restarts_in_a_row_are_survived_while_images_come),
        TEST(a_file_unlinked_behind_its_back_is_withdrawn),
        TEST(a_file_truncated_behind_its_back_is_withdrawn),
        TEST(a_manifest_overwritten_behind_its_back_is_withdrawn),
        TEST(a_directory_that_vanishes_and_returns_takes_everything_and_brings_it_back),
        TEST(a_wrong_content_path_means_nothing_is_held_until_it_is_right),
        TEST(a_frozen_containerd_takes_nothing_away_but_lost_files_and_is_heard_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
