#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/path.h"
#include "support.h"

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "sha256:" HEX

static void targets_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        enum path_kind kind;
        const char *repository, *tag, *ns, *plain;
    } rows[] = {
        {"/v2/", PATH_PING, "", "", "", ""},
        {"/v2", PATH_PING_BARE, "", "", "", ""},
        {"/v2?ns=docker.io", PATH_PING_BARE, "", "", "docker.io", ""},
        {"/v2/library/app/manifests/v1?ns=docker.io", PATH_MANIFEST_TAG, "library/app", "v1",
         "docker.io", ""},
        {"/v2/app/manifests/" DIGEST, PATH_MANIFEST_DIGEST, "app", "", "", ""},
        {"/v2/app/blobs/" DIGEST "?ns=h%3A5000", PATH_BLOB, "app", "", "h:5000", ""},
        {"/v2/manifests/blobs/manifests/tags", PATH_MANIFEST_TAG, "manifests/blobs", "tags", "",
         ""},
        {"/v2/tags/list/tags/list", PATH_TAGS, "tags/list", "", "", ""},
        {"/v2/app/manifests/list", PATH_MANIFEST_TAG, "app", "list", "", ""},
        {"/v2/_catalog?n=5&last=a%2fb", PATH_CATALOG, "", "", "", ""},
        {"/v2/app/tags/list", PATH_TAGS, "app", "", "", ""},
        {"/v2/app/referrers/" DIGEST "?artifactType=a%2Bb/c", PATH_REFERRERS, "app", "", "", ""},
        {"/v2/app", PATH_UNKNOWN, "", "", "", ""},
        {"/v2/app/", PATH_UNKNOWN, "", "", "", ""},
        {"/v2/manifests/v1", PATH_UNKNOWN, "", "", "", ""},
        {"/v2/app/uploads/x", PATH_UNKNOWN, "", "", "", ""},
        {"/v2/app/tags/other", PATH_UNKNOWN, "", "", "", ""},
        {"/readyz?verbose", PATH_OTHER, "", "", "", "/readyz"},
        {"/", PATH_OTHER, "", "", "", "/"},
        {"/v2x/a", PATH_OTHER, "", "", "", "/v2x/a"},
        {"/v2.html", PATH_OTHER, "", "", "", "/v2.html"},
        {"http://host:1/v2/?ns=a", PATH_PING, "", "", "a", ""},
        {"https://host/id", PATH_OTHER, "", "", "", "/id"},
        {"/v2/?&&ns=&x=%zz&ns=ghcr.io&ns=other", PATH_PING, "", "", "ghcr.io", ""},
        {"/v2/?ns", PATH_PING, "", "", "", ""},
        {"/v2/?ns=%5Bfd00::1%5D:5000", PATH_PING, "", "", "[fd00::1]:5000", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct path p;
        struct error err = {0};
        const char *code = NULL;
        if (path_parse(rows[i].target, &p, &code, &err) != 0) {
            fail_msg("\"%s\": %s", rows[i].target, err.text);
        }
        if (p.kind != rows[i].kind) {
            fail_msg("\"%s\" is of kind %d", rows[i].target, (int)p.kind);
        }
        if (p.kind != PATH_UNKNOWN) {
            assert_string_equal(p.repository, rows[i].repository);
        }
        assert_string_equal(p.tag, rows[i].tag);
        assert_string_equal(p.ns, rows[i].ns);
        assert_string_equal(p.plain, rows[i].plain);
    }
}

