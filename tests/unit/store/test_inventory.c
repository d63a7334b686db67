#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/world.h"

/* --- what is held --- */

static void a_blob_is_held_from_report_to_removal(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    assert_null(find(w, 1));
    blob(w, 1);
    blob(w, 1);
    const struct inventory_blob *b = find(w, 1);
    assert_non_null(b);
    assert_int_equal(b->size_bytes, 101);
    assert_ptr_equal(b->root, &root_a);
    assert_false(b->reached || b->filtered || b->is_manifest);
    assert_string_equal(b->content_type, "application/octet-stream");
    assert_int_equal(inventory_blob_count(w->inv), 1);
    assert_true(w->announced[1]);
    gone(w, 1);
    gone(w, 1);
    gone(w, 2);
    assert_null(find(w, 1));
    assert_int_equal(inventory_blob_count(w->inv), 0);
    assert_int_equal(w->changes, 2);
    world_free(w);
}

static void a_second_copy_takes_over(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct digest d = digest_n(1);
    assert_int_equal(inventory_add_blob(w->inv, &d, 7, &root_a), 0);
    assert_int_equal(inventory_add_blob(w->inv, &d, 7, &root_b), 0);
    const struct blob_root *first = find(w, 1)->root;
    inventory_remove_copy(w->inv, &d, first);
    assert_non_null(find(w, 1));
    assert_ptr_not_equal(find(w, 1)->root, first);
    assert_int_equal(w->changes, 1); /* nobody has to hear of it */
    inventory_remove_copy(w->inv, &d, first);
    assert_non_null(find(w, 1));
    gone(w, 1);
    assert_null(find(w, 1));
    world_free(w);
}

static void a_condemned_copy_stays_out_until_its_file_is_another(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct digest d = digest_n(1);
    blob(w, 1);
    inventory_condemn(w->inv, &d);
    assert_null(find(w, 1));
    assert_false(w->announced[1]);
    blob(w, 1); /* a listing finds the same file again */
    assert_null(find(w, 1));
    assert_int_equal(inventory_add_blob(w->inv, &d, 7, &root_b), 0);
    assert_ptr_equal(find(w, 1)->root, &root_b);
    inventory_condemn(w->inv, &d);
    assert_null(find(w, 1));
    inventory_remove_copy(w->inv, &d, &root_a);
    blob(w, 1);
    assert_ptr_equal(find(w, 1)->root, &root_a);
    assert_int_equal(inventory_add_blob(w->inv, &d, 8, &root_b), 0);
    inventory_remove_copy(w->inv, &d, &root_a);
    assert_int_equal(find(w, 1)->size_bytes, 8); /* another size: another file */
    inventory_condemn(w->inv, &d);
    inventory_condemn(w->inv, &d);
    world_free(w);
}

/* --- tags --- */

static void a_tag_is_answered_once_its_target_is_held(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    size_t choices = 9;
    image(w, "docker.io/library/a:v1", 1);
    assert_null(inventory_tag(w->inv, "docker.io", "library/a", "v1", &choices));
    assert_int_equal(choices, 0);
    assert_false(tag_is_announced(w, "docker.io/library/a:v1"));
    blob(w, 1);
    assert_ptr_equal(inventory_tag(w->inv, "docker.io", "library/a", "v1", &choices), find(w, 1));
    assert_int_equal(choices, 1);
    assert_true(tag_is_announced(w, "docker.io/library/a:v1"));
    assert_null(inventory_tag(w->inv, "docker.io", "library/a", "v2", NULL));
    assert_null(inventory_tag(w->inv, "ghcr.io", "library/a", "v1", NULL));
    gone(w, 1);
    assert_null(inventory_tag(w->inv, "docker.io", "library/a", "v1", NULL));
    assert_false(tag_is_announced(w, "docker.io/library/a:v1"));
    blob(w, 1);
    inventory_remove_image(w->inv, "docker.io/library/a:v1");
    inventory_remove_image(w->inv, "docker.io/library/a:v1");
    assert_null(inventory_tag(w->inv, "docker.io", "library/a", "v1", NULL));
    assert_false(tag_is_announced(w, "docker.io/library/a:v1"));
    world_free(w);
}

