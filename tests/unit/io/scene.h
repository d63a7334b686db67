/* scene.h - a loop in the test's thread and a client in another, talking over real sockets.
 *
 * The client uses EXPECT, never cmocka's assertions: those jump, and must not between threads. */
#pragma once

#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "io/loop.h"

struct scene {
    struct loop *loop;
    uint16_t port;
    void (*client)(struct scene *s);
    const char *failure; /* the first EXPECT that did not hold */
    int failure_line;
    int done_pipe[2];
    struct poll *done_poll;
    void *arg;
};

#define EXPECT(expression)                                                                         \
    do {                                                                                           \
        if (!(expression) && !scene->failure) {                                                    \
            scene->failure = #expression;                                                          \
            scene->failure_line = __LINE__;                                                        \
        }                                                                                          \
    } while (0)

static inline void *scene_thread(void *arg)
{
    struct scene *scene = arg;
    scene->client(scene);
    EXPECT(write(scene->done_pipe[1], "x", 1) == 1);
    return NULL;
}

static inline void scene_done(void *arg, int events)
{
    (void)events;
    struct scene *scene = arg;
    loop_stop(scene->loop);
}

/* Runs the loop until `client` returns, in its own thread. False: no memory for that. */
static inline bool scene_run(struct scene *scene, void (*client)(struct scene *s))
{
    pthread_t thread;
    (void)signal(SIGPIPE, SIG_IGN);
    scene->client = client;
    scene->failure = NULL;
    assert_int_equal(pipe(scene->done_pipe), 0);
    bool ran = false;
    if (poll_new(scene->loop, scene->done_pipe[0], scene_done, scene, &scene->done_poll) == 0) {
        assert_int_equal(poll_set(scene->done_poll, POLL_READABLE), 0);
        assert_int_equal(pthread_create(&thread, NULL, scene_thread, scene), 0);
        loop_run(scene->loop);
        assert_int_equal(pthread_join(thread, NULL), 0);
        poll_free(scene->done_poll);
        ran = true;
    }
    (void)close(scene->done_pipe[0]);
    (void)close(scene->done_pipe[1]);
    if (scene->failure) {
        fail_msg("client, line %d: %s", scene->failure_line, scene->failure);
    }
    return ran;
}

static inline uint64_t scene_now_ms(void)
{
    return clock_now_us() / 1000;
}

static inline void scene_sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* A connection from 127.0.0.1, or from `from` (another loopback address), with a time-out. */
static inline int scene_connect(const struct scene *scene, const char *from)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 10};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    struct sockaddr_in a = {.sin_family = AF_INET};
    if (from) {
        a.sin_addr.s_addr = inet_addr(from);
        (void)bind(fd, (struct sockaddr *)&a, sizeof(a));
    }
    a.sin_port = htons(scene->port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static inline void scene_send(struct scene *scene, int fd, const char *text)
{
    size_t n = strlen(text);
    EXPECT(send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n);
}

/* All until the end; -1 with errno when it is not a FIN. NUL-terminated. */
static inline ssize_t scene_read_to_end(int fd, char *out, size_t out_bytes)
{
    size_t got = 0;
    for (;;) {
        ssize_t n = recv(fd, out + got, out_bytes - 1 - got, 0);
        if (n < 0) {
            out[got] = 0;
            return -1;
        }
        if (n == 0 || got + (size_t)n + 1 >= out_bytes) {
            got += (size_t)n;
            out[got] = 0;
            return (ssize_t)got;
        }
        got += (size_t)n;
    }
}

/* One response with Content-Length (head only: without its body), NUL-terminated. Its length, or
 * -1 when the connection ended before. */
static inline ssize_t scene_read_response(int fd, char *out, size_t out_bytes, bool head_only)
{
    size_t got = 0, want = 0;
    while (want == 0 || got < want) {
        /* Byte by byte in the head, so that nothing of the next response is taken. */
        size_t part = want ? want - got : 1;
        if (got + part >= out_bytes) {
            return -1;
        }
        ssize_t n = recv(fd, out + got, part, 0);
        if (n <= 0) {
            return -1;
        }
        got += (size_t)n;
        out[got] = 0;
        if (!want && got >= 4 && memcmp(out + got - 4, "\r\n\r\n", 4) == 0) {
            const char *length = strstr(out, "Content-Length: ");
            want = got + (length && !head_only ? strtoul(length + 16, NULL, 10) : 0);
        }
    }
    return (ssize_t)got;
}
