#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/address.h"
#include "io/udp.h"

struct pair {
    struct loop *loop;
    struct udp *a, *b;
    struct timer end;
    unsigned got;
    uint8_t last[3000];
    size_t last_bytes;
    union address from;
    bool free_on_receive, echo;
};

static void stop(void *arg)
{
    loop_stop(((struct pair *)arg)->loop);
}

static void received(void *arg, const struct sockaddr *from, const uint8_t *bytes, size_t n)
{
    struct pair *p = arg;
    p->got++;
    memcpy(p->last, bytes, n);
    p->last_bytes = n;
    memcpy(&p->from, from, address_length(from));
    if (p->echo) {
        p->echo = false;
        assert_int_equal(udp_send(p->b, from, bytes, n), 0);
    }
    if (p->free_on_receive) {
        udp_free(p->b);
        p->b = NULL;
    }
}

static void pair_open(struct pair *p, const char *a, const char *b)
{
    *p = (struct pair){0};
    struct error err = {.text = ""};
    assert_int_equal(loop_new(&p->loop), 0);
    timer_init(&p->end, p->loop, stop, p);
    assert_int_equal(udp_new(p->loop, a, received, p, &p->a, &err), 0);
    assert_int_equal(udp_new(p->loop, b, received, p, &p->b, &err), 0);
}

static void pair_run(struct pair *p, uint64_t ms)
{
    assert_int_equal(timer_start(&p->end, ms), 0);
    loop_run(p->loop);
}

static void pair_close(struct pair *p)
{
    udp_free(p->a);
    udp_free(p->b);
    loop_free(p->loop);
}

static union address to_port(const char *host, uint16_t port)
{
    union address a;
    char text[ADDRESS_TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "%s:%u", host, port);
    assert_int_equal(address_parse(text, &a), 0);
    return a;
}

static void datagrams_arrive_and_can_be_answered(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"},
        {":0", ":0", "127.0.0.1"}, /* IPv4 through a dual-stack socket */
        {":0", ":0", "[::1]"},
        {"127.0.0.1:0", ":0", "127.0.0.1"},
        {"[::1]:0", "[::1]:0", "[::1]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pair p;
        pair_open(&p, rows[i][0], rows[i][1]);
        union address to = to_port(rows[i][2], udp_port(p.b));
        p.echo = true;
        assert_int_equal(udp_send(p.a, &to.sa, (const uint8_t *)"hello", 5), 0);
        pair_run(&p, 20);
        assert_int_equal(p.got, 2); /* b's, and a's of the echo */
        assert_int_equal(p.last_bytes, 5);
        assert_memory_equal(p.last, "hello", 5);
        assert_int_equal(udp_counters(p.a)->sent, 1);
        assert_int_equal(udp_counters(p.a)->received, 1);
        char text[ADDRESS_TEXT_BYTES], expected[ADDRESS_TEXT_BYTES];
        address_format(&p.from.sa, text);
        address_format(&to.sa, expected);
        assert_string_equal(text, expected);
        pair_close(&p);
    }
}

static void bursts_are_sent_in_batches_up_to_a_cap(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    union address to = to_port("127.0.0.1", udp_port(p.b));
    uint8_t bytes[100] = {7};
    for (int i = 0; i < LIMIT_UDP_QUEUE; i++) {
        assert_int_equal(udp_send(p.a, &to.sa, bytes, sizeof(bytes)), 0);
    }
    assert_int_equal(udp_send(p.a, &to.sa, bytes, sizeof(bytes)), -ENOBUFS);
    pair_run(&p, 100);
    assert_int_equal(udp_counters(p.a)->sent, LIMIT_UDP_QUEUE);
    assert_int_equal(udp_counters(p.a)->dropped_queue, 1);
    assert_true(p.got > 100); /* the rest only if the receive buffer was large enough */
    pair_close(&p);
}

static void oversized_datagrams_are_dropped_and_counted(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    union address to = to_port("127.0.0.1", udp_port(p.b));
    static uint8_t bytes[3000];
    assert_int_equal(udp_send(p.a, &to.sa, bytes, 2049), -EINVAL);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(sendto(fd, bytes, 2049, 0, &to.sa, sizeof(to.in4)), 2049);
    assert_int_equal(sendto(fd, bytes, 2048, 0, &to.sa, sizeof(to.in4)), 2048);
    assert_int_equal(sendto(fd, bytes, 0, 0, &to.sa, sizeof(to.in4)), 0);
    pair_run(&p, 20);
    assert_int_equal(udp_counters(p.b)->oversized, 1);
    assert_int_equal(udp_counters(p.b)->received, 2);
    (void)close(fd);
    pair_close(&p);
}

static void a_destination_that_cannot_be_reached_does_not_stop_the_others(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    union address to = to_port("127.0.0.1", udp_port(p.b)), v6 = to_port("[::1]", 9);
    union address broadcast = to_port("255.255.255.255", 9); /* EACCES */
    assert_int_equal(udp_send(p.a, &v6.sa, (const uint8_t *)"x", 1), -EINVAL);
    assert_int_equal(udp_send(p.a, &broadcast.sa, (const uint8_t *)"x", 1), 0);
    assert_int_equal(udp_send(p.a, &to.sa, (const uint8_t *)"y", 1), 0);
    pair_run(&p, 20);
    assert_int_equal(udp_counters(p.a)->send_errors, 1);
    assert_int_equal(p.got, 1);
    pair_close(&p);
}

static void the_receiver_may_free_the_socket(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    union address to = to_port("127.0.0.1", udp_port(p.b));
    p.free_on_receive = true;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(udp_send(p.a, &to.sa, (const uint8_t *)"x", 1), 0);
    }
    pair_run(&p, 20);
    assert_int_equal(p.got, 1);
    pair_close(&p);
}

static void what_was_queued_last_still_leaves_when_the_socket_is_freed(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    union address to = to_port("127.0.0.1", udp_port(p.b));
    assert_int_equal(udp_send(p.a, &to.sa, (const uint8_t *)"farewell", 8), 0);
    udp_free(p.a);
    p.a = NULL;
    pair_run(&p, 20);
    assert_int_equal(p.got, 1);
    pair_close(&p);
}

static void addresses_that_cannot_be_bound_are_named(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    char taken[ADDRESS_TEXT_BYTES];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", udp_port(p.a));
    struct udp *u = NULL;
    struct error err;
    assert_int_equal(udp_new(p.loop, taken, received, &p, &u, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, taken));
    assert_int_equal(udp_new(p.loop, "nonsense", received, &p, &u, &err), -EINVAL);
    assert_null(u);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        if (udp_new(p.loop, "127.0.0.1:0", received, &p, &u, NULL) == 0) {
            (void)udp_send(u, &p.from.sa, (const uint8_t *)"x", 1);
            udp_free(u);
        }
    });
    pair_run(&p, 1);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_arrive_and_can_be_answered),
        cmocka_unit_test(bursts_are_sent_in_batches_up_to_a_cap),
        cmocka_unit_test(oversized_datagrams_are_dropped_and_counted),
        cmocka_unit_test(a_destination_that_cannot_be_reached_does_not_stop_the_others),
        cmocka_unit_test(the_receiver_may_free_the_socket),
        cmocka_unit_test(what_was_queued_last_still_leaves_when_the_socket_is_freed),
        cmocka_unit_test(addresses_that_cannot_be_bound_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
