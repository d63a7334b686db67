#include "support.h"

#include "gossip/key.h"

static void a_digest_and_a_tag_never_share_a_key(void **state)
{
    (void)state;
    uint8_t digest[32] = {0xff, 2, 3, 4, 5, 6, 7, 8, 9};
    assert_int_equal(gossip_key_digest(digest), 0x7f02030405060708);
    assert_false(gossip_key_is_tag(gossip_key_digest(digest)));
    uint64_t tag = gossip_key_tag("docker.io/library/alpine:3");
    assert_true(gossip_key_is_tag(tag));
    assert_int_equal(tag, gossip_key_tag("docker.io/library/alpine:3"));
    assert_true(tag != gossip_key_tag("docker.io/library/alpine:4"));
}

static void only_the_first_eight_bytes_of_a_digest_count(void **state)
{
    (void)state;
    uint8_t a[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, b[32] = {1, 2, 3, 4, 5, 6, 7, 8, 10};
    assert_int_equal(gossip_key_digest(a), gossip_key_digest(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_digest_and_a_tag_never_share_a_key),
        cmocka_unit_test(only_the_first_eight_bytes_of_a_digest_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
