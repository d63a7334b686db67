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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_beats_what_is_found),
        cmocka_unit_test(the_kernel_is_asked_towards_a_bootstrap_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
