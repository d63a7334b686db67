#include "support.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/pacing.h"

#define ALWAYS_NEAR 10000000
#define NEVER_NEAR 0

static int listening_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static void congestion_of(int fd, char *ret_name)
{
    socklen_t n = PACING_NAME_BYTES;
    memset(ret_name, 0, PACING_NAME_BYTES + 1);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, ret_name, &n), 0);
}

/* Connects to a listener that began with `name`; tells what pacing_avoid remembered and what the
 * accepted connection has in the end. False: this kernel has no such congestion control. */
static bool accepted_with(const char *name, uint32_t near_us, char *ret_default, char *ret_name)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int listener = listening_socket();
    if (setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0) {
        (void)close(listener);
        return false;
    }
    pacing_avoid(listener, ret_default);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    int client = listening_socket();
    assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    pacing_accepted(fd, ret_default, near_us);
    congestion_of(fd, ret_name);
    (void)close(fd);
    (void)close(client);
    (void)close(listener);
    return true;
}

static void a_neighbour_is_not_paced_where_the_host_paces(void **state)
{
    (void)state;
    char host_default[PACING_NAME_BYTES], name[PACING_NAME_BYTES + 1];
    if (!accepted_with("bbr", ALWAYS_NEAR, host_default, name)) {
        skip();
    }
    assert_string_equal(host_default, "bbr");
    assert_true(strcmp(name, "cubic") == 0 || strcmp(name, "reno") == 0);
}

static void a_distant_client_keeps_what_the_host_chose(void **state)
{
    (void)state;
    char host_default[PACING_NAME_BYTES], name[PACING_NAME_BYTES + 1];
    if (!accepted_with("bbr", NEVER_NEAR, host_default, name)) {
        skip();
    }
    assert_string_equal(name, "bbr");
}

static void a_host_that_does_not_pace_is_left_alone(void **state)
{
    (void)state;
    char host_default[PACING_NAME_BYTES], name[PACING_NAME_BYTES + 1];
    assert_true(accepted_with("reno", NEVER_NEAR, host_default, name));
    assert_string_equal(host_default, "");
    assert_string_equal(name, "reno");
}

static void a_descriptor_that_is_no_tcp_socket_is_left_alone(void **state)
{
    (void)state;
    char host_default[PACING_NAME_BYTES];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    pacing_avoid(fd, host_default);
    assert_string_equal(host_default, "");
    pacing_accepted(fd, host_default, NEVER_NEAR);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_neighbour_is_not_paced_where_the_host_paces),
        cmocka_unit_test(a_distant_client_keeps_what_the_host_chose),
        cmocka_unit_test(a_host_that_does_not_pace_is_left_alone),
        cmocka_unit_test(a_descriptor_that_is_no_tcp_socket_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
