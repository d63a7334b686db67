#include <errno.h>
#include <string.h>

#include "oci/digest.h"
#include "support.h"

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEX128 HEX HEX

static void digests_parse_by_the_grammar(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        {"sha256:" HEX, 0},
        {"sha256:" HEX "0", -EINVAL},
        {"sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL},
        {"sha256:ba7816", -EINVAL},
        {"sha256:", -EINVAL},
        {"sha256", -EINVAL},
        {"", -EINVAL},
        {":" HEX, -EINVAL},
        {" sha256:" HEX, -EINVAL},
        {"sha512:" HEX128, -ENOTSUP},
        {"sha512:" HEX, -EINVAL},
        {"sha512:" HEX "ZZ7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL},
        {"sha384:abc", -ENOTSUP},
        {"blake3+b64u.x:Ab_-=", -ENOTSUP},
        {"a+:abc", -EINVAL},
        {"+a:abc", -EINVAL},
        {"a++b:abc", -EINVAL},
        {"SHA256:" HEX, -EINVAL},
        {"other:a b", -EINVAL},
        {"other:", -EINVAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct digest d;
        int r = digest_parse(rows[i].text, strlen(rows[i].text), &d);
        if (r != rows[i].result) {
            fail_msg("\"%s\" gave %d", rows[i].text, r);
        }
    }
}

static void a_digest_is_read_only_as_far_as_it_was_given(void **state)
{
    (void)state;
    struct digest d;
    assert_int_equal(digest_parse("sha256:" HEX "/and more", 71, &d), 0);
    assert_int_equal(digest_parse_hex(HEX "x", 64, &d), 0);
    assert_int_equal(digest_parse_hex(HEX, 63, &d), -EINVAL);
    assert_int_equal(digest_parse_hex("", 0, &d), -EINVAL);
}

static void formatting_gives_the_text_back(void **state)
{
    (void)state;
    struct digest d, again;
    char text[DIGEST_TEXT_BYTES], hex[DIGEST_HEX_BYTES];
    digest_of("abc", 3, &d);
    digest_format(&d, text);
    digest_format_hex(&d, hex);
    assert_string_equal(text, "sha256:" HEX);
    assert_string_equal(hex, HEX);
    assert_int_equal(digest_parse(text, strlen(text), &again), 0);
    assert_true(digest_equal(&d, &again));
    again.bytes[31] ^= 1;
    assert_false(digest_equal(&d, &again));
}

/* FIPS 180-4's examples, fed in pieces. */
static void hashing_in_pieces_is_hashing_at_once(void **state)
{
    (void)state;
    static const char *const message = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    struct digest whole, pieces;
    char hex[DIGEST_HEX_BYTES];
    for (size_t cut = 0; cut <= strlen(message); cut++) {
        struct digester *d = digester_new();
        assert_non_null(d);
        digester_update(d, message, cut);
        digester_update(d, message + cut, strlen(message) - cut);
        digester_final(d, &pieces);
        digest_of(message, strlen(message), &whole);
        assert_true(digest_equal(&whole, &pieces));
    }
    digest_format_hex(&whole, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    digester_free(digester_new());
    digester_free(NULL);
}

static void a_digester_without_memory_is_null(void **state)
{
    (void)state;
    support_fail_allocation(1);
    struct digester *d = digester_new();
    support_fail_allocation(0);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_parse_by_the_grammar),
        cmocka_unit_test(a_digest_is_read_only_as_far_as_it_was_given),
        cmocka_unit_test(formatting_gives_the_text_back),
        cmocka_unit_test(hashing_in_pieces_is_hashing_at_once),
        cmocka_unit_test(a_digester_without_memory_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
