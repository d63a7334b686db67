#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "store/world.h"

/* --- graphs that no honest registry makes --- */

static void an_index_that_names_itself_ends(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    blob(w, 1);
    index_of(w, 1, LIST(1, 1));
    image(w, "docker.io/a:v", 1);
    assert_true(w->announced[1]);
    inventory_remove_image(w->inv, "docker.io/a:v");
    assert_false(w->announced[1] || find(w, 1)->reached); /* it does not hold itself up */
    gone(w, 1);
    blob(w, 1);
    assert_false(find(w, 1)->is_manifest); /* nothing was left of it */
    world_free(w);
}

static void cycles_hold_nothing_up(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    for (unsigned n = 1; n <= 4; n++) {
        blob(w, n);
    }
    index_of(w, 1, LIST(2));
    index_of(w, 2, LIST(3));
    index_of(w, 3, LIST(1, 4));
    image(w, "docker.io/a:v", 2);
    assert_true(w->announced[1] && w->announced[2] && w->announced[3] && w->announced[4]);
    image(w, "docker.io/private/a:v", 3);
    inventory_remove_image(w->inv, "docker.io/a:v");
    for (unsigned n = 1; n <= 4; n++) {
        assert_true(find(w, n)->filtered);
        assert_false(w->announced[n]);
    }
    inventory_remove_image(w->inv, "docker.io/private/a:v");
    for (unsigned n = 1; n <= 4; n++) {
        assert_false(find(w, n)->reached);
        gone(w, n);
    }
    assert_int_equal(inventory_blob_count(w->inv), 0);
    world_free(w);
}

/* 1 → 2 → 3 → …: what lies deeper than the limit is not reached, unless a nearer image reaches
 * it. */
static void depth_has_a_limit_by_the_shortest_way(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    const unsigned last = LIMIT_MANIFEST_DEPTH + 4;
    for (unsigned n = 1; n <= last; n++) {
        blob(w, n);
    }
    image(w, "docker.io/a:v", 1);
    for (unsigned n = last - 1; n >= 1; n--) {
        index_of(w, n, LIST(n + 1));
    }
    for (unsigned n = 1; n <= last; n++) {
        assert_int_equal(find(w, n)->reached, n <= LIMIT_MANIFEST_DEPTH + 1);
    }
    image(w, "docker.io/b:v", 5);
    for (unsigned n = 1; n <= last; n++) {
        assert_true(find(w, n)->reached);
    }
    inventory_remove_image(w->inv, "docker.io/b:v");
    for (unsigned n = 1; n <= last; n++) {
        assert_int_equal(w->announced[n], n <= LIMIT_MANIFEST_DEPTH + 1);
    }
    world_free(w);
}

static void four_thousand_children_of_each_other(void **state)
{
    (void)state;
    struct world *w = world_new("private", NULL);
    struct manifest m = {.is_index = true, .child_count = LIMIT_MANIFEST_CHILDREN};
    m.children = calloc(m.child_count, sizeof *m.children);
    assert_non_null(m.children);
    for (unsigned i = 0; i < LIMIT_MANIFEST_CHILDREN; i++) {
        m.children[i].digest = digest_n(i + 1);
        m.children[i].is_manifest = true;
        blob(w, i + 1);
    }
    for (unsigned n = 1; n <= 8; n++) {
        struct digest d = digest_n(n);
        assert_int_equal(inventory_set_manifest(w->inv, &d, &m), 0);
    }
    image(w, "docker.io/a:v", 3);
    struct digest got[8];
    size_t asked = 0;
    for (size_t n; (n = inventory_unparsed(w->inv, got, 8)) > 0;) {
        asked += n;
    }
    assert_int_equal(asked, LIMIT_MANIFEST_CHILDREN - 8);
    for (unsigned n = 1; n <= LIMIT_MANIFEST_CHILDREN; n++) {
        assert_true(w->announced[n]);
    }
    image(w, "docker.io/a:v", 60000);
    for (unsigned n = 1; n <= LIMIT_MANIFEST_CHILDREN; n++) {
        assert_false(w->announced[n]);
        gone(w, n);
    }
    free(m.children);
    world_free(w);
}

