#include "support.h"

#include <errno.h>
#include <string.h>

#include "io/address.h"

static void numeric_addresses_are_read_and_printed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed; /* NULL: refused */
    } rows[] = {
        {"1.2.3.4:5", "1.2.3.4:5"},
        {"[::1]:5000", "[::1]:5000"},
        {"[fe80:0:0::1]:65535", "[fe80::1]:65535"},
        {"[::ffff:10.0.0.1]:80", "10.0.0.1:80"}, /* what a dual-stack socket sees */
        {"1.2.3.4", NULL},
        {"1.2.3.4:", NULL},
        {"1.2.3.4:65536", NULL},
        {"1.2.3.4:5x", NULL},
        {"1.2.3.4:-5", NULL},
        {"1.2.3:5", NULL},
        {"::1:5000", NULL},
        {"[::1]", NULL},
        {"[::1]5000", NULL},
        {"[::1:5000", NULL},
        {"[1.2.3.4]:5", NULL},
        {"[]:5", NULL},
        {":5", NULL},
        {"host:5", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        union address a;
        char text[ADDRESS_TEXT_BYTES];
        int r = address_parse(rows[i].text, &a);
        if (r != (rows[i].printed ? 0 : -EINVAL)) {
            fail_msg("%s: %d", rows[i].text, r);
        }
        if (r == 0) {
            address_format(&a.sa, text);
            assert_string_equal(text, rows[i].printed);
        }
    }
}

static void host_and_port_are_split_without_resolving(void **state)
{
    (void)state;
    char host[16];
    uint16_t port = 0;
    struct error err;
    assert_int_equal(address_split("node-1:5000", host, sizeof(host), &port, &err), 0);
    assert_string_equal(host, "node-1");
    assert_int_equal(port, 5000);
    assert_int_equal(address_split(":0", host, sizeof(host), &port, &err), 0);
    assert_string_equal(host, "");
    assert_int_equal(address_split("[::]:1", host, sizeof(host), &port, &err), 0);
    assert_string_equal(host, "::");
    assert_int_equal(address_split("a-name-much-too-long:1", host, sizeof(host), &port, &err),
                     -EINVAL);
    assert_int_equal(address_split("localhost", host, sizeof(host), &port, &err), -EINVAL);
    assert_non_null(strstr(err.text, "\"localhost\""));
}

static union address parse(const char *text)
{
    union address a;
    assert_int_equal(address_parse(text, &a), 0);
    return a;
}

static void hosts_compare_across_families_and_without_ports(void **state)
{
    (void)state;
    union address v4 = parse("10.0.0.1:1"), other = parse("10.0.0.2:1");
    union address mapped = parse("[::ffff:10.0.0.1]:2"), v6 = parse("[fd00::1]:1");
    assert_true(address_equal_host(&v4.sa, &mapped.sa));
    assert_false(address_equal_host(&v4.sa, &other.sa));
    assert_false(address_equal_host(&v4.sa, &v6.sa));
    assert_int_equal(address_length(&v4.sa), sizeof(struct sockaddr_in));
    assert_int_equal(address_length(&v6.sa), sizeof(struct sockaddr_in6));
}

static void loopback_and_own_addresses_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool loopback, own;
    } rows[] = {
        {"127.0.0.1:1", true, true},       {"127.9.9.9:1", true, true},
        {"[::1]:1", true, true},           {"[::ffff:127.0.0.1]:1", true, true},
        {"192.0.2.77:1", false, false}, /* TEST-NET-1 */
        {"[2001:db8::7]:1", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        union address a = parse(rows[i].text);
        assert_int_equal(address_is_loopback(&a.sa), rows[i].loopback);
        assert_int_equal(address_is_own(&a.sa), rows[i].own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numeric_addresses_are_read_and_printed),
        cmocka_unit_test(host_and_port_are_split_without_resolving),
        cmocka_unit_test(hosts_compare_across_families_and_without_ports),
        cmocka_unit_test(loopback_and_own_addresses_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
