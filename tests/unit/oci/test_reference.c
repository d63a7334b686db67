#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/reference.h"
#include "support.h"

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void full_names_come_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *registry, *repository, *tag;
        bool digest;
    } rows[] = {
        {"docker.io/library/busybox:1.36", "docker.io", "library/busybox", "1.36", false},
        {"localhost/a:b", "localhost", "a", "b", false},
        {"localhost:5000/a", "localhost:5000", "a", "", false},
        {"host:5000/a/b/c:_x", "host:5000", "a/b/c", "_x", false},
        {"[fd00::1]:5000/a:v", "[fd00::1]:5000", "a", "v", false},
        {"[::1]/a:v", "[::1]", "a", "v", false},
        {"10.0.0.1:80/a__b/c-d.e---f:V.1-2", "10.0.0.1:80", "a__b/c-d.e---f", "V.1-2", false},
        {"ghcr.io/a@sha256:" HEX, "ghcr.io", "a", "", true},
        {"ghcr.io/a:t@sha256:" HEX, "ghcr.io", "a", "t", true},
        {"my_host.example/a:t", "my_host.example", "a", "t", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reference ref;
        struct error err = {0};
        if (reference_parse(rows[i].text, &ref, &err) != 0) {
            fail_msg("\"%s\": %s", rows[i].text, err.text);
        }
        assert_string_equal(ref.registry, rows[i].registry);
        assert_string_equal(ref.repository, rows[i].repository);
        assert_string_equal(ref.tag, rows[i].tag);
        assert_int_equal(ref.has_digest, rows[i].digest);
    }
}

static void what_is_no_full_name_is_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "busybox",
        "busybox:latest",
        "library/busybox:latest", /* nothing is normalised */
        "docker.io/",
        "docker.io",
        "/a",
        "docker.io//a",
        "docker.io/a/",
        "docker.io/A",
        "docker.io/a:",
        "docker.io/a:-x",
        "docker.io/a:x y",
        "docker.io/a:x:y",
        "docker.io/a___b",
        "docker.io/a..b",
        "docker.io/../b",
        "docker.io/a.",
        "docker.io/.a",
        "docker.io/a/-b",
        "docker.io/a@",
        "docker.io/a@sha256:12",
        "docker.io/a@sha512:" HEX HEX,
        "docker.io/a\n:b",
        "docker..io/a",
        ".docker.io/a",
        "docker.io./a",
        "-docker.io/a",
        "docker-.io/a",
        "host:0/a",
        "host:65536/a",
        "host:/a",
        "host:x/a",
        "[fd00::1/a",
        "[fd00]/a",
        "[fd00::g]/a",
        "[fd00::1]x:5/a",
        ":5000/a",
        "https://docker.io/a:b",
        "sha256:" HEX,
        "docker.io@sha256:" HEX "/a",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reference ref = {.tag = "untouched"};
        struct error err = {0};
        if (reference_parse(rows[i], &ref, &err) != -EINVAL) {
            fail_msg("\"%s\" was taken", rows[i]);
        }
        assert_int_equal(err.code, -EINVAL);
        assert_true(err.text[0]);
        assert_string_equal(ref.tag, "untouched");
        assert_int_equal(reference_parse(rows[i], &ref, NULL), -EINVAL);
    }
}

static void parts_have_their_greatest_lengths(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'a', sizeof text);
    assert_true(reference_is_repository(text, 255));
    assert_false(reference_is_repository(text, 256));
    assert_true(reference_is_tag(text, 128));
    assert_false(reference_is_tag(text, 129));
    assert_true(reference_is_registry(text, 255));
    assert_false(reference_is_registry(text, 256));
    memcpy(text + 255, ":65535", 6);
    assert_true(reference_is_registry(text, 261));
    struct reference ref;
    memset(text, 'a', sizeof text);
    text[1] = '.';
    text[255] = '/';
    text[511] = ':';
    text[540] = 0;
    assert_int_equal(reference_parse(text, &ref, NULL), 0);
    assert_int_equal(strlen(ref.registry), 255);
    assert_int_equal(strlen(ref.repository), 255);
}

static void any_host_may_stand_alone(void **state)
{
    (void)state;
    assert_true(reference_is_registry("myhost", 6));
    assert_false(reference_is_registry("", 0));
    assert_false(reference_is_registry("a b", 3));
    assert_false(reference_is_registry("a/b", 3));
    assert_false(reference_is_repository("", 0));
    assert_false(reference_is_tag("", 0));
}

static void image_ids_are_known_as_such(void **state)
{
    (void)state;
    assert_true(reference_is_image_id("sha256:" HEX));
    assert_false(reference_is_image_id("sha256:" HEX "0"));
    assert_false(reference_is_image_id("docker.io/a:b"));
    assert_false(reference_is_image_id("docker.io/a@sha256:" HEX));
    assert_false(reference_is_image_id(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_names_come_apart),
        cmocka_unit_test(what_is_no_full_name_is_refused_with_a_sentence),
        cmocka_unit_test(parts_have_their_greatest_lengths),
        cmocka_unit_test(any_host_may_stand_alone),
        cmocka_unit_test(image_ids_are_known_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
