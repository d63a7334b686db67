#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "oci/manifest.h"
#include "support.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX128                                                                                     \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"                             \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"

static const char image[] =
    "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST
    "\",\"config\":{\"mediaType\":\"a/config\","
    "\"digest\":\"" A "\",\"size\":7},\"layers\":[{\"mediaType\":\"a/layer\",\"digest\":\"" B
    "\",\"size\":9007199254740992},{\"digest\":\"" B "\"}],"
    "\"subject\":{\"digest\":\"" B "\",\"size\":3},\"annotations\":{\"k\":\"v\"}}";

static int parse(const char *json, struct manifest *m, struct error *err)
{
    return manifest_parse(json, strlen(json), m, err);
}

static void an_image_manifest_names_config_and_layers(void **state)
{
    (void)state;
    struct manifest m = {0};
    struct error err = {0};
    assert_int_equal(parse(image, &m, &err), 0);
    assert_false(m.is_index);
    assert_string_equal(m.media_type, OCI_MANIFEST);
    assert_string_equal(m.artifact_type, "a/config");
    assert_int_equal(m.child_count, 3);
    assert_int_equal(m.children[0].digest.bytes[0], 0xaa);
    assert_int_equal(m.children[0].size_bytes, 7);
    assert_false(m.children[0].is_manifest);
    assert_string_equal(m.children[1].media_type, "a/layer");
    assert_true(m.children[1].size_bytes == 9007199254740992);
    assert_int_equal(m.children[2].size_bytes, -1);
    assert_string_equal(m.children[2].media_type, "");
    assert_true(m.has_subject);
    assert_int_equal(m.subject.bytes[0], 0xbb);
    assert_string_equal(m.annotations_json, "{\"k\":\"v\"}");
    manifest_done(&m);
    manifest_done(&m);
    manifest_done(NULL);
}

static void an_index_names_manifests(void **state)
{
    (void)state;
    struct manifest m = {0};
    assert_int_equal(parse("{\"manifests\":[{\"digest\":\"" A "\",\"size\":1,\"mediaType\":\"x\"}],"
                           "\"artifactType\":\"a/b\",\"subject\":null}",
                           &m, NULL),
                     0);
    assert_true(m.is_index);
    assert_true(m.children[0].is_manifest);
    assert_string_equal(m.children[0].media_type, ""); /* "x" is no media type */
    assert_string_equal(m.artifact_type, "a/b");
    assert_false(m.has_subject);
    assert_null(m.annotations_json);
    manifest_done(&m);
    assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[]}", &m, NULL), 0);
    assert_int_equal(m.child_count, 0);
    manifest_done(&m);
}

