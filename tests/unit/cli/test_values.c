#include "support.h"

#include <errno.h>
#include <string.h>

#include "cli/peer.h"
#include "cli/values.h"

static void durations_are_those_of_go(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = {
        {"20ms", 20},
        {"2s", 2000},
        {"15m", 900000},
        {"1m30s", 90000},
        {"1.5h", 5400000},
        {"0", 0},
        {"0s", 0},
        {".5s", 500},
        {"1h0m0.25s", 3600250},
        {"500us", 1},
        {"1ns", 1},
        {"1500\xc2\xb5s", 2},
        {"3\xce\xbcs", 1},
        {"1.s", 1000},
        {"0.1234567890s", 124},
        /* refused */
        {"", -1},
        {"2", -1},
        {"s", -1},
        {".s", -1},
        {"2 s", -1},
        {"-2s", -1},
        {"+2s", -1},
        {"2d", -1},
        {"2sx", -1},
        {"2s ", -1},
        {"1e3s", -1},
        {"9223372036855s", -1},
        {"99999999999999999999h", -1},
        {"9999999h", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t ms = 77;
        int r = value_duration_ms(rows[i].text, &ms);
        if (rows[i].ms < 0) {
            assert_int_equal(r, -EINVAL);
            assert_int_equal(ms, 77);
        } else {
            assert_int_equal(r, 0);
            assert_int_equal(ms, rows[i].ms);
        }
    }
}

static void booleans_and_counts_are_strict(void **state)
{
    (void)state;
    bool b = false;
    uint64_t n = 5;
    assert_int_equal(value_bool("TRUE", &b), 0);
    assert_true(b);
    assert_int_equal(value_bool("f", &b), 0);
    assert_false(b);
    assert_int_equal(value_bool("yes", &b), -EINVAL);
    assert_int_equal(value_bool("", &b), -EINVAL);
    assert_int_equal(value_count("18446744073709551615", &n), 0);
    assert_true(n == UINT64_MAX);
    static const char *const bad[] = {"", "-1", "+1", "1 ", "0x1", "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(value_count(bad[i], &n), -EINVAL);
    }
}

static void an_address_is_a_host_and_a_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port; /* 0: refused */
    } rows[] = {
        {":5000", "", 5000},
        {"127.0.0.1:1", "127.0.0.1", 1},
        {"example.org:65535", "example.org", 65535},
        {"[::1]:5000", "::1", 5000},
        {"[fd00::1]:80", "fd00::1", 80},
        {"5000", "", 0},
        {"::1:5000", "", 0},         /* an IPv6 literal needs brackets */
        {"[127.0.0.1]:5000", "", 0}, /* and nothing else has them */
        {"[::1]", "", 0},
        {"[::1:5000", "", 0},
        {"a:0", "", 0},
        {"a:65536", "", 0},
        {"a:", "", 0},
        {"a:b", "", 0},
        {"a b:80", "", 0},
        {"a/b:80", "", 0},
        {"", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct host_port a = {.port = 7};
        int r = value_address(rows[i].text, &a);
        assert_int_equal(r, rows[i].port ? 0 : -EINVAL);
        assert_int_equal(a.port, rows[i].port ? rows[i].port : 7);
        if (rows[i].port) {
            assert_string_equal(a.host, rows[i].host);
        }
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    memcpy(longest + 300, ":80", 4);
    struct host_port a;
    assert_int_equal(value_address(longest, &a), -EINVAL);
}

static void a_list_is_one_line_of_csv(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int count; /* -1: refused */
        const char *items[3];
    } rows[] = {
        {"a", 1, {"a"}},
        {"a,b", 2, {"a", "b"}},
        {" \n", 0, {0}},
        {"a,,b,", 2, {"a", "b"}}, /* stray commas make no empty filter */
        {"\"a,b\",c", 2, {"a,b", "c"}},
        {"\"say \"\"x\"\"\"", 1, {"say \"x\""}},
        {"x{1,2}", 2, {"x{1", "2}"}},
        {"\"a", -1, {0}},
        {"\"a\"b", -1, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text_list list = {0};
        int r = value_list(rows[i].text, &list);
        assert_int_equal(r, rows[i].count < 0 ? -EINVAL : 0);
        for (int n = 0; n < rows[i].count; n++) {
            assert_string_equal(list.items[n], rows[i].items[n]);
        }
        if (rows[i].count >= 0) {
            assert_int_equal(list.count, rows[i].count);
        }
        text_list_done(&list);
    }
}

static void a_list_without_memory_leaves_nothing(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct text_list list = {0};
        int r = value_list("a,b,c", &list);
        assert_true(r == 0 ? list.count == 3 : r == -ENOMEM);
        text_list_done(&list);
    });
}

static void a_peer_is_an_address_or_an_old_multiaddr(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port;
    } rows[] = {
        {"10.0.0.1:5001", "10.0.0.1", 5001},
        {"node-1.example:5001", "node-1.example", 5001},
        {"[fd00::1]:5001", "fd00::1", 5001},
        {"/ip4/10.0.0.1/tcp/5001", "10.0.0.1", 5001},
        {"/ip4/10.0.0.1/tcp/5001/p2p/12D3KooWxyz", "10.0.0.1", 5001},
        {"/ip6/fd00::1/tcp/5001/p2p/x", "fd00::1", 5001},
        {"/dns/node-1/tcp/5001", "node-1", 5001},
        {"/dns4/node-1/udp/5001/quic-v1", "node-1", 5001},
        {":5001", "", 0},
        {"10.0.0.1", "", 0},
        {"/ip4/10.0.0.1", "", 0},
        {"/ip4/10.0.0/tcp/5001", "", 0},
        {"/ip6/10.0.0.1/tcp/5001", "", 0},
        {"/ip4/10.0.0.1/tcp/0", "", 0},
        {"/ip4/10.0.0.1/sctp/5001", "", 0},
        {"/unix/x/tcp/1", "", 0},
        {"//tcp/1", "", 0},
        {"/", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct host_port p = {.port = 7};
        struct error err = {0};
        assert_int_equal(peer_parse(rows[i].text, &p, &err), rows[i].port ? 0 : -EINVAL);
        assert_int_equal(p.port, rows[i].port ? rows[i].port : 7);
        if (rows[i].port) {
            assert_string_equal(p.host, rows[i].host);
        } else {
            assert_non_null(strstr(err.text, rows[i].text)); /* the value is named */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_those_of_go),
        cmocka_unit_test(booleans_and_counts_are_strict),
        cmocka_unit_test(an_address_is_a_host_and_a_port),
        cmocka_unit_test(a_list_is_one_line_of_csv),
        cmocka_unit_test(a_list_without_memory_leaves_nothing),
        cmocka_unit_test(a_peer_is_an_address_or_an_old_multiaddr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
