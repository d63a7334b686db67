#include <errno.h>
#include <string.h>

#include "oci/filter.h"
#include "support.h"

static struct filter *make(const char *expression, const char *registry)
{
    struct filter *f = NULL;
    struct error err = {0};
    int r = filter_new(&expression, expression != NULL, &registry, registry != NULL, &f, &err);
    if (r < 0) {
        fail_msg("%s", err.text);
    }
    return f;
}

static void expressions_match_anywhere_in_the_name(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *registry, *repository, *tag;
        bool matches;
    } rows[] = {
        {":latest$", "docker.io", "library/a", "latest", true},
        {":latest$", "docker.io", "library/a", "latest-1", false},
        {":latest$", "docker.io", "library/a", NULL, false},
        {":latest$", "docker.io", "library/a", "", false},
        {"^docker.io/", "docker.io", "a", "v", true},
        {"^docker.io/", "mirror.docker.io", "a", "v", false},
        {"private", "ghcr.io", "org/private/x", "v", true},
        {"PRIVATE", "ghcr.io", "org/private/x", "v", false},
        {"(?i)PRIVATE", "ghcr.io", "org/private/x", "v", true},
        {"", "ghcr.io", "a", "v", true},
        {"^library/a:v$", "", "library/a", "v", true}, /* an image that names no registry */
        {"sha256", "ghcr.io", "a", NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct filter *f = make(rows[i].expression, NULL);
        assert_true(filter_has_expressions(f));
        if (filter_matches(f, rows[i].registry, rows[i].repository, rows[i].tag) !=
            rows[i].matches) {
            fail_msg("row %zu: %s", i, rows[i].expression);
        }
        filter_free(f);
    }
}

static void only_the_listed_registries_are_mirrored(void **state)
{
    (void)state;
    const char *const listed[] = {"https://docker.io", "http://host:5000"};
    struct filter *f = NULL;
    assert_int_equal(filter_new(NULL, 0, listed, 2, &f, NULL), 0);
    assert_false(filter_has_expressions(f));
    assert_true(filter_mirrors(f, "docker.io"));
    assert_true(filter_mirrors(f, "host:5000"));
    assert_false(filter_mirrors(f, "host"));
    assert_false(filter_mirrors(f, "ghcr.io"));
    assert_true(filter_mirrors(f, ""));
    assert_true(filter_matches(f, "ghcr.io", "a", "v"));
    assert_false(filter_matches(f, "docker.io", "a", "v"));
    filter_free(f);
}

static void wildcards_and_no_list_mean_all(void **state)
{
    (void)state;
    const char *const lists[] = {NULL, "_default", "*"};
    for (size_t i = 0; i < 3; i++) {
        struct filter *f = make(NULL, lists[i]);
        assert_true(filter_mirrors(f, "any.example:1"));
        assert_false(filter_matches(f, "any.example:1", "a", "v"));
        filter_free(f);
    }
}

static void an_expression_that_does_not_compile_is_named(void **state)
{
    (void)state;
    const char *const expressions[] = {"fine", "(broken"};
    struct filter *f = NULL;
    struct error err = {0};
    assert_int_equal(filter_new(expressions, 2, NULL, 0, &f, &err), -EINVAL);
    assert_non_null(strstr(err.text, "(broken"));
    assert_null(f);
}

static void an_expression_that_explodes_counts_as_matching(void **state)
{
    (void)state;
    struct filter *f = make("^(a+)+$", NULL);
    assert_true(
        filter_matches(f, "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/b", ""));
    filter_free(f);
}

static void allocation_failures_leave_nothing_behind(void **state)
{
    (void)state;
    const char *const expressions[] = {"one", "t(w)o"}, *const registries[] = {"https://a", "b"};
    bool worked = false;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct filter *f = NULL;
        struct error err = {0};
        int r = filter_new(expressions, 2, registries, 2, &f, &err);
        worked = r == 0;
        assert_true(r == 0 || r == -ENOMEM);
        assert_true(r == 0 || (!f && err.text[0]));
        filter_free(f);
    });
    assert_true(worked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_match_anywhere_in_the_name),
        cmocka_unit_test(only_the_listed_registries_are_mirrored),
        cmocka_unit_test(wildcards_and_no_list_mean_all),
        cmocka_unit_test(an_expression_that_does_not_compile_is_named),
        cmocka_unit_test(an_expression_that_explodes_counts_as_matching),
        cmocka_unit_test(allocation_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