static void documents_that_are_no_manifests(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int result;
    } rows[] = {
        {"", -EPROTO},
        {"null", -EPROTO},
        {"[]", -EPROTO},
        {"{", -EPROTO},
        {"}", -EPROTO},
        {"{}", -EPROTO},
        {"{\"layers\":", -EPROTO},
        {"{\"layers\":[]} x", -EPROTO},
        {"{\"layers\":[]}{}", -EPROTO},
        {"{\"layers\":[],}", -EPROTO},
        {"{\"layers\":{}}", -EPROTO},
        {"{\"manifests\":1}", -EPROTO},
        {"{\"config\":[]}", -EPROTO},
        {"{\"schemaVersion\":1,\"layers\":[]}", -EPROTO},
        {"{\"schemaVersion\":\"2\",\"layers\":[]}", -EPROTO},
        {"{\"architecture\":\"x\",\"config\":{\"Env\":[]}}", -EPROTO}, /* an image's config */
        {"{\"layers\":[],\"manifests\":[]}", -EPROTO},
        {"{\"manifests\":[],\"config\":{\"digest\":\"" A "\"}}", -EPROTO},
        {"{\"layers\":[],\"layers\":[]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"digest\":\"" B "\"}]}", -EPROTO},
        {"{\"layers\":[1]}", -EPROTO},
        {"{\"layers\":[{}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":7}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"sha256:12\"}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\\u0000x\"}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"size\":-1}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"size\":1.5}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"size\":1e300}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"size\":9007199254740994}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"size\":\"1\"}]}", -EPROTO},
        {"{\"layers\":[{\"digest\":\"" A "\",\"size\":1,\"size\":2}]}", -EPROTO},
        {"{\"layers\":[],\"mediaType\":1}", -EPROTO},
        {"{\"layers\":[],\"subject\":{\"digest\":\"x\"}}", -EPROTO},
        {"{\"layers\":[],\"subject\":1}", -EPROTO},
        {"{\"x\":\"never ends", -EPROTO},
        {"{\"x\":\"\\", -EPROTO},
        {"{\"x\":[}", -EPROTO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct manifest m = {.child_count = 99};
        struct error err = {0};
        int r = parse(rows[i].json, &m, &err);
        if (r != rows[i].result) {
            fail_msg("%s gave %d", rows[i].json, r);
        }
        assert_true(err.text[0]);
        assert_int_equal(m.child_count, 99);
    }
    struct manifest m;
    assert_int_equal(manifest_parse("{\"layers\":[]}\0", 14, &m, NULL), -EPROTO);
    assert_int_equal(manifest_parse("{\"a\":\"x\0y\",\"layers\":[]}", 24, &m, NULL), -EPROTO);
}

static void an_escaped_backslash_before_u0000_is_no_nul(void **state)
{
    (void)state;
    struct manifest m;
    assert_int_equal(parse("{\"layers\":[],\"x\":\"\\\\u0000\"}", &m, NULL), 0);
    manifest_done(&m);
}

/* `n` times `piece`, commas between, inside head and tail. */
static int parse_many(const char *head, const char *piece, size_t n, const char *comma,
                      const char *tail, struct manifest *m)
{
    struct buf b;
    buf_init(&b, 64 * 1024 * 1024);
    assert_int_equal(buf_puts(&b, head), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(buf_puts(&b, i ? comma : ""), 0);
        assert_int_equal(buf_puts(&b, piece), 0);
    }
    assert_int_equal(buf_puts(&b, tail), 0);
    int r = manifest_parse(b.data, b.len, m, NULL);
    buf_done(&b);
    return r;
}

static void limits_hold(void **state)
{
    (void)state;
    struct manifest m;
    const char *child = "{\"digest\":\"" A "\",\"size\":1}";
    assert_int_equal(parse_many("{\"layers\":[", child, LIMIT_MANIFEST_CHILDREN, ",", "]}", &m), 0);
    assert_int_equal(m.child_count, LIMIT_MANIFEST_CHILDREN);
    manifest_done(&m);
    assert_int_equal(parse_many("{\"layers\":[", child, LIMIT_MANIFEST_CHILDREN + 1, ",", "]}", &m),
                     -E2BIG);
    assert_int_equal(parse_many("{\"layers\":[],\"x\":[", "0", 70000, ",", "]}", &m), -E2BIG);
    assert_int_equal(parse_many("{\"layers\":[],\"x\":", "[", 1000000, "", "}", &m), -E2BIG);
    assert_int_equal(parse_many("{\"layers\":[],\"x\":", "{\"a\":", 100, "", "}", &m), -E2BIG);
    assert_int_equal(
        parse_many("{\"layers\":[],\"x\":\"", "x", LIMIT_MANIFEST_BYTES, "", "\"}", &m), -E2BIG);
    assert_int_equal(parse_many("{\"layers\":[],\"annotations\":{\"a\":\"", "x",
                                LIMIT_MANIFEST_ANNOTATIONS_BYTES, "", "\"}}", &m),
                     0);
    assert_null(m.annotations_json);
    manifest_done(&m);
}

