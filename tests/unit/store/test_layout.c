#include <errno.h>

#include "store/layout.h"
#include "store/place.h"

struct scene {
    struct place place;
    struct filter *filter;
    struct inventory *inv;
    struct layout *layout;
    unsigned listed;
    char announced[4096]; /* tags, each after a space */
    size_t digests;       /* announced now */
    struct digest layer, manifest, other_layer, other_manifest;
};

static void note(void *arg, const struct inventory_change *change)
{
    struct scene *s = arg;
    if (change->digest) {
        s->digests += change->added ? 1 : (size_t)-1;
    } else if (change->added) {
        strcat(strcat(s->announced, " "), change->tag);
    }
}

static void listed(void *arg)
{
    ((struct scene *)arg)->listed++;
}

static bool is_listed(void *arg)
{
    return ((struct scene *)arg)->listed > 0;
}

static struct digest write_image(const struct place *p, const char *layer, struct digest *ret_layer)
{
    char json[512], text[DIGEST_TEXT_BYTES];
    *ret_layer = place_blob(p, layer);
    digest_format(ret_layer, text);
    (void)snprintf(json, sizeof json,
                   "{\"schemaVersion\":2,\"layers\":[{\"digest\":\"%s\",\"size\":%zu}]}", text,
                   strlen(layer));
    return place_blob(p, json);
}

/* One descriptor each, named so; NULL: without a name. */
static void write_index(const struct place *p, const struct digest *one, const char *one_name,
                        const struct digest *two, const char *two_name)
{
    char json[2048] = "{\"schemaVersion\":2,\"manifests\":[";
    for (int i = 0; i < 2; i++) {
        const struct digest *d = i ? two : one;
        const char *name = i ? two_name : one_name;
        char text[DIGEST_TEXT_BYTES];
        if (!d) {
            continue;
        }
        digest_format(d, text);
        size_t n = strlen(json);
        (void)snprintf(json + n, sizeof json - n,
                       "%s{\"digest\":\"%s\",\"mediaType\":"
                       "\"application/vnd.oci.image.manifest.v1+json\",\"annotations\":"
                       "{\"org.opencontainers.image.ref.name\":\"%s\"}}",
                       i && one ? "," : "", text, name);
    }
    strcat(json, "]}");
    place_write(p, "index.json", json, strlen(json));
}

static void scene_prepare(struct scene *s)
{
    *s = (struct scene){0};
    place_init(&s->place);
    assert_int_equal(filter_new(NULL, 0, NULL, 0, &s->filter, NULL), 0);
    assert_int_equal(inventory_new(s->filter, note, s, &s->inv), 0);
    s->manifest = write_image(&s->place, "layer one", &s->layer);
    write_index(&s->place, &s->manifest, "docker.io/a:v", NULL, NULL);
}

static void scene_start(struct scene *s)
{
    struct error err = {0};
    assert_int_equal(layout_new(s->place.loop, s->inv, s->place.dir, &s->layout, &err), 0);
    layout_on_listed(s->layout, listed, s);
    assert_int_equal(s->listed, 0);
    assert_true(place_until(&s->place, is_listed, s));
    assert_true(layout_is_listed(s->layout));
}

static void scene_done(struct scene *s)
{
    layout_free(s->layout);
    inventory_free(s->inv);
    filter_free(s->filter);
    place_done(&s->place);
}

static bool answers(struct scene *s, const char *registry, const char *repository,
                    const struct digest *target)
{
    const struct inventory_blob *b = inventory_tag(s->inv, registry, repository, "v", NULL);
    return target ? b && digest_equal(&b->digest, target) : !b;
}

static void a_layout_is_served_as_it_lies_there(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    place_write(&s.place, "blobs/sha256/not-a-digest", "x", 1);
    scene_start(&s);
    assert_true(answers(&s, "docker.io", "a", &s.manifest));
    assert_string_equal(s.announced, " docker.io/a:v");
    assert_int_equal(s.digests, 2);
    const struct inventory_blob *manifest = inventory_blob(s.inv, &s.manifest);
    assert_true(manifest->is_manifest);
    assert_string_equal(manifest->content_type, "application/vnd.oci.image.manifest.v1+json");
    assert_true(inventory_blob(s.inv, &s.layer)->reached);
    int fd = inventory_open(s.inv, &s.layer);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(s.listed, 1);
    assert_int_equal(layout_counters(s.layout)->rescans, 1);
    assert_string_equal(layout_path(s.layout), s.place.dir);
    scene_done(&s);
}

