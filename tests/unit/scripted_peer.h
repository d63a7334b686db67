/* scripted_peer.h - an HTTP server on loopback that fails in the way it is told to, and a blocking
 * client, each on threads of their own, so that the loop under test meets real sockets and real
 * time. The threads allocate nothing. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/address.h"
#include "io/loop.h"
#include "support.h"

enum script {
    SCRIPT_GOOD,
    SCRIPT_SLOW_HEAD,     /* answers after at_ms */
    SCRIPT_FROZEN,        /* takes the request and says nothing */
    SCRIPT_FROZEN_BODY,   /* stops for good after `at` bytes */
    SCRIPT_PAUSES_BODY,   /* stops for at_ms after `at` bytes, then goes on */
    SCRIPT_RESETS,        /* RST after `at` bytes */
    SCRIPT_SHORT,         /* FIN after `at` bytes */
    SCRIPT_CORRUPT,       /* one byte is wrong, the one at `at` */
    SCRIPT_OTHER_LENGTH,  /* claims one byte more than there is */
    SCRIPT_OTHER_TOTAL,   /* its Content-Range names another total */
    SCRIPT_IGNORES_RANGE, /* 200 and all of it */
    SCRIPT_BUSY,
    SCRIPT_ABSENT,
    SCRIPT_GARBAGE,
    SCRIPT_CHUNKED,
    SCRIPT_GZIP,
    SCRIPT_NO_LENGTH,
    SCRIPT_HANGS_UP,     /* closes instead of an answer */
    SCRIPT_OTHER_DIGEST, /* names another Docker-Content-Digest */
    SCRIPT_NO_TYPE,
    SCRIPT_DROPS_KEPT, /* closes each connection a moment after a complete answer */
};

#define SCRIPTED_CONNECTIONS 64

struct scripted_peer {
    _Atomic enum script script;
    _Atomic int64_t at;
    _Atomic unsigned at_ms;
    const char *bytes; /* the content, the caller's */
    int64_t len;
    const char *digest;       /* text for Docker-Content-Digest, NULL: none */
    const char *content_type; /* NULL: application/octet-stream */

    union address address;
    int listener;
    pthread_t thread;
    atomic_bool stopping;
    atomic_int fds[SCRIPTED_CONNECTIONS];
    pthread_t threads[SCRIPTED_CONNECTIONS];
    atomic_uint connections, requests, told;
    _Atomic int64_t bytes_sent;
    pthread_mutex_t lock; /* of last_request */
    char last_request[4096];
};

struct scripted_connection {
    struct scripted_peer *peer;
    unsigned index;
};

static inline bool scripted_send(struct scripted_peer *p, int fd, const char *bytes, int64_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, (size_t)(n < 65536 ? n : 65536), MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        atomic_fetch_add(&p->bytes_sent, sent);
        bytes += sent;
        n -= sent;
    }
    return true;
}

static inline void scripted_sleep(struct scripted_peer *p, unsigned ms)
{
    for (unsigned i = 0; i < ms && !atomic_load(&p->stopping); i++) {
        usleep(1000);
    }
}

static inline void scripted_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* The body from first to last, as the script has it. False: the connection ends. */
static inline bool scripted_body(struct scripted_peer *p, int fd, int64_t first, int64_t last)
{
    enum script script = atomic_load(&p->script);
    int64_t at = atomic_load(&p->at), end = last + 1;
    bool cuts = script == SCRIPT_FROZEN_BODY || script == SCRIPT_RESETS || script == SCRIPT_SHORT ||
                script == SCRIPT_PAUSES_BODY;
    if (cuts && at >= first && at < end) {
        if (!scripted_send(p, fd, p->bytes + first, at - first)) {
            return false;
        }
        if (script == SCRIPT_FROZEN_BODY) {
            scripted_sleep(p, 60000);
            return false;
        }
        if (script == SCRIPT_RESETS) {
            usleep(20000); /* so that what was sent is read before the RST discards it */
            scripted_reset(fd);
            return false;
        }
        if (script == SCRIPT_SHORT) {
            return false;
        }
        scripted_sleep(p, atomic_load(&p->at_ms));
        return scripted_send(p, fd, p->bytes + at, end - at);
    }
    if (script == SCRIPT_CORRUPT && at >= first && at < end) {
        char wrong = (char)(p->bytes[at] ^ 1);
        return scripted_send(p, fd, p->bytes + first, at - first) &&
               scripted_send(p, fd, &wrong, 1) &&
               scripted_send(p, fd, p->bytes + at + 1, end - at - 1);
    }
    return scripted_send(p, fd, p->bytes + first, end - first);
}