static void children_of_other_algorithms_are_left_out(void **state)
{
    (void)state;
    struct manifest m;
    assert_int_equal(parse("{\"layers\":[{\"digest\":\"sha512:" HEX128 "\"},{\"digest\":\"" A
                           "\"}],\"subject\":{\"digest\":\"sha512:" HEX128 "\"}}",
                           &m, NULL),
                     0);
    assert_int_equal(m.child_count, 1);
    assert_int_equal(m.children[0].digest.bytes[0], 0xaa);
    assert_false(m.has_subject);
    manifest_done(&m);
}

static void content_types_in_their_order(void **state)
{
    (void)state;
    struct manifest m = {.media_type = DOCKER_MANIFEST};
    assert_string_equal(manifest_content_type(&m, OCI_INDEX), DOCKER_MANIFEST);
    m.media_type[0] = 0;
    assert_string_equal(manifest_content_type(&m, DOCKER_LIST), DOCKER_LIST);
    assert_string_equal(manifest_content_type(&m, ""), OCI_MANIFEST);
    assert_string_equal(manifest_content_type(&m, NULL), OCI_MANIFEST);
    m.is_index = true;
    assert_string_equal(manifest_content_type(&m, NULL), OCI_INDEX);
}

static void media_types(void **state)
{
    (void)state;
    assert_true(media_type_is_manifest(OCI_MANIFEST));
    assert_true(media_type_is_manifest(OCI_INDEX));
    assert_true(media_type_is_manifest(DOCKER_MANIFEST));
    assert_true(media_type_is_manifest(DOCKER_LIST));
    assert_false(media_type_is_manifest("application/vnd.oci.image.config.v1+json"));
    assert_false(media_type_is_manifest(""));
    assert_true(media_type_is_index(DOCKER_LIST));
    assert_false(media_type_is_index(OCI_MANIFEST));
    assert_true(media_type_is_config("application/vnd.docker.container.image.v1+json"));
    assert_true(media_type_is_config("application/vnd.oci.image.config.v1+json"));
    assert_false(media_type_is_config("application/vnd.cncf.helm.config.v1+json"));
    assert_true(media_type_is_layer("application/vnd.oci.image.layer.v1.tar"));
    assert_true(media_type_is_layer("application/vnd.docker.image.rootfs.diff.tar.gzip"));
    assert_false(media_type_is_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
    assert_false(media_type_is_layer("application/vnd.oci.image.layer.nondistributable.v1.tar"));
    assert_false(media_type_is_layer(""));
    assert_false(media_type_is_sane(""));
    assert_false(media_type_is_sane("a"));
    assert_false(media_type_is_sane("a/b\r\nX: y"));
    assert_false(media_type_is_sane("a/b c"));
    char longest[MEDIA_TYPE_BYTES + 1];
    memset(longest, '/', sizeof longest);
    longest[MEDIA_TYPE_BYTES] = 0;
    assert_false(media_type_is_sane(longest));
    longest[MEDIA_TYPE_BYTES - 1] = 0;
    assert_true(media_type_is_sane(longest));
}

static void a_media_type_with_a_line_end_counts_as_absent(void **state)
{
    (void)state;
    struct manifest m;
    assert_int_equal(parse("{\"layers\":[],\"mediaType\":\"a/b\\r\\nSet-Cookie: x\"}", &m, NULL),
                     0);
    assert_string_equal(m.media_type, "");
    manifest_done(&m);
}

static void allocation_failures_leave_nothing_behind(void **state)
{
    (void)state;
    int r = -1;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct manifest m = {0};
        r = parse(image, &m, NULL);
        assert_true(r == 0 || r == -ENOMEM);
        manifest_done(&m);
    });
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_manifest_names_config_and_layers),
        cmocka_unit_test(an_index_names_manifests),
        cmocka_unit_test(documents_that_are_no_manifests),
        cmocka_unit_test(an_escaped_backslash_before_u0000_is_no_nul),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(children_of_other_algorithms_are_left_out),
        cmocka_unit_test(content_types_in_their_order),
        cmocka_unit_test(media_types),
        cmocka_unit_test(a_media_type_with_a_line_end_counts_as_absent),
        cmocka_unit_test(allocation_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