static void unnamed_images_answer_everywhere_and_announce_no_tag(void **state)
{
    (void)state;
    struct scene s;
    char repository[REFERENCE_REPOSITORY_BYTES];
    const char *names[2];
    bool more;
    scene_prepare(&s);
    write_index(&s.place, &s.manifest, "v", NULL, NULL);
    scene_start(&s);
    assert_int_equal(inventory_repositories(s.inv, NULL, "", names, 2, &more), 1);
    assert_true(strlen(names[0]) < sizeof repository);
    strcpy(repository, names[0]); /* spegel-store-… */
    assert_int_equal(strncmp(repository, "spegel-store-", 13), 0);
    assert_true(answers(&s, NULL, repository, &s.manifest));
    assert_true(answers(&s, "quay.io", repository, &s.manifest));
    assert_string_equal(s.announced, "");
    assert_int_equal(s.digests, 2);
    scene_done(&s);
}

static bool first_is_other(void *arg)
{
    struct scene *s = arg;
    return answers(s, "docker.io", "a", &s->other_manifest) &&
           inventory_blob(s->inv, &s->other_manifest)->is_manifest;
}

static bool first_is_gone(void *arg)
{
    struct scene *s = arg;
    return answers(s, "docker.io", "a", NULL) && answers(s, "ghcr.io", "b", &s->manifest);
}

static void a_changed_index_is_read_again(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    scene_start(&s);
    s.other_manifest = write_image(&s.place, "layer two", &s.other_layer);
    write_index(&s.place, &s.other_manifest, "docker.io/a:v", &s.manifest, "ghcr.io/b:v");
    assert_true(place_until(&s.place, first_is_other, &s));
    assert_true(answers(&s, "ghcr.io", "b", &s.manifest));
    assert_true(inventory_blob(s.inv, &s.other_layer)->reached);
    write_index(&s.place, NULL, NULL, &s.manifest, "ghcr.io/b:v");
    assert_true(place_until(&s.place, first_is_gone, &s));
    assert_int_equal(s.listed, 1);
    scene_done(&s);
}

static bool index_failed(void *arg)
{
    return layout_counters(((struct scene *)arg)->layout)->index_failures > 0;
}

static void an_index_that_is_broken_leaves_the_images_as_they_were(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    scene_start(&s);
    place_write(&s.place, "index.json", "{\"manifests\":[", 14);
    assert_true(place_until(&s.place, index_failed, &s));
    assert_true(answers(&s, "docker.io", "a", &s.manifest));
    write_index(&s.place, NULL, NULL, &s.manifest, "ghcr.io/b:v");
    assert_true(place_until(&s.place, first_is_gone, &s));
    scene_done(&s);
}

static bool nothing_is_held(void *arg)
{
    return inventory_blob_count(((struct scene *)arg)->inv) == 0;
}

static bool both_are_held(void *arg)
{
    struct scene *s = arg;
    return inventory_blob_count(s->inv) == 2 && answers(s, "docker.io", "a", &s->manifest) &&
           inventory_blob(s->inv, &s->manifest)->is_manifest;
}

static void blobs_come_and_go(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    scene_start(&s);
    place_unlink(&s.place, &s.layer);
    place_unlink(&s.place, &s.manifest);
    assert_true(place_until(&s.place, nothing_is_held, &s));
    assert_true(answers(&s, "docker.io", "a", NULL));
    assert_int_equal(s.digests, 0);
    (void)write_image(&s.place, "layer one", &s.layer);
    assert_true(place_until(&s.place, both_are_held, &s));
    scene_done(&s);
}

static void the_whole_directory_may_be_replaced(void **state)
{
    (void)state;
    struct scene s;
    char from[128], to[128];
    scene_prepare(&s);
    scene_start(&s);
    (void)snprintf(from, sizeof from, "%s/blobs", s.place.dir);
    (void)snprintf(to, sizeof to, "%s/elsewhere", s.place.dir);
    assert_int_equal(rename(from, to), 0);
    assert_true(place_until(&s.place, nothing_is_held, &s));
    assert_int_equal(rename(to, from), 0);
    assert_true(place_until(&s.place, both_are_held, &s));
    assert_true(layout_counters(s.layout)->rescans >= 3);
    scene_done(&s);
}

static bool corrupt_is_found(void *arg)
{
    struct scene *s = arg;
    return layout_counters(s->layout)->corrupt_manifests > 0 &&
           !inventory_blob(s->inv, &s->manifest);
}