static void tricks_are_refused_with_a_code_of_the_spec(void **state)
{
    (void)state;
    static const struct {
        const char *target, *code;
    } rows[] = {
        {"/v2/../etc/manifests/v1", "NAME_INVALID"},
        {"/v2/a/..", "NAME_INVALID"},
        {"/v2/./a/manifests/v1", "NAME_INVALID"},
        {"/v2/a/%2e%2e/manifests/v1", "NAME_INVALID"},
        {"/v2/a%2fb/manifests/v1", "NAME_INVALID"},
        {"/v2/a/manifests/v%31", "NAME_INVALID"},
        {"/v2/a%00/manifests/v1", "NAME_INVALID"},
        {"/v2//manifests/v1", "NAME_INVALID"},
        {"/v2/a//b/manifests/v1", "NAME_INVALID"},
        {"/v2/A/manifests/v1", "NAME_INVALID"},
        {"/v2/a b/manifests/v1", "NAME_INVALID"},
        {"/v2/a\\b/manifests/v1", "NAME_INVALID"},
        {"/v2/a#/manifests/v1", "NAME_INVALID"},
        {"/v2/a\xc3\xa4/manifests/v1", "NAME_INVALID"},
        {"/v2/a\x01/manifests/v1", "NAME_INVALID"},
        {"/v2/a/manifests/", "TAG_INVALID"},
        {"/v2/a/manifests/-v1", "TAG_INVALID"},
        {"/v2/a/manifests/sha256:12", "DIGEST_INVALID"},
        {"/v2/a/blobs/v1", "DIGEST_INVALID"},
        {"/v2/a/blobs/", "DIGEST_INVALID"},
        {"/v2/a/referrers/latest", "DIGEST_INVALID"},
        {"/v2/?ns=a%00b", "NAME_INVALID"},
        {"/v2/?ns=a%2", "NAME_INVALID"},
        {"/v2/?ns=a%", "NAME_INVALID"},
        {"/v2/?ns=a%zz", "NAME_INVALID"},
        {"/v2/?ns=a/b", "NAME_INVALID"},
        {"/v2/?ns=https://a", "NAME_INVALID"},
        {"/v2/_catalog?n=-1", "PAGINATION_NUMBER_INVALID"},
        {"/v2/_catalog?n=x", "PAGINATION_NUMBER_INVALID"},
        {"/../etc/passwd", "UNSUPPORTED"},
        {"/%2e", "UNSUPPORTED"},
        {"", "UNSUPPORTED"},
        {"*", "UNSUPPORTED"},
        {"v2/", "UNSUPPORTED"},
        {"http://host", "UNSUPPORTED"},
        {"ftp://host/v2/", "UNSUPPORTED"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct path p;
        struct error err = {0};
        const char *code = "";
        if (path_parse(rows[i].target, &p, &code, &err) != -EINVAL || strcmp(code, rows[i].code)) {
            fail_msg("\"%s\": code \"%s\"", rows[i].target, code);
        }
        assert_true(err.text[0]);
        assert_int_equal(path_parse(rows[i].target, &p, &code, NULL), -EINVAL);
    }
}

static void ten_thousand_characters_are_no_name(void **state)
{
    (void)state;
    static const char *const shapes[][2] = {
        {"/v2/", "/manifests/v1"},
        {"/v2/a/manifests/", ""},
        {"/v2/a/blobs/sha256:", ""},
        {"/", ""},
        {"/v2/?ns=", ""},
        {"/v2/?artifactType=", ""},
        {"/v2/?last=", ""},
        {"/v2/?n=", ""},
    };
    char *target = malloc(11000);
    assert_non_null(target);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct path p;
        const char *code = NULL;
        size_t before = strlen(shapes[i][0]);
        strcpy(target, shapes[i][0]);
        memset(target + before, '1', 10000);
        strcpy(target + before + 10000, shapes[i][1]);
        assert_int_equal(path_parse(target, &p, &code, NULL), -EINVAL);
        assert_non_null(code);
    }
    free(target);
}

static void another_algorithm_is_a_digest_nobody_has(void **state)
{
    (void)state;
    struct path p;
    const char *code = NULL;
    assert_int_equal(path_parse("/v2/a/blobs/sha512:" HEX HEX, &p, &code, NULL), 0);
    assert_int_equal(p.kind, PATH_BLOB);
    assert_false(p.digest_supported);
    assert_int_equal(path_parse("/v2/a/blobs/" DIGEST, &p, &code, NULL), 0);
    assert_true(p.digest_supported);
}

static void queries_are_decoded(void **state)
{
    (void)state;
    struct path p;
    const char *code = NULL;
    assert_int_equal(
        path_parse("/v2/_catalog?n=0012&last=a%2fb+c&artifactType=x%2By", &p, &code, NULL), 0);
    assert_int_equal(p.n, 12);
    assert_string_equal(p.last, "a/b c");
    assert_string_equal(p.artifact_type, "x+y");
    assert_int_equal(path_parse("/v2/_catalog?n=99999999999999999999", &p, &code, NULL), 0);
    assert_int_equal(p.n, 1000000000);
    assert_int_equal(path_parse("/v2/_catalog?n=", &p, &code, NULL), 0);
    assert_int_equal(p.n, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_told_apart),
        cmocka_unit_test(tricks_are_refused_with_a_code_of_the_spec),
        cmocka_unit_test(ten_thousand_characters_are_no_name),
        cmocka_unit_test(another_algorithm_is_a_digest_nobody_has),
        cmocka_unit_test(queries_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