static inline bool scripted_status(struct scripted_peer *p, int fd, const char *status)
{
    char head[256];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}", status);
    return scripted_send(p, fd, head, n);
}

static inline bool scripted_answer(struct scripted_peer *p, int fd, const char *request)
{
    enum script script = atomic_load(&p->script);
    char head[1024];
    long long first = 0, last = p->len - 1;
    const char *range = strstr(request, "\r\nRange: bytes=");
    bool part = range && script != SCRIPT_IGNORES_RANGE;
    bool is_head = strncmp(request, "HEAD", 4) == 0;
    if (part && sscanf(range, "\r\nRange: bytes=%lld-%lld", &first, &last) < 1) {
        return false;
    }
    if (script == SCRIPT_SLOW_HEAD) {
        scripted_sleep(p, atomic_load(&p->at_ms));
    } else if (script == SCRIPT_FROZEN) {
        scripted_sleep(p, 60000);
        return false;
    } else if (script == SCRIPT_HANGS_UP) {
        return false;
    } else if (script == SCRIPT_BUSY) {
        return scripted_status(p, fd, "503 Service Unavailable");
    } else if (script == SCRIPT_ABSENT) {
        return scripted_status(p, fd, "404 Not Found");
    } else if (script == SCRIPT_GARBAGE) {
        (void)scripted_send(p, fd, "SSH-2.0-OpenSSH_9.2\r\n\r\n", 23);
        return false;
    }
    if (first >= p->len) {
        int n = snprintf(head, sizeof(head),
                         "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */%lld\r\n"
                         "Content-Length: 0\r\n\r\n",
                         (long long)p->len);
        return scripted_send(p, fd, head, n);
    }
    int n =
        snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n", part ? "206 Partial Content" : "200 OK");
#define SCRIPTED_FIELD(...) n += snprintf(head + n, sizeof(head) - (size_t)n, __VA_ARGS__)
    if (script != SCRIPT_NO_TYPE) {
        SCRIPTED_FIELD("Content-Type: %s\r\n",
                       p->content_type ? p->content_type : "application/octet-stream");
    }
    if (script == SCRIPT_OTHER_DIGEST) {
        SCRIPTED_FIELD("Docker-Content-Digest: sha256:%064d\r\n", 7);
    } else if (p->digest) {
        SCRIPTED_FIELD("Docker-Content-Digest: %s\r\n", p->digest);
    }
    if (script == SCRIPT_CHUNKED) {
        SCRIPTED_FIELD("Transfer-Encoding: chunked\r\n");
    } else if (script != SCRIPT_NO_LENGTH) {
        SCRIPTED_FIELD("Content-Length: %lld\r\n",
                       last - first + 1 + (script == SCRIPT_OTHER_LENGTH));
    }
    if (script == SCRIPT_GZIP) {
        SCRIPTED_FIELD("Content-Encoding: gzip\r\n");
    }
    if (part) {
        SCRIPTED_FIELD("Content-Range: bytes %lld-%lld/%lld\r\n", first, last,
                       (long long)p->len + (script == SCRIPT_OTHER_TOTAL));
    }
    SCRIPTED_FIELD("\r\n");
    if (!scripted_send(p, fd, head, n)) {
        return false;
    }
    atomic_fetch_sub(&p->bytes_sent, n); /* bodies are counted, heads are not */
    return is_head || scripted_body(p, fd, first, last);
}