static void media_types_without_end_stop_costing_memory(void **state)
{
    (void)state;
    struct world *w = world_new(NULL, NULL);
    for (unsigned n = 1; n <= LIMIT_MEDIA_TYPES + 10; n++) {
        struct digest d = digest_n(n);
        struct manifest m = {0};
        (void)snprintf(m.media_type, sizeof m.media_type, "type/%u", n);
        blob(w, n);
        assert_int_equal(inventory_set_manifest(w->inv, &d, &m), 0);
    }
    assert_string_equal(find(w, 7)->content_type, "type/7");
    assert_string_equal(find(w, LIMIT_MEDIA_TYPES + 9)->content_type,
                        "application/vnd.oci.image.manifest.v1+json");
    world_free(w);
}

/* --- against a plain model --- */

enum { BLOBS = 24, IMAGES = 8 };

struct model {
    bool held[BLOBS + 1], parsed[BLOBS + 1];
    unsigned children[BLOBS + 1][4]; /* ends with 0 */
    unsigned target[IMAGES];         /* 0: no such image */
};

static void model_walk(const struct model *m, unsigned n, size_t depth, size_t *reached)
{
    if (reached[n] <= depth) {
        return;
    }
    reached[n] = depth;
    for (size_t i = 0; m->parsed[n] && depth < LIMIT_MANIFEST_DEPTH && m->children[n][i]; i++) {
        model_walk(m, m->children[n][i], depth + 1, reached);
    }
}

static void model_check(const struct model *m, const struct world *w)
{
    size_t any[BLOBS + 1], clean[BLOBS + 1];
    memset(any, 0xff, sizeof any);
    memset(clean, 0xff, sizeof clean);
    for (unsigned i = 0; i < IMAGES; i++) {
        if (m->target[i]) {
            model_walk(m, m->target[i], 0, any);
            if (i % 2) {
                model_walk(m, m->target[i], 0, clean);
            }
        }
    }
    for (unsigned n = 1; n <= BLOBS; n++) {
        const struct inventory_blob *b = find(w, n);
        assert_int_equal(b != NULL, m->held[n]);
        assert_int_equal(w->announced[n], b && clean[n] != SIZE_MAX);
        if (b) {
            assert_int_equal(b->reached, any[n] != SIZE_MAX);
            assert_int_equal(b->filtered, any[n] != SIZE_MAX && clean[n] == SIZE_MAX);
        }
    }
}

static void random_step(struct model *m, struct world *w)
{
    unsigned n = 1 + (unsigned)rand() % BLOBS, i = (unsigned)rand() % IMAGES;
    char name[64];
    (void)snprintf(name, sizeof name, "docker.io/%s:%u", i % 2 ? "public" : "private", i);
    switch (rand() % 6) {
    case 0:
    case 1:
        m->held[n] = true;
        blob(w, n);
        break;
    case 2:
        if (!m->parsed[n]) { /* what went must stay away: see below */
            m->held[n] = false;
            gone(w, n);
        }
        break;
    case 3:
        if (m->held[n]) {
            m->parsed[n] = true;
            index_of(w, n, m->children[n]);
        }
        break;
    case 4:
        m->target[i] = n;
        image(w, name, n);
        break;
    default:
        m->target[i] = 0;
        inventory_remove_image(w->inv, name);
    }
}

/* Parsed manifests are never removed here, so that the model need not know when what they said is
 * forgotten. */
static void any_order_of_reports_comes_to_the_same(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct world *w = world_new("private", NULL);
        struct model m = {0};
        srand(seed);
        for (unsigned n = 1; n <= BLOBS; n++) {
            for (size_t i = 0; i < (size_t)(rand() % 4); i++) {
                m.children[n][i] = 1 + (unsigned)rand() % BLOBS;
            }
        }
        for (unsigned step = 0; step < 300; step++) {
            bool batch = rand() % 4 == 0;
            if (batch) {
                inventory_batch_begin(w->inv);
                for (unsigned more = 0; more < 10; more++) {
                    random_step(&m, w);
                }
            }
            random_step(&m, w);
            if (batch) {
                inventory_batch_end(w->inv);
            }
            model_check(&m, w);
        }
        world_free(w);
    }
}

/* --- memory, and time --- */