static void a_moved_tag_answers_with_its_new_target(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    blob(w, 1);
    blob(w, 2);
    image(w, "docker.io/a:v", 1);
    size_t before = w->changes;
    image(w, "docker.io/a:v", 2);
    assert_ptr_equal(inventory_tag(w->inv, "docker.io", "a", "v", NULL), find(w, 2));
    assert_int_equal(w->changes, before); /* the same tag is announced as before */
    assert_false(find(w, 1)->reached);
    assert_true(find(w, 2)->reached);
    image(w, "docker.io/a:v", 3); /* moved before the blob is there */
    assert_null(inventory_tag(w->inv, "docker.io", "a", "v", NULL));
    assert_false(tag_is_announced(w, "docker.io/a:v"));
    struct digest d = digest_n(3);
    assert_true(digest_equal(inventory_image(w->inv, "docker.io/a:v"), &d));
    assert_null(inventory_image(w->inv, "docker.io/a:w"));
    world_free(w);
}

static void a_digest_name_reaches_but_is_no_tag(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    char name[256], text[DIGEST_TEXT_BYTES];
    struct digest d = digest_n(1);
    blob(w, 1);
    digest_format(&d, text);
    (void)snprintf(name, sizeof name, "docker.io/a:v@%s", text);
    image(w, name, 1);
    (void)snprintf(name, sizeof name, "docker.io/a@%s", text);
    image(w, name, 1);
    assert_true(find(w, 1)->reached);
    assert_null(inventory_tag(w->inv, "docker.io", "a", "v", NULL));
    assert_true(inventory_has_repository(w->inv, "docker.io", "a"));
    assert_int_equal(w->changes, 1);
    world_free(w);
}

static void names_that_are_no_references_change_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"", "/", "busybox", "/A:v", "/a:v:w", "//a:v", "x/y:z"};
    struct world *w = world_new(NULL, NULL);
    struct digest d = digest_n(1);
    char long_name[5000];
    memset(long_name, 'a', sizeof long_name);
    long_name[0] = '/';
    long_name[sizeof long_name - 1] = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct error err = {0};
        assert_int_equal(inventory_set_image(w->inv, names[i], &d, NULL, true, &err), -EINVAL);
        assert_true(err.text[0]);
    }
    assert_int_equal(inventory_set_image(w->inv, long_name, &d, NULL, true, NULL), -EINVAL);
    blob(w, 1);
    assert_false(find(w, 1)->reached);
    world_free(w);
}

static void a_tag_may_be_answered_and_not_announced(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct digest d = digest_n(1);
    blob(w, 1);
    assert_int_equal(inventory_set_image(w->inv, "ghcr.io/a:v", &d, NULL, false, NULL), 0);
    assert_non_null(inventory_tag(w->inv, "ghcr.io", "a", "v", NULL));
    assert_false(tag_is_announced(w, "ghcr.io/a:v"));
    assert_int_equal(inventory_set_image(w->inv, "ghcr.io/a:v", &d, NULL, true, NULL), 0);
    assert_true(tag_is_announced(w, "ghcr.io/a:v"));
    world_free(w);
}