static inline void *scripted_serve(void *arg)
{
    struct scripted_connection *connection = arg;
    struct scripted_peer *p = connection->peer;
    int fd = atomic_load(&p->fds[connection->index]);
    char request[4096];
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, request + n, sizeof(request) - 1 - n, 0);
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
        request[n] = 0;
        if (!strstr(request, "\r\n\r\n")) {
            continue;
        }
        atomic_fetch_add(&p->requests, 1);
        atomic_fetch_add(&p->told, strstr(request, "\r\nX-Spegel-Doubt: ") != NULL);
        pthread_mutex_lock(&p->lock);
        memcpy(p->last_request, request, n + 1);
        pthread_mutex_unlock(&p->lock);
        n = 0;
        if (!scripted_answer(p, fd, request)) {
            break;
        }
        if (atomic_load(&p->script) == SCRIPT_DROPS_KEPT) {
            usleep(20000);
            break;
        }
    }
    fd = atomic_exchange(&p->fds[connection->index], -1);
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

static inline void *scripted_accept(void *arg)
{
    struct scripted_peer *p = arg;
    static struct scripted_connection connections[16][SCRIPTED_CONNECTIONS];
    static atomic_uint peers;
    struct scripted_connection *mine = connections[atomic_fetch_add(&peers, 1) % 16];
    for (unsigned i = 0; i < SCRIPTED_CONNECTIONS; i++) {
        int fd = accept(p->listener, NULL, NULL);
        if (fd < 0) {
            break;
        }
        atomic_store(&p->fds[i], fd);
        mine[i] = (struct scripted_connection){p, i};
        if (pthread_create(&p->threads[i], NULL, scripted_serve, &mine[i]) != 0) {
            close(fd);
            break;
        }
        atomic_fetch_add(&p->connections, 1);
    }
    return NULL;
}

static inline void scripted_start(struct scripted_peer *p, enum script script, const char *bytes,
                                  int64_t len)
{
    memset(p, 0, sizeof(*p));
    atomic_store(&p->script, script);
    p->bytes = bytes;
    p->len = len;
    pthread_mutex_init(&p->lock, NULL);
    for (unsigned i = 0; i < SCRIPTED_CONNECTIONS; i++) {
        atomic_store(&p->fds[i], -1);
    }
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->listener >= 0);
    p->address.in4 = (struct sockaddr_in){.sin_family = AF_INET};
    p->address.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(p->address.in4);
    assert_int_equal(bind(p->listener, &p->address.sa, size), 0);
    assert_int_equal(listen(p->listener, 64), 0);
    assert_int_equal(getsockname(p->listener, &p->address.sa, &size), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, scripted_accept, p), 0);
}

static inline void scripted_stop(struct scripted_peer *p)
{
    atomic_store(&p->stopping, true);
    (void)shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
    for (unsigned i = 0; i < atomic_load(&p->connections); i++) {
        int fd = atomic_load(&p->fds[i]);
        if (fd >= 0) {
            (void)shutdown(fd, SHUT_RDWR);
        }
        pthread_join(p->threads[i], NULL);
    }
    pthread_mutex_destroy(&p->lock);
}

/* --- a client --- */

struct blocking_client {
    uint16_t port;
    char request[2048];
    /* how it reads */
    int64_t abort_at; /* closes after so many bytes of body; -1: never */
    int64_t pause_at; /* stops reading there for pause_ms; -1: never */
    unsigned pause_ms;
    int receive_buffer; /* SO_RCVBUF, 0: the kernel's */
    char *body;         /* the caller's, body_max bytes */
    int64_t body_max;
    /* what came */
    char head[4096];
    int status;
    int64_t content_length, body_bytes;
    bool reset; /* RST instead of FIN */
    double first_byte_ms, all_ms;
    atomic_bool paused, over;
    pthread_t thread;
};

static inline double client_now_ms(void)
{
    return (double)clock_now_us() / 1000;
}

static inline size_t client_read_head(struct blocking_client *c, int fd, size_t *ret_head)
{
    size_t n = 0;
    while (n < sizeof(c->head) - 1) {
        ssize_t got = recv(fd, c->head + n, sizeof(c->head) - 1 - n, 0);
        c->reset |= got < 0 && errno == ECONNRESET;
        if (got <= 0) {
            return 0;
        }
        n += (size_t)got;
        c->head[n] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (end) {
            *ret_head = (size_t)(end - c->head) + 4;
            return n;
        }
    }
    return 0;
}

