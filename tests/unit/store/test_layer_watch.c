#include "store/layer_watch.h"

#include <sys/time.h>

#include "base/limits.h"
#include "store/downloads.h"
#include "store/ingest_file.h"
#include "store/world.h"

#define CONFIG "application/vnd.oci.image.config.v1+json"
#define LAYER "application/vnd.oci.image.layer.v1.tar+gzip"
#define DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define FOREIGN "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

/* --- counting them --- */

/* A manifest `n` whose configuration is n + 1 and whose layers follow; its file is here. */
static void image_manifest(struct world *w, unsigned n, const char *config, const char *layer,
                           unsigned layers)
{
    struct manifest_child children[16] = {{.digest = digest_n(n + 1)}};
    struct manifest m = {.children = children, .child_count = 1 + layers};
    struct digest d = digest_n(n);
    strcpy(children[0].media_type, config);
    for (unsigned i = 1; i <= layers; i++) {
        children[i].digest = digest_n(n + 1 + i);
        strcpy(children[i].media_type, layer);
    }
    blob(w, n);
    assert_int_equal(inventory_set_manifest(w->inv, &d, &m), 0);
}

static void expect_layers(const struct world *w, size_t with, size_t without)
{
    struct inventory_layers layers = inventory_layers(w->inv);
    assert_int_equal(layers.with, with);
    assert_int_equal(layers.without, without);
}

static void an_image_is_without_its_layers_once_most_of_them_are_gone(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    image_manifest(w, 10, CONFIG, LAYER, 3);
    blob(w, 11);
    expect_layers(w, 0, 0); /* no image names it yet */
    image(w, "docker.io/a:1", 10);
    image(w, "docker.io/a:2", 10);
    image(w,
          "docker.io/a@sha256:"
          "000a000000000000000000000000000000000000000000000000000000000000",
          10);
    expect_layers(w, 0, 1); /* once, whatever it is called */
    blob(w, 12);
    expect_layers(w, 0, 1); /* a base that another image keeps */
    blob(w, 13);
    expect_layers(w, 1, 0);
    blob(w, 14);
    expect_layers(w, 1, 0);
    gone(w, 12);
    gone(w, 14);
    expect_layers(w, 0, 1);
    gone(w, 11);
    expect_layers(w, 0, 0);
    blob(w, 11);
    gone(w, 10);
    expect_layers(w, 0, 0);
    world_free(w);
}

static void what_is_no_image_with_layers_counts_as_neither(void **state)
{
    (void)state;
    static const struct {
        const char *config, *layer;
        unsigned layers;
        size_t without;
    } rows[] = {
        {CONFIG, LAYER, 1, 1},
        {DOCKER_CONFIG, DOCKER_LAYER, 2, 1},
        {CONFIG, "application/vnd.oci.image.layer.v1.tar+zstd", 1, 1},
        {CONFIG, LAYER, 0, 0},
        {CONFIG, FOREIGN, 1, 0}, /* is nobody's to have */
        {CONFIG, "application/vnd.oci.image.layer.nondistributable.v1.tar", 1, 0},
        {CONFIG, "application/vnd.in-toto+json", 1, 0}, /* an attestation */
        {"application/vnd.cncf.helm.config.v1+json", LAYER, 1, 0},
        {"", "", 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *w = world_new(NULL, NULL);
        image_manifest(w, 10, rows[i].config, rows[i].layer, rows[i].layers);
        blob(w, 11);
        image(w, "docker.io/a:1", 10);
        struct inventory_layers layers = inventory_layers(w->inv);
        if (layers.with != 0 || layers.without != rows[i].without) {
            fail_msg("row %zu: %zu with, %zu without", i, layers.with, layers.without);
        }
        world_free(w);
    }
}

static void of_an_index_only_the_platforms_that_were_pulled_count(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    blob(w, 1);
    index_of(w, 1, LIST(10, 20, 30, 40));
    image(w, "docker.io/a:1", 1);
    expect_layers(w, 0, 0); /* no manifest of it is here */
    image_manifest(w, 20, CONFIG, LAYER, 1);
    expect_layers(w, 0, 0); /* and here one is, without its configuration */
    image_manifest(w, 10, CONFIG, LAYER, 2);
    blob(w, 11);
    expect_layers(w, 0, 1);
    blob(w, 12);
    blob(w, 13);
    expect_layers(w, 1, 0);
    blob(w, 21); /* all platforms' metadata, layers of one */
    expect_layers(w, 1, 0);
    gone(w, 12);
    gone(w, 13);
    image_manifest(w, 40, CONFIG, "application/vnd.in-toto+json", 1);
    blob(w, 41);
    blob(w, 42);
    expect_layers(w, 0, 1); /* an attestation that is kept says nothing */
    world_free(w);
}

static void filtered_images_are_not_counted_and_corrupt_layers_are_here(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    struct digest layer = digest_n(22);
    image_manifest(w, 10, CONFIG, LAYER, 1);
    blob(w, 11);
    image(w, "docker.io/private:1", 10);
    expect_layers(w, 0, 0);
    image(w, "docker.io/public:1", 10);
    expect_layers(w, 0, 1); /* the other name reaches it, though the filtered one is first */
    image_manifest(w, 20, CONFIG, LAYER, 1);
    blob(w, 21);
    blob(w, 22);
    image(w, "docker.io/b:1", 20);
    inventory_condemn(w->inv, &layer);
    assert_null(find(w, 22));
    expect_layers(w, 1, 1);
    world_free(w);
}

static void no_more_than_the_limit_is_looked_at(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    unsigned images = LIMIT_LAYER_LOOKS / 17 + 100; /* 16 children each, and the name */
    for (unsigned i = 0; i < images; i++) {
        char name[128]; /* without a tag: of those the world remembers few */
        unsigned n = 1 + i * 20;
        (void)snprintf(name, sizeof name, "docker.io/a%u@sha256:%064x", i, 1);
        image_manifest(w, n, CONFIG, LAYER, 15);
        blob(w, n + 1);
        image(w, name, n);
    }
    struct inventory_layers layers = inventory_layers(w->inv);
    assert_int_equal(layers.with, 0);
    assert_int_equal(layers.without, LIMIT_LAYER_LOOKS / 17);
    world_free(w);
}

/* --- what follows from it --- */

static void it_has_to_be_so_for_a_while(void **state)
{
    (void)state;
    static const struct {
        uint64_t at_ms;
        struct inventory_layers now;
        bool says;
    } rows[] = {
        {0, {0, 0}, false}, /* an empty node */
        {100000, {0, 0}, false},
        {110000, {0, 1}, false}, /* an image came; its layers may follow */
        {139999, {0, 1}, false},
        {140000, {0, 1}, true},
        {150000, {1, 0}, false}, /* pulled again */
        {190000, {1, 0}, false},
        {200000, {9, 1}, false}, /* one came without, though most have theirs */
        {229999, {9, 1}, false},
        {230000, {9, 1}, true},
        {240000, {9, 0}, false},
        {250000, {9, 1}, false}, /* from the start again */
        {270000, {9, 0}, false},
        {271000, {9, 1}, false},
        {280000, {9, 2}, false},
        {301000, {9, 2}, true},
    };
    struct layer_watch w = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (layer_watch_look(&w, &rows[i].now, rows[i].at_ms) != rows[i].says) {
            fail_msg("row %zu", i);
        }
    }
}