static void an_image_without_a_registry_answers_for_every_one(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    size_t choices = 0;
    blob(w, 1);
    blob(w, 2);
    image(w, "/images/app:v", 1);
    assert_ptr_equal(inventory_tag(w->inv, NULL, "images/app", "v", &choices), find(w, 1));
    assert_ptr_equal(inventory_tag(w->inv, "docker.io", "images/app", "v", NULL), find(w, 1));
    assert_true(w->announced[1]);
    assert_false(tag_is_announced(w, "/images/app:v"));
    image(w, "docker.io/images/app:v", 2);
    assert_ptr_equal(inventory_tag(w->inv, "docker.io", "images/app", "v", NULL), find(w, 2));
    assert_ptr_equal(inventory_tag(w->inv, "ghcr.io", "images/app", "v", NULL), find(w, 1));
    assert_ptr_equal(inventory_tag(w->inv, "", "images/app", "v", &choices), find(w, 1));
    assert_int_equal(choices, 1);
    assert_true(inventory_has_repository(w->inv, "quay.io", "images/app"));
    world_free(w);
}

static void without_a_registry_the_only_choice_is_taken(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    size_t choices = 0;
    const char *names[4];
    blob(w, 1);
    blob(w, 2);
    image(w, "docker.io/a:v", 1);
    assert_ptr_equal(inventory_tag(w->inv, NULL, "a", "v", &choices), find(w, 1));
    assert_int_equal(choices, 1);
    image(w, "ghcr.io/a:v", 2);
    assert_null(inventory_tag(w->inv, NULL, "a", "v", &choices));
    assert_int_equal(choices, 2);
    assert_int_equal(inventory_registries_of(w->inv, "a", names, 4), 2);
    assert_string_equal(names[0], "docker.io");
    assert_string_equal(names[1], "ghcr.io");
    assert_int_equal(inventory_registries_of(w->inv, "a", names, 1), 1);
    assert_int_equal(inventory_registries_of(w->inv, "b", names, 4), 0);
    gone(w, 2); /* cannot be answered: no choice any more */
    assert_non_null(inventory_tag(w->inv, NULL, "a", "v", &choices));
    world_free(w);
}

/* --- manifests --- */

static void manifests_are_asked_for_when_reached_and_held(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    blob(w, 1);
    blob(w, 2);
    blob(w, 3);
    assert_true(unparsed_is(w, LIST(0)));
    image(w, "docker.io/a:v", 1);
    image(w, "docker.io/b:v", 9);
    assert_true(unparsed_is(w, LIST(1)));
    assert_true(unparsed_is(w, LIST(0))); /* once */
    index_of(w, 1, LIST(2, 4));
    assert_true(find(w, 1)->is_manifest);
    assert_true(unparsed_is(w, LIST(2)));
    manifest(w, 2, LIST(3)); /* a layer: not read */
    assert_true(unparsed_is(w, LIST(0)));
    assert_true(find(w, 3)->reached);
    assert_false(find(w, 3)->is_manifest);
    blob(w, 4);
    blob(w, 9);
    assert_true(unparsed_is(w, LIST(4, 9)));
    gone(w, 4);
    blob(w, 4);
    assert_true(unparsed_is(w, LIST(4)));
    struct digest d = digest_n(4);
    inventory_recheck(w->inv, &d); /* a read that failed for want of memory */
    assert_true(unparsed_is(w, LIST(4)));
    inventory_set_unparsable(w->inv, &d);
    assert_true(unparsed_is(w, LIST(0)));
    assert_non_null(find(w, 4));
    assert_false(find(w, 4)->is_manifest);
    d = digest_n(1);
    inventory_recheck(w->inv, &d); /* its file was written anew */
    assert_true(unparsed_is(w, LIST(1)));
    index_of(w, 1, LIST(2, 4));
    assert_true(unparsed_is(w, LIST(0)));
    world_free(w);
}

static void what_is_too_large_or_empty_is_never_read_as_a_manifest(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    static const int64_t sizes[] = {0, LIMIT_MANIFEST_BYTES + 1, LIMIT_MANIFEST_BYTES};
    for (unsigned i = 0; i < 3; i++) {
        char name[32];
        struct digest d = digest_n(i + 1);
        (void)snprintf(name, sizeof name, "docker.io/a:%u", i);
        image(w, name, i + 1);
        assert_int_equal(inventory_add_blob(w->inv, &d, sizes[i], &root_a), 0);
    }
    assert_true(unparsed_is(w, LIST(3)));
    world_free(w);
}

