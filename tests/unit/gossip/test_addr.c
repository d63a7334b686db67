#include "support.h"

#include "gossip/addr.h"

#include <errno.h>
#include <string.h>

static struct gossip_addr parsed(const char *text)
{
    struct gossip_addr a = {0};
    assert_int_equal(gossip_addr_parse_ip(text, 5001, &a), 0);
    return a;
}

static void addresses_that_can_be_nobodys_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool unusable, loopback;
    } rows[] = {
        {"10.0.0.1", false, false},
        {"127.0.0.1", false, true},
        {"127.9.9.9", false, true},
        {"0.0.0.0", true, false},
        {"224.0.0.1", true, false},
        {"255.255.255.255", true, false},
        {"169.254.1.1", true, false},
        {"192.168.1.1", false, false},
        {"2001:db8::1", false, false},
        {"fd00::1", false, false},
        {"::1", false, true},
        {"::", true, false},
        {"fe80::1", true, false},
        {"febf::1", true, false},
        {"fec0::1", false, false},
        {"ff02::1", true, false},
        {"::ffff:10.0.0.1", true, false}, /* an IPv4 address in disguise */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gossip_addr a = parsed(rows[i].text);
        assert_int_equal(gossip_addr_is_unusable(&a), rows[i].unusable);
        assert_int_equal(gossip_addr_is_loopback(&a), rows[i].loopback);
    }
    struct gossip_addr none = {0};
    assert_true(gossip_addr_is_unusable(&none));
}

static void addresses_print_as_people_write_them(void **state)
{
    (void)state;
    char text[GOSSIP_ADDR_TEXT_BYTES];
    struct gossip_addr v4 = parsed("10.1.2.3"), v6 = parsed("2001:db8::7"), none = {0};
    assert_string_equal(gossip_addr_format(&v4, text), "10.1.2.3:5001");
    assert_string_equal(gossip_addr_format(&v6, text), "[2001:db8::7]:5001");
    assert_string_equal(gossip_addr_format(&none, text), "none");
    assert_int_equal(gossip_addr_parse_ip("10.1.2", 1, &none), -EINVAL);
    assert_int_equal(gossip_addr_parse_ip("example.org", 1, &none), -EINVAL);
    assert_int_equal(none.family, GOSSIP_NO_ADDR);
}

static void equality_counts_port_and_family(void **state)
{
    (void)state;
    struct gossip_addr a = parsed("10.0.0.1"), b = parsed("10.0.0.1"), c = parsed("10.0.0.2");
    assert_true(gossip_addr_equal(&a, &b));
    b.port = 1;
    assert_false(gossip_addr_equal(&a, &b));
    assert_true(gossip_addr_same_host(&a, &b));
    assert_false(gossip_addr_same_host(&a, &c));
}

static void ids_survive_being_written_down(void **state)
{
    (void)state;
    char text[GOSSIP_ID_TEXT_BYTES];
    uint64_t id = 0;
    assert_string_equal(gossip_id_format(0x0123456789ab, text), "0123456789ab");
    assert_int_equal(gossip_id_parse(text, &id), 0);
    assert_int_equal(id, 0x0123456789ab);
    static const char *const wrong[] = {"",
                                        "0123456789a",
                                        "0123456789abc",
                                        "0123456789aG",
                                        "0123456789AB",
                                        "000000000000",
                                        "../../etc/pa"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(gossip_id_parse(wrong[i], &id), -EINVAL);
    }
    assert_int_equal(id, 0x0123456789ab);
}

static void ids_depend_on_label_and_randomness(void **state)
{
    (void)state;
    uint64_t a = gossip_id_make("one", (const uint8_t *)"random", 6);
    assert_int_equal(a, gossip_id_make("one", (const uint8_t *)"random", 6));
    assert_true(a != gossip_id_make("two", (const uint8_t *)"random", 6));
    assert_true(a != gossip_id_make("one", (const uint8_t *)"rundom", 6));
    assert_true(a != 0 && a >> 48 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_that_can_be_nobodys_are_refused),
        cmocka_unit_test(addresses_print_as_people_write_them),
        cmocka_unit_test(equality_counts_port_and_family),
        cmocka_unit_test(ids_survive_being_written_down),
        cmocka_unit_test(ids_depend_on_label_and_randomness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
