#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "store/layout_index.h"
#include "support.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DESCRIPTOR(digest, annotations)                                                            \
    "{\"mediaType\":\"a/b\",\"digest\":\"" digest "\",\"size\":3,\"annotations\":{" annotations "}}"
#define REF(name) "\"org.opencontainers.image.ref.name\":\"" name "\""
#define FULL(name) "\"io.containerd.image.name\":\"" name "\""
#define INDEX(descriptors) "{\"schemaVersion\":2,\"manifests\":[" descriptors "]}"

static int parse(const char *json, struct layout_index *index, struct error *err)
{
    return layout_index_parse(json, strlen(json), "app", index, err);
}

static void names_are_chosen_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *annotations, *name;
        size_t malformed;
    } rows[] = {
        {FULL("docker.io/library/x:1") "," REF("1"), "docker.io/library/x:1", 0},
        {REF("ghcr.io/x:2"), "ghcr.io/x:2", 0},
        {FULL("x:1") "," REF("ghcr.io/x:2"), "ghcr.io/x:2", 1},
        {FULL("x:1") "," REF("v2"), "/app:v2", 1},
        {REF("v1"), "/app:v1", 0},
        {REF("library/x:1"), "/app@" A, 1},
        {REF(""), "/app@" A, 1},
        {REF("a b"), "/app@" A, 1},
        {REF("ghcr.io/x"), "ghcr.io/x@" A, 0},
        {REF("ghcr.io/x:v@" B), "ghcr.io/x@" A, 0},
        {"", "/app:latest", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char json[1024];
        struct layout_index index = {0};
        (void)snprintf(json, sizeof json,
                       "{\"manifests\":[{\"digest\":\"" A "\",\"annotations\":{%s}}]}",
                       rows[i].annotations);
        assert_int_equal(parse(json, &index, NULL), 0);
        assert_int_equal(index.count, 1);
        if (strcmp(index.images[0].name, rows[i].name) != 0 ||
            index.malformed != rows[i].malformed) {
            fail_msg("%s became %s, %zu malformed", rows[i].annotations, index.images[0].name,
                     index.malformed);
        }
        assert_int_equal(index.has_unnamed, rows[i].name[0] == '/');
        assert_int_equal(index.problem.text[0] != 0, rows[i].malformed);
        layout_index_done(&index);
    }
}

static void unnamed_ones_among_others_count_by_digest(void **state)
{
    (void)state;
    struct layout_index index = {0};
    assert_int_equal(parse(INDEX("{\"digest\":\"" A "\"}," DESCRIPTOR(B, REF("v"))), &index, NULL),
                     0);
    assert_int_equal(index.count, 2);
    assert_string_equal(index.images[0].name, "/app:v");
    assert_string_equal(index.images[0].media_type, "a/b");
    assert_string_equal(index.images[1].name, "/app@" A);
    assert_int_equal(index.malformed, 0);
    layout_index_done(&index);
}

static void the_first_of_a_name_keeps_it(void **state)
{
    (void)state;
    struct layout_index index = {0};
    assert_int_equal(parse(INDEX(DESCRIPTOR(B, REF("ghcr.io/x:v")) "," DESCRIPTOR(
                               A, REF("ghcr.io/x:v")) "," DESCRIPTOR(A, REF("ghcr.io/x:v"))),
                           &index, NULL),
                     0);
    assert_int_equal(index.count, 2);
    assert_string_equal(index.images[0].name, "ghcr.io/x:v");
    assert_int_equal(index.images[0].target.bytes[0], 0xbb);
    assert_string_equal(index.images[1].name, "ghcr.io/x@" A);
    layout_index_done(&index);
}

static void malformed_descriptors_are_skipped_and_the_rest_goes_on(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "1",
        "null",
        "{}",
        "{\"digest\":1}",
        "{\"digest\":\"sha256:12\"}",
        "{\"digest\":\"sha512:"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "\"}",
        "{\"digest\":\"" A "\",\"digest\":\"" B "\"}",
        "{\"digest\":\"" A "\",\"size\":-1}",
        "{\"digest\":\"" A "\",\"size\":\"1\"}",
        "{\"digest\":\"" A "\",\"annotations\":{" REF("a") "," REF("b") "}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char json[1024];
        struct layout_index index = {0};
        (void)snprintf(json, sizeof json, INDEX("%s," DESCRIPTOR(B, REF("v"))), bad[i]);
        assert_int_equal(parse(json, &index, NULL), 0);
        if (index.count != 1 || index.malformed != 1) {
            fail_msg("%s: %zu images, %zu malformed", bad[i], index.count, index.malformed);
        }
        assert_string_equal(index.images[0].name, "/app:v");
        layout_index_done(&index);
    }
}

static void what_is_no_index_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"manifests\":1}",
        "{\"manifests\":[]",
        "{\"manifests\":[],\"manifests\":[]}",
    };
    struct layout_index index = {.count = 7};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err = {0};
        assert_int_equal(parse(bad[i], &index, &err), -EPROTO);
        assert_true(err.text[0]);
        assert_int_equal(index.count, 7);
    }
    struct buf b;
    buf_init(&b, 8 * 1024 * 1024);
    assert_int_equal(buf_puts(&b, "{\"manifests\":["), 0);
    for (size_t i = 0; i <= LIMIT_LAYOUT_IMAGES; i++) {
        assert_int_equal(buf_puts(&b, i ? ",{}" : "{}"), 0);
    }
    assert_int_equal(buf_puts(&b, "]}"), 0);
    assert_int_equal(parse(b.data, &index, NULL), -E2BIG);
    buf_done(&b);
}

static void directories_become_repositories(void **state)
{
    (void)state;
    static const struct {
        const char *path, *repository;
    } rows[] = {
        {"/srv/app", "app"},
        {"/srv/app/", "app"},
        {"app", "app"},
        {"/srv/My App", "my-app"},
        {"/srv/a..b__c", "a.b_c"},
        {"/srv/-a-", "a"},
        {"/srv/.hidden", "hidden"},
        {"/", "layout"},
        {"/srv/...", "layout"},
        {"/srv/\xc3\xa4", "layout"},
        {"/srv/a\xc3\xa4"
         "b",
         "a-b"},
        {"", "layout"},
    };
    char repository[REFERENCE_REPOSITORY_BYTES], long_path[1000];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        layout_repository(rows[i].path, repository);
        assert_string_equal(repository, rows[i].repository);
        assert_true(reference_is_repository(repository, strlen(repository)));
    }
    memset(long_path, 'a', sizeof long_path);
    long_path[sizeof long_path - 1] = 0;
    layout_repository(long_path, repository);
    assert_true(reference_is_repository(repository, strlen(repository)));
}

static void allocation_failures_leave_nothing_behind(void **state)
{
    (void)state;
    int r = -1;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct layout_index index = {0};
        r = parse(INDEX(DESCRIPTOR(A, REF("a")) "," DESCRIPTOR(B, "")), &index, NULL);
        assert_true(r == 0 || r == -ENOMEM);
        layout_index_done(&index);
    });
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_chosen_in_order),
        cmocka_unit_test(unnamed_ones_among_others_count_by_digest),
        cmocka_unit_test(the_first_of_a_name_keeps_it),
        cmocka_unit_test(malformed_descriptors_are_skipped_and_the_rest_goes_on),
        cmocka_unit_test(what_is_no_index_is_an_error),
        cmocka_unit_test(directories_become_repositories),
        cmocka_unit_test(allocation_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