static void story_without_memory(struct inventory *inv)
{
    struct digest one = digest_n(1), two = digest_n(2);
    struct manifest_child child = {.digest = two, .is_manifest = true, .media_type = "a/b"};
    struct manifest m = {.is_index = true,
                         .media_type = "c/d",
                         .has_subject = true,
                         .subject = two,
                         .annotations_json = (char *)"{}",
                         .children = &child,
                         .child_count = 1};
    size_t before = inventory_blob_count(inv);
    int r = inventory_add_blob(inv, &one, 1, &root_a);
    assert_true(r == 0 || r == -ENOMEM);
    assert_int_equal(inventory_blob_count(inv), before + (r == 0));
    r = inventory_set_manifest(inv, &one, &m);
    assert_true(r == 0 || r == -ENOMEM);
    const struct inventory_blob *b = inventory_blob(inv, &one);
    assert_true(!b || b->is_manifest == (r == 0));
    r = inventory_set_image(inv, "docker.io/a:v", &one, "e/f", true, NULL);
    assert_true(r == 0 || r == -ENOMEM);
    assert_int_equal(inventory_image(inv, "docker.io/a:v") != NULL, r == 0);
    int moved = inventory_set_image(inv, "docker.io/a:v", &two, "g/h", true, NULL);
    assert_true(moved == 0 || moved == -ENOMEM);
    if (r == 0) {
        assert_true(digest_equal(inventory_image(inv, "docker.io/a:v"), moved == 0 ? &two : &one));
    }
    inventory_condemn(inv, &one);
    inventory_remove_image(inv, "docker.io/a:v");
    inventory_remove_blob(inv, &one);
    assert_int_equal(inventory_blob_count(inv), before);
}

static void nothing(void *arg, const struct inventory_change *change)
{
    (void)arg;
    (void)change;
}

static void allocation_failures_change_nothing(void **state)
{
    (void)state;
    struct filter *f = NULL;
    assert_int_equal(filter_new(NULL, 0, NULL, 0, &f, NULL), 0);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct inventory *inv = NULL;
        if (inventory_new(f, nothing, NULL, &inv) == 0) {
            story_without_memory(inv);
        }
        inventory_free(inv);
    });
    filter_free(f);
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void add_thousands(struct inventory *inv)
{
    struct manifest_child children[14];
    memset(children, 0, sizeof children);
    struct manifest m = {.children = children, .child_count = 14};
    for (unsigned i = 0; i < 3000; i++) {
        char name[64];
        struct digest d = digest_n(i);
        d.bytes[3] = 1;
        (void)snprintf(name, sizeof name, "docker.io/org/app-%u:v", i);
        for (unsigned k = 0; k < 14; k++) {
            children[k].digest = digest_n(i);
            children[k].digest.bytes[2] = (uint8_t)(k + 1);
            assert_int_equal(inventory_add_blob(inv, &children[k].digest, 1, &root_a), 0);
        }
        assert_int_equal(inventory_add_blob(inv, &d, 1, &root_a), 0);
        assert_int_equal(inventory_set_image(inv, name, &d, NULL, true, NULL), 0);
        assert_int_equal(inventory_set_manifest(inv, &d, &m), 0);
    }
}

/* Generous, for machines under load and sanitizers: work that grew with the square of the number
 * of blobs would take minutes. */
static void forty_five_thousand_blobs_take_a_moment(void **state)
{
    (void)state;
    struct filter *f = NULL;
    struct inventory *inv = NULL;
    assert_int_equal(filter_new(NULL, 0, NULL, 0, &f, NULL), 0);
    assert_int_equal(inventory_new(f, nothing, NULL, &inv), 0);
    double start = seconds();
    add_thousands(inv);
    double added = seconds();
    inventory_remove_image(inv, "docker.io/org/app-7:v");
    double one = seconds();
    inventory_batch_begin(inv);
    for (unsigned i = 0; i < 3000; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "docker.io/org/app-%u:v", i);
        inventory_remove_image(inv, name);
    }
    inventory_batch_end(inv);
    double removed = seconds();
    print_message("added %.1f ms, one image removed %.1f ms, 3000 removed %.1f ms\n",
                  (added - start) * 1e3, (one - added) * 1e3, (removed - one) * 1e3);
    assert_true(removed - start < 10);
    assert_int_equal(inventory_blob_count(inv), 45000);
    inventory_free(inv);
    filter_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_that_names_itself_ends),
        cmocka_unit_test(cycles_hold_nothing_up),
        cmocka_unit_test(depth_has_a_limit_by_the_shortest_way),
        cmocka_unit_test(four_thousand_children_of_each_other),
        cmocka_unit_test(media_types_without_end_stop_costing_memory),
        cmocka_unit_test(any_order_of_reports_comes_to_the_same),
        cmocka_unit_test(allocation_failures_change_nothing),
        cmocka_unit_test(forty_five_thousand_blobs_take_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