static void of_what_was_there_before_at_least_half_has_to_be_without(void **state)
{
    (void)state;
    struct layer_watch few = {0}, half = {0};
    struct inventory_layers before = {5, 4}, fewer = {6, 3}, mended = {6, 4};
    assert_false(layer_watch_look(&few, &before, 0));
    assert_false(layer_watch_look(&few, &before, 1000000));
    assert_false(layer_watch_look(&few, &fewer, 1010000));
    assert_false(layer_watch_look(&few, &mended, 1020000)); /* the fourth came since then */
    assert_true(layer_watch_look(&few, &mended, 1020000 + LIMIT_ADVICE_WAIT_MS));
    before.without = 5;
    assert_false(layer_watch_look(&half, &before, 0));
    assert_true(layer_watch_look(&half, &before, LIMIT_ADVICE_WAIT_MS));
}

static void an_interruption_begins_the_wait_anew(void **state)
{
    (void)state;
    struct layer_watch w = {0};
    struct inventory_layers all = {0, 3};
    assert_false(layer_watch_look(&w, &all, 0));
    layer_watch_interrupt(&w);
    assert_false(layer_watch_look(&w, &all, LIMIT_ADVICE_WAIT_MS));
    assert_true(layer_watch_look(&w, &all, 2 * LIMIT_ADVICE_WAIT_MS));
}

/* --- downloads --- */

static void set_written(const struct download *d, time_t at)
{
    struct timeval times[2] = {{.tv_sec = at}, {.tv_sec = at}};
    assert_int_equal(utimes(d->data, times), 0);
}

static void the_latest_write_of_any_download_is_found(void **state)
{
    (void)state;
    struct place p;
    char path[128];
    struct digest one = digest_n(1), other = digest_n(2), empty = digest_n(3);
    place_init(&p);
    assert_int_equal(ingest_file_last_write(p.dir), 0); /* no directory of them at all */
    (void)snprintf(path, sizeof path, "%s/ingest", p.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(ingest_file_last_write(p.dir), 0);
    struct download d = download_of(&p, "layer", &one), e = download_of(&p, "layer", &other);
    struct download nothing = download_of(&p, "config", &empty);
    download_prepare(&nothing, NULL); /* no data yet */
    assert_int_equal(ingest_file_last_write(p.dir), 0);
    download_prepare(&d, NULL);
    download_open(&d);
    download_write(&d, 0, 10);
    set_written(&d, 5000);
    assert_int_equal(ingest_file_last_write(p.dir), 5000); /* left behind by one that was killed */
    download_prepare(&e, NULL);
    download_open(&e);
    download_write(&e, 0, 10);
    set_written(&e, 7000);
    assert_int_equal(ingest_file_last_write(p.dir), 7000);
    download_abort(&e);
    assert_int_equal(ingest_file_last_write(p.dir), 5000);
    download_abort(&d);
    place_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_without_its_layers_once_most_of_them_are_gone),
        cmocka_unit_test(what_is_no_image_with_layers_counts_as_neither),
        cmocka_unit_test(of_an_index_only_the_platforms_that_were_pulled_count),
        cmocka_unit_test(filtered_images_are_not_counted_and_corrupt_layers_are_here),
        cmocka_unit_test(no_more_than_the_limit_is_looked_at),
        cmocka_unit_test(it_has_to_be_so_for_a_while),
        cmocka_unit_test(of_what_was_there_before_at_least_half_has_to_be_without),
        cmocka_unit_test(an_interruption_begins_the_wait_anew),
        cmocka_unit_test(the_latest_write_of_any_download_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
