#include "cluster/key_ring.h"

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 32 bytes of 0, of 1, … of 0x41, and of 0xff, as `base64` prints them. */
#define ZEROS "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ONES "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define AS "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define FFS "//////////////////////////////////////////8="

static int parse(const char *text, struct key_ring *ret_ring, struct error *err)
{
    return key_ring_parse(text, strlen(text), ret_ring, err);
}

static void the_first_key_sends_and_the_rest_follow_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const uint8_t keys[KEY_RING_MAX]; /* every byte of each */
        size_t count;
    } rows[] = {
        {ZEROS, {0}, 1},
        {ZEROS "\n", {0}, 1},
        {AS "\n" FFS "\n", {0x41, 0xff}, 2},
        {ONES "\n" AS "\n" FFS, {1, 0x41, 0xff}, 3},
        {"# to March\n\n" ONES "\n  \t\n#" AS "\n   # and\n" FFS "\n\n", {1, 0xff}, 2},
        {"  " ONES " \t\r\n\t" AS "\r\n", {1, 0x41}, 2},                 /* an editor's doing */
        {ONES "\n" ONES "\n" AS "\n" ONES "\n" FFS, {1, 0x41, 0xff}, 3}, /* again is once */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct key_ring ring;
        struct error err;
        memset(&ring, 0x55, sizeof ring);
        assert_int_equal(parse(rows[i].text, &ring, &err), 0);
        assert_int_equal(ring.count, rows[i].count);
        for (size_t k = 0; k < KEY_RING_MAX; k++) {
            uint8_t key[GOSSIP_KEY_BYTES];
            memset(key, rows[i].keys[k], sizeof key); /* what is not used is zero */
            assert_memory_equal(ring.keys[k], key, sizeof key);
        }
    }
}

static void what_is_no_key_is_refused_by_line_without_showing_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
        int code;
    } rows[] = {
        {"", "there is no key in it", -EINVAL},
        {"\n\n# " ONES "\n", "there is no key in it", -EINVAL},
        {"swordfish", "line 1 is no key", -EINVAL},
        {ONES "\n\nswordfish\n", "line 3 is no key", -EINVAL},
        {ONES " # comment", "line 1 is no key", -EINVAL},
        {ONES " " AS, "line 1 is no key", -EINVAL},
        {"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ", "line 1 is no key", -EINVAL},
        {"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", "line 1 is no key", -EINVAL},
        {"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==", "line 1 is no key", -EINVAL},
        {"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=", "line 1 is no key", -EINVAL}, /* bits */
        {"AQEBAQEBAQEB AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", "line 1 is no key", -EINVAL},
        {"__________________________________________8=", "line 1 is no key", -EINVAL}, /* url */
        {"AQ=BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "line 1 is no key", -EINVAL},
        {ZEROS "\n" ONES "\n" AS "\n# ...\n" FFS "\n", "line 5: more than 3 keys", -E2BIG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct key_ring ring, before;
        struct error err;
        memset(&ring, 0x55, sizeof ring);
        before = ring;
        assert_int_equal(parse(rows[i].text, &ring, &err), rows[i].code);
        assert_memory_equal(&ring, &before, sizeof ring); /* untouched */
        assert_non_null(strstr(err.text, rows[i].sentence));
        assert_null(strstr(err.text, "swordfish"));
        assert_null(strstr(err.text, "AQEB"));
    }
}

static void a_nul_or_any_other_byte_is_no_key(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char text[] = ONES;
        struct key_ring ring;
        text[20] = (char)byte;
        bool letter = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                      (byte >= '0' && byte <= '9') || byte == '+' || byte == '/';
        int r = key_ring_parse(text, sizeof text - 1, &ring, NULL);
        assert_int_equal(r, letter ? 0 : -EINVAL);
    }
    struct key_ring ring;
    assert_int_equal(key_ring_parse(ONES "\0", sizeof ONES, &ring, NULL), -EINVAL);
}

static void fingerprints_tell_keys_apart_and_are_always_the_same(void **state)
{
    (void)state;
    struct key_ring ring;
    char a[KEY_FINGERPRINT_BYTES], b[KEY_FINGERPRINT_BYTES];
    assert_int_equal(parse(ZEROS "\n" ONES, &ring, NULL), 0);
    key_ring_fingerprint(ring.keys[0], a);
    key_ring_fingerprint(ring.keys[1], b);
    assert_string_not_equal(a, b);
    /* printf 'spegel key fingerprint' | openssl mac -digest SHA256 -macopt hexkey:0000… HMAC */
    assert_string_equal(a, "9ea070e0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_key_sends_and_the_rest_follow_in_order),
        cmocka_unit_test(what_is_no_key_is_refused_by_line_without_showing_it),
        cmocka_unit_test(a_nul_or_any_other_byte_is_no_key),
        cmocka_unit_test(fingerprints_tell_keys_apart_and_are_always_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