static void content_types_come_from_manifest_then_descriptor_then_shape(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    struct digest d = digest_n(1);
    for (unsigned n = 1; n < 6; n++) {
        blob(w, n);
    }
    assert_int_equal(inventory_set_image(w->inv, "docker.io/a:v", &d, "by/image", true, NULL), 0);
    assert_string_equal(find(w, 1)->content_type, "by/image");
    struct manifest_child children[2] = {
        {.digest = digest_n(2), .is_manifest = true, .media_type = "by/index"},
        {.digest = digest_n(3), .is_manifest = true},
    };
    struct manifest m = {.is_index = true, .children = children, .child_count = 2};
    assert_int_equal(inventory_set_manifest(w->inv, &d, &m), 0);
    assert_string_equal(find(w, 1)->content_type, "by/image");
    assert_string_equal(find(w, 2)->content_type, "by/index");
    manifest(w, 2, LIST(4));
    manifest(w, 3, LIST(4));
    assert_string_equal(find(w, 2)->content_type, "by/index");
    assert_string_equal(find(w, 3)->content_type, "application/vnd.oci.image.manifest.v1+json");
    assert_string_equal(find(w, 4)->content_type, "application/octet-stream");
    d = digest_n(5);
    m = (struct manifest){.is_index = true, .media_type = "its/own"};
    assert_int_equal(inventory_set_image(w->inv, "docker.io/b:v", &d, "a/b\r\nc: d", true, NULL),
                     0);
    assert_string_equal(find(w, 5)->content_type, "application/octet-stream");
    assert_int_equal(inventory_set_manifest(w->inv, &d, &m), 0);
    assert_string_equal(find(w, 5)->content_type, "its/own");
    world_free(w);
}

/* --- filters --- */

static void what_only_filtered_images_reach_is_neither_announced_nor_clean(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    for (unsigned n = 1; n < 8; n++) {
        blob(w, n);
    }
    assert_false(w->announced[1]); /* filters are set, and no image reaches it yet */
    assert_false(find(w, 1)->filtered);
    image(w, "docker.io/private/a:v", 1);
    manifest(w, 1, LIST(2, 3));
    image(w, "docker.io/public/a:v", 4);
    manifest(w, 4, LIST(3, 5));
    assert_true(find(w, 1)->filtered && find(w, 2)->filtered);
    assert_false(find(w, 3)->filtered || find(w, 4)->filtered || find(w, 5)->filtered);
    assert_false(w->announced[1] || w->announced[2] || w->announced[6]);
    assert_true(w->announced[3] && w->announced[4] && w->announced[5]);
    assert_null(inventory_tag(w->inv, "docker.io", "private/a", "v", NULL));
    assert_false(tag_is_announced(w, "docker.io/private/a:v"));
    assert_true(tag_is_announced(w, "docker.io/public/a:v"));

    inventory_remove_image(w->inv, "docker.io/public/a:v");
    assert_true(find(w, 3)->filtered); /* the shared layer is the private image's alone now */
    assert_false(w->announced[3] || w->announced[4] || w->announced[5]);
    inventory_remove_image(w->inv, "docker.io/private/a:v");
    assert_false(find(w, 3)->filtered || find(w, 3)->reached);
    world_free(w);
}

static void a_registry_not_mirrored_withdraws_what_was_announced_before(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, "https://docker.io");
    blob(w, 1);
    blob(w, 2);
    assert_true(w->announced[1]); /* no expressions: announced until something speaks against it */
    image(w, "ghcr.io/a:v", 1);
    assert_false(w->announced[1]);
    manifest(w, 1, LIST(2));
    assert_false(w->announced[2]);
    assert_true(find(w, 2)->filtered);
    image(w, "docker.io/a:v", 1);
    assert_true(w->announced[1] && w->announced[2]);
    assert_null(inventory_tag(w->inv, "ghcr.io", "a", "v", NULL));
    assert_non_null(inventory_tag(w->inv, "docker.io", "a", "v", NULL));
    image(w, "docker.io/a:v", 3);
    assert_false(w->announced[1] || w->announced[2]);
    world_free(w);
}

