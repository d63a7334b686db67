/* socket_server.h - a unix socket's server on the same loop as what is tested: it keeps the last
 * connection, echoes when told to, hangs up when told to. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/loop.h"
#include "support.h"

struct socket_server {
    struct loop *loop;
    char directory[64], path[96];
    int listener, fd;
    struct poll *accepting, *reading;
    unsigned accepted;
    bool hangs_up; /* on each connection, at once */
    void (*received)(struct socket_server *s, const void *bytes, size_t n);
    void *arg;
};

static inline void socket_server_hang_up(struct socket_server *s)
{
    poll_free(s->reading);
    s->reading = NULL;
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    s->fd = -1;
}

static void socket_server_readable(void *arg, int events)
{
    (void)events;
    struct socket_server *s = arg;
    char bytes[65536];
    ssize_t n = recv(s->fd, bytes, sizeof(bytes), 0);
    if (n > 0) {
        s->received(s, bytes, (size_t)n);
    } else if (n == 0) {
        socket_server_hang_up(s);
    }
}

static void socket_server_acceptable(void *arg, int events)
{
    (void)events;
    struct socket_server *s = arg;
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    socket_server_hang_up(s);
    s->accepted++;
    s->fd = fd;
    if (s->hangs_up) {
        socket_server_hang_up(s);
        return;
    }
    assert_int_equal(poll_new(s->loop, fd, socket_server_readable, s, &s->reading), 0);
    assert_int_equal(poll_set(s->reading, POLL_READABLE), 0);
}

static inline void socket_server_init(struct socket_server *s, struct loop *loop)
{
    *s = (struct socket_server){.loop = loop, .listener = -1, .fd = -1};
    strcpy(s->directory, "/tmp/spegel-socket-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    (void)snprintf(s->path, sizeof(s->path), "%s/s.sock", s->directory);
}

static inline void socket_server_start(struct socket_server *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(poll_new(s->loop, s->listener, socket_server_acceptable, s, &s->accepting), 0);
    assert_int_equal(poll_set(s->accepting, POLL_READABLE), 0);
}

/* As a server that dies: its socket's file goes with the next start. */
static inline void socket_server_stop(struct socket_server *s)
{
    socket_server_hang_up(s);
    poll_free(s->accepting);
    s->accepting = NULL;
    if (s->listener >= 0) {
        (void)close(s->listener);
    }
    s->listener = -1;
    (void)unlink(s->path);
}

static inline void socket_server_done(struct socket_server *s)
{
    socket_server_stop(s);
    (void)rmdir(s->directory);
}

static void socket_server_timed_out(void *arg)
{
    loop_stop(arg);
}

/* Turns of the loop until *is is `value` or more, for at most `ms`. Returns how long it took. */
static inline uint64_t socket_server_wait(struct loop *loop, const unsigned *is, unsigned value,
                                          unsigned ms)
{
    uint64_t start_us = clock_now_us();
    while (*is < value && clock_now_us() - start_us < ms * 1000ull) {
        struct timer slice;
        timer_init(&slice, loop, socket_server_timed_out, loop);
        assert_int_equal(timer_start(&slice, 2), 0);
        loop_run(loop);
        timer_stop(&slice);
    }
    return (clock_now_us() - start_us) / 1000;
}