static inline void *client_run(void *arg)
{
    struct blocking_client *c = arg;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    double started_ms = client_now_ms();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->receive_buffer) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &c->receive_buffer, sizeof(int));
    }
    size_t head = 0, got = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        send(fd, c->request, strlen(c->request), MSG_NOSIGNAL) > 0) {
        got = client_read_head(c, fd, &head);
    }
    if (got) {
        c->first_byte_ms = client_now_ms() - started_ms;
        (void)sscanf(c->head, "HTTP/1.1 %d", &c->status);
        const char *length = strcasestr(c->head, "\r\nContent-Length: ");
        c->content_length = length ? atoll(length + 18) : -1;
        c->body_bytes = (int64_t)(got - head);
        memcpy(c->body, c->head + head, got - head);
        c->head[head] = 0;
    }
    int64_t want = strncmp(c->request, "HEAD", 4) == 0 ? 0 : c->content_length;
    while (got && c->body_bytes < want) {
        if (c->abort_at >= 0 && c->body_bytes >= c->abort_at) {
            break;
        }
        if (c->pause_at >= 0 && c->body_bytes >= c->pause_at) {
            c->pause_at = -1;
            atomic_store(&c->paused, true);
            usleep(c->pause_ms * 1000);
        }
        ssize_t n = recv(fd, c->body + c->body_bytes, (size_t)(c->body_max - c->body_bytes), 0);
        c->reset |= n < 0 && errno == ECONNRESET;
        if (n <= 0) {
            break;
        }
        c->body_bytes += n;
    }
    c->all_ms = client_now_ms() - started_ms;
    close(fd);
    atomic_store(&c->over, true);
    return NULL;
}

/* `fields` are header lines with their ends. */
static inline void client_start(struct blocking_client *c, uint16_t port, const char *method,
                                const char *target, const char *fields, char *body,
                                int64_t body_max)
{
    int64_t abort_at = c->abort_at, pause_at = c->pause_at;
    c->port = port;
    c->abort_at = abort_at ? abort_at : -1;
    c->pause_at = pause_at ? pause_at : -1;
    c->body = body;
    c->body_max = body_max;
    (void)snprintf(c->request, sizeof(c->request), "%s %s HTTP/1.1\r\nHost: test\r\n%s\r\n", method,
                   target, fields);
    assert_int_equal(pthread_create(&c->thread, NULL, client_run, c), 0);
}

/* --- running the loop until something is so --- */

struct loop_wait {
    struct loop *loop;
    bool (*so)(void *arg);
    void *arg;
    uint64_t until_ms;
    bool timed_out;
    struct timer timer;
};

static inline void loop_wait_look(void *arg)
{
    struct loop_wait *w = arg;
    w->timed_out = clock_now_us() / 1000 >= w->until_ms;
    if (w->timed_out || w->so(w->arg)) {
        loop_stop(w->loop);
    } else {
        assert_int_equal(timer_start(&w->timer, 1), 0);
    }
}

/* False: it did not become so within max_ms. */
static inline bool loop_run_until(struct loop *loop, bool (*so)(void *arg), void *arg,
                                  uint64_t max_ms)
{
    struct loop_wait w = {.loop = loop, .so = so, .arg = arg};
    w.until_ms = clock_now_us() / 1000 + max_ms;
    timer_init(&w.timer, loop, loop_wait_look, &w);
    assert_int_equal(timer_start(&w.timer, 0), 0);
    loop_run(loop);
    return !w.timed_out;
}

static inline bool client_is_over(void *arg)
{
    struct blocking_client *c = arg;
    return atomic_load(&c->over);
}

static inline void client_finish(struct blocking_client *c, struct loop *loop, uint64_t max_ms)
{
    assert_true(loop_run_until(loop, client_is_over, c, max_ms));
    pthread_join(c->thread, NULL);
}

/* Bytes that repeat nowhere near. */
static inline char *scripted_content(size_t n)
{
    char *bytes = malloc(n);
    assert_non_null(bytes);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        bytes[i] = (char)x;
    }
    return bytes;
}