static void a_manifest_known_before_its_blob_counts(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    manifest(w, 1, LIST(2));
    blob(w, 2);
    image(w, "docker.io/a:v", 1);
    assert_true(w->announced[2]);
    blob(w, 1);
    assert_true(unparsed_is(w, LIST(0)));
    assert_true(find(w, 1)->is_manifest);
    world_free(w);
}

static void a_manifest_that_was_collected_still_says_what_it_reached(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    blob(w, 1);
    blob(w, 2);
    image(w, "docker.io/private/a:v", 1);
    manifest(w, 1, LIST(2));
    gone(w, 1);
    assert_true(find(w, 2)->filtered);
    inventory_remove_image(w->inv, "docker.io/private/a:v");
    assert_false(find(w, 2)->reached);
    blob(w, 1); /* what it said went with the last that needed it */
    assert_false(find(w, 1)->is_manifest);
    world_free(w);
}

static void a_batch_tells_only_what_it_comes_to(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    blob(w, 1);
    blob(w, 2);
    image(w, "docker.io/a:v", 1);
    manifest(w, 1, LIST(2));
    size_t before = w->changes;
    inventory_batch_begin(w->inv);
    inventory_batch_begin(w->inv);
    gone(w, 1);
    inventory_remove_image(w->inv, "docker.io/a:v");
    assert_null(inventory_image(w->inv, "docker.io/a:v"));
    assert_null(inventory_tag(w->inv, "docker.io", "a", "v", NULL));
    image(w, "docker.io/a:v", 1);
    blob(w, 1);
    inventory_batch_end(w->inv);
    assert_int_equal(w->changes, before);
    inventory_batch_end(w->inv);
    assert_int_equal(w->changes, before);
    assert_non_null(inventory_tag(w->inv, "docker.io", "a", "v", NULL));
    inventory_batch_begin(w->inv);
    inventory_remove_image(w->inv, "docker.io/a:v");
    inventory_remove_image(w->inv, "docker.io/a:v");
    assert_int_equal(w->changes, before);
    inventory_batch_end(w->inv);
    assert_int_equal(w->changes, before + 3); /* the tag and two digests */
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_is_held_from_report_to_removal),
        cmocka_unit_test(a_second_copy_takes_over),
        cmocka_unit_test(a_condemned_copy_stays_out_until_its_file_is_another),
        cmocka_unit_test(a_tag_is_answered_once_its_target_is_held),
        cmocka_unit_test(a_moved_tag_answers_with_its_new_target),
        cmocka_unit_test(a_digest_name_reaches_but_is_no_tag),
        cmocka_unit_test(names_that_are_no_references_change_nothing),
        cmocka_unit_test(a_tag_may_be_answered_and_not_announced),
        cmocka_unit_test(an_image_without_a_registry_answers_for_every_one),
        cmocka_unit_test(without_a_registry_the_only_choice_is_taken),
        cmocka_unit_test(manifests_are_asked_for_when_reached_and_held),
        cmocka_unit_test(what_is_too_large_or_empty_is_never_read_as_a_manifest),
        cmocka_unit_test(content_types_come_from_manifest_then_descriptor_then_shape),
        cmocka_unit_test(what_only_filtered_images_reach_is_neither_announced_nor_clean),
        cmocka_unit_test(a_registry_not_mirrored_withdraws_what_was_announced_before),
        cmocka_unit_test(a_manifest_known_before_its_blob_counts),
        cmocka_unit_test(a_manifest_that_was_collected_still_says_what_it_reached),
        cmocka_unit_test(a_batch_tells_only_what_it_comes_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
