#include "support.h"

#include <string.h>

#include "cluster/self.h"

static const struct gossip_addr nothing[2];

static void what_is_given_beats_what_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *advertise[3];
        const char *router_host, *pod_ips;
        const char *want[2];
    } rows[] = {
        {{"10.0.0.1", "fd00::1"}, "10.0.0.9", "10.0.0.8", {"10.0.0.1", "fd00::1"}},
        {{NULL}, "10.0.0.9", "10.0.0.8", {"10.0.0.9", NULL}},
        /* A family that one source lacks comes from the next. */
        {{"10.0.0.1"}, "", "10.0.0.8,fd00::8", {"10.0.0.1", "fd00::8"}},
        {{NULL}, "", "10.0.0.8,fd00::8", {"10.0.0.8", "fd00::8"}},
        /* Nothing that cannot be anybody's address. */
        {{NULL}, "", "fe80::1,224.0.0.1,0.0.0.0,nonsense,,10.0.0.8", {"10.0.0.8", NULL}},
        {{NULL}, "", NULL, {NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = 0, want = 0;
        while (rows[i].advertise[count]) {
            count++;
        }
        struct self_config config = {.advertise = rows[i].advertise,
                                     .advertise_count = count,
                                     .router_host = rows[i].router_host,
                                     .pod_ips = rows[i].pod_ips};
        struct gossip_addr found[2] = {0};
        size_t n = self_addresses(&config, nothing, NULL, 0, found);
        for (; want < 2 && rows[i].want[want]; want++) {
            struct gossip_addr expected;
            assert_int_equal(gossip_addr_parse_ip(rows[i].want[want], 0, &expected), 0);
            assert_true(gossip_addr_same_host(&expected, &found[want]));
        }
        assert_int_equal(n, want);
    }
}

static void the_kernel_is_asked_towards_a_bootstrap_address(void **state)
{
    (void)state;
    union address loopback;
    assert_int_equal(address_parse("127.0.0.1:5001", &loopback), 0);
    struct self_config config = {.router_host = ""};
    struct gossip_addr found[2] = {0};
    assert_int_equal(self_addresses(&config, nothing, &loopback, 1, found), 1);
    assert_true(gossip_addr_is_loopback(&found[0]));
}

static struct gossip_addr ip(const char *text)
{
    struct gossip_addr addr;
    assert_int_equal(gossip_addr_parse_ip(text, 0, &addr), 0);
    return addr;
}

/* On a host with several addresses the answer must not depend on whom bootstrap names first. */
static void what_was_chosen_stays_while_the_host_has_it(void **state)
{
    (void)state;
    union address to[2];
    assert_int_equal(address_parse("127.0.0.1:5001", &to[0]), 0);
    assert_int_equal(address_parse("127.0.0.2:5001", &to[1]), 0);
    struct self_config config = {.router_host = ""};
    struct gossip_addr known[2] = {ip("127.0.0.1")}, found[2] = {0};
    assert_int_equal(self_addresses(&config, known, to, 2, found), 1);
    assert_true(gossip_addr_same_host(&found[0], &known[0]));
    /* Nothing was named: it stays all the same. */
    assert_int_equal(self_addresses(&config, known, NULL, 0, found), 1);
    /* One that is not of this host any more is chosen anew, or unknown. */
    known[0] = ip("192.0.2.77");
    assert_int_equal(self_addresses(&config, known, to, 2, found), 1);
    assert_true(gossip_addr_is_loopback(&found[0]));
    memset(found, 0, sizeof found);
    assert_int_equal(self_addresses(&config, known, NULL, 0, found), 0);
    /* What is configured needs not be of this host: it may be translated. */
    static const char *const advertise[] = {"192.0.2.77"};
    config.advertise = advertise;
    config.advertise_count = 1;
    assert_int_equal(self_addresses(&config, nothing, to, 2, found), 1);
    assert_true(gossip_addr_same_host(&found[0], &known[0]));
}

static void ipv4_stands_first_whatever_came_first(void **state)
{
    (void)state;
    struct self_config config = {.router_host = "", .pod_ips = "fd00::8,10.0.0.8"};
    struct gossip_addr found[2] = {0}, four = ip("10.0.0.8"), six = ip("fd00::8");
    assert_int_equal(self_addresses(&config, nothing, NULL, 0, found), 2);
    assert_true(gossip_addr_same_host(&found[0], &four));
    assert_true(gossip_addr_same_host(&found[1], &six));
}

/* The host's own name often resolves to loopback: not what others should be told, if there is
 * anything else, and never beside it. */
static void loopback_is_the_last_resort(void **state)
{
    (void)state;
    union address to;
    assert_int_equal(address_parse("127.0.0.1:5001", &to), 0);
    struct self_config config = {.router_host = "", .pod_ips = "fd00::8"};
    struct gossip_addr known[2] = {ip("127.0.0.1")}, found[2] = {0}, six = ip("fd00::8");
    assert_int_equal(self_addresses(&config, known, &to, 1, found), 1);
    assert_true(gossip_addr_same_host(&found[0], &six));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_beats_what_is_found),
        cmocka_unit_test(the_kernel_is_asked_towards_a_bootstrap_address),
        cmocka_unit_test(what_was_chosen_stays_while_the_host_has_it),
        cmocka_unit_test(ipv4_stands_first_whatever_came_first),
        cmocka_unit_test(loopback_is_the_last_resort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