static void a_manifest_of_zeros_is_withdrawn_until_it_is_whole_again(void **state)
{
    (void)state;
    struct scene s;
    char name[128], zeros[512] = {0};
    scene_prepare(&s);
    scene_start(&s);
    place_blob_name(&s.manifest, name);
    size_t n = (size_t)inventory_blob(s.inv, &s.manifest)->size_bytes;
    place_write(&s.place, name, zeros, n);
    assert_true(place_until(&s.place, corrupt_is_found, &s));
    assert_true(answers(&s, "docker.io", "a", NULL));
    assert_int_equal(s.digests, 1);
    (void)write_image(&s.place, "layer one", &s.layer);
    assert_true(place_until(&s.place, both_are_held, &s));
    scene_done(&s);
}

static void a_layer_of_another_size_than_its_manifest_says_is_withdrawn(void **state)
{
    (void)state;
    struct scene s;
    char name[128];
    scene_prepare(&s);
    place_blob_name(&s.layer, name);
    place_write(&s.place, name, "layer", 5);
    scene_start(&s);
    assert_true(answers(&s, "docker.io", "a", &s.manifest));
    assert_null(inventory_blob(s.inv, &s.layer));
    assert_int_equal(s.digests, 1);
    assert_int_equal(layout_counters(s.layout)->wrong_sizes, 1);
    (void)write_image(&s.place, "layer one", &s.layer); /* mended */
    assert_true(place_until(&s.place, both_are_held, &s));
    scene_done(&s);
}

static void what_is_no_manifest_stays_a_blob(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    write_index(&s.place, &s.manifest, "docker.io/a:v", &s.layer, "docker.io/b:v");
    scene_start(&s);
    assert_int_equal(layout_counters(s.layout)->unparsable_manifests, 1);
    assert_non_null(inventory_blob(s.inv, &s.layer));
    assert_false(inventory_blob(s.inv, &s.layer)->is_manifest);
    assert_true(answers(&s, "docker.io", "a", &s.manifest));
    scene_done(&s);
}

static void an_empty_directory_is_waited_for(void **state)
{
    (void)state;
    struct scene s;
    char command[128];
    scene_prepare(&s);
    (void)snprintf(command, sizeof command, "rm -r %s/*", s.place.dir);
    assert_int_equal(system(command), 0);
    scene_start(&s);
    assert_int_equal(inventory_blob_count(s.inv), 0);
    (void)snprintf(command, sizeof command, "mkdir -p %s/blobs/sha256", s.place.dir);
    assert_int_equal(system(command), 0);
    (void)write_image(&s.place, "layer one", &s.layer);
    write_index(&s.place, &s.manifest, "docker.io/a:v", NULL, NULL);
    assert_true(place_until(&s.place, both_are_held, &s));
    scene_done(&s);
}

static void what_is_no_directory_is_refused_by_name(void **state)
{
    (void)state;
    struct scene s;
    char path[128];
    struct error err = {0};
    scene_prepare(&s);
    assert_int_equal(layout_new(s.place.loop, s.inv, "/proc/nowhere", &s.layout, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/proc/nowhere"));
    (void)snprintf(path, sizeof path, "%s/index.json", s.place.dir);
    assert_int_equal(layout_new(s.place.loop, s.inv, path, &s.layout, &err), -ENOTDIR);
    assert_null(s.layout);
    scene_done(&s);
}

static void stopping_at_once_leaves_nothing_running(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    assert_int_equal(layout_new(s.place.loop, s.inv, s.place.dir, &s.layout, NULL), 0);
    scene_done(&s);
}

static void allocation_failures_at_the_start_leave_nothing_behind(void **state)
{
    (void)state;
    struct scene s;
    scene_prepare(&s);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct layout *l = NULL;
        int r = layout_new(s.place.loop, s.inv, s.place.dir, &l, NULL);
        assert_true(r == 0 || r == -ENOMEM);
        layout_free(l);
    });
    scene_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layout_is_served_as_it_lies_there),
        cmocka_unit_test(unnamed_images_answer_everywhere_and_announce_no_tag),
        cmocka_unit_test(a_changed_index_is_read_again),
        cmocka_unit_test(an_index_that_is_broken_leaves_the_images_as_they_were),
        cmocka_unit_test(blobs_come_and_go),
        cmocka_unit_test(the_whole_directory_may_be_replaced),
        cmocka_unit_test(a_manifest_of_zeros_is_withdrawn_until_it_is_whole_again),
        cmocka_unit_test(a_layer_of_another_size_than_its_manifest_says_is_withdrawn),
        cmocka_unit_test(what_is_no_manifest_stays_a_blob),
        cmocka_unit_test(an_empty_directory_is_waited_for),
        cmocka_unit_test(what_is_no_directory_is_refused_by_name),
        cmocka_unit_test(stopping_at_once_leaves_nothing_running),
        cmocka_unit_test(allocation_failures_at_the_start_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
