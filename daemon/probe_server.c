#include "probe_server.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"

/* A request being read, or (head_bytes at its end and `answered`) a connection waiting for its
 * client to close first, so that no unread byte turns our close into a reset. */
struct client {
    int fd;
    uint64_t deadline_ms;
    size_t head_bytes;
    bool answered;
    char head[LIMIT_PROBE_HEAD_BYTES + 1];
};

struct probe_server {
    int listener, stop_fd;
    struct client clients[LIMIT_PROBE_CLIENTS];
    size_t client_count;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int listen_on(const struct addrinfo *ai)
{
    int one = 1, zero = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ai->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 128) < 0) {
        int code = -errno;
        (void)close(fd);
        return code;
    }
    return fd;
}

/* For every address: IPv6, which takes IPv4 too, and IPv4 alone on machines without IPv6. */
static int open_listener(const struct host_port *address, struct error *err)
{
    char port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
        .ai_family = AF_UNSPEC,
    };
    (void)snprintf(port, sizeof port, "%u", address->port);
    int e = getaddrinfo(address->host[0] ? address->host : NULL, port, &hints, &found);
    if (e) {
        return error_set(err, -EADDRNOTAVAIL, "%s: %s", address->host, gai_strerror(e));
    }
    int fd = -EADDRNOTAVAIL;
    for (int family = AF_INET6; fd < 0 && family; family = family == AF_INET6 ? AF_INET : 0) {
        for (const struct addrinfo *ai = found; fd < 0 && ai; ai = ai->ai_next) {
            if (ai->ai_family == family) {
                fd = listen_on(ai);
            }
        }
        if (fd == -EADDRINUSE) {
            break;
        }
    }
    freeaddrinfo(found);
    return fd < 0 ? error_set(err, fd, "listening on %s:%u: %s", address->host, address->port,
                              strerror(-fd))
                  : fd;
}

static void drop_client(struct probe_server *s, size_t i)
{
    (void)close(s->clients[i].fd);
    s->clients[i] = s->clients[--s->client_count];
}

/* With every place taken, the oldest connection makes room. */
static void accept_client(struct probe_server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (s->client_count == LIMIT_PROBE_CLIENTS) {
        size_t oldest = 0;
        for (size_t i = 1; i < s->client_count; i++) {
            oldest = s->clients[i].deadline_ms < s->clients[oldest].deadline_ms ? i : oldest;
        }
        drop_client(s, oldest);
    }
    struct client *c = &s->clients[s->client_count++];
    c->fd = fd;
    c->deadline_ms = now_ms() + LIMIT_PROBE_HEAD_MS;
    c->head_bytes = 0;
    c->answered = false;
}

static void answer(struct client *c)
{
    static const char ready[] = "/readyz";
    const char *path = strchr(c->head, ' ');
    size_t n = path ? strcspn(path + 1, " ?\r\n") : 0;
    bool probe = path && n == strlen(ready) && !strncmp(path + 1, ready, n);
    bool ok = !strncmp(c->head, "GET ", 4) || probe;
    char text[128];
    int bytes =
        snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                 ok ? "200 OK" : "404 Not Found");
    /* A fresh socket's buffer takes this whole. */
    (void)send(c->fd, text, (size_t)bytes, MSG_NOSIGNAL);
    (void)shutdown(c->fd, SHUT_WR);
    c->answered = true;
}

/* Reads what came; false when the connection is over. */
static bool serve_client(struct client *c)
{
    char drained[1024];
    ssize_t n = c->answered ? recv(c->fd, drained, sizeof drained, 0)
                            : recv(c->fd, c->head + c->head_bytes,
                                   LIMIT_PROBE_HEAD_BYTES - c->head_bytes, 0);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    if (c->answered) {
        return true;
    }
    c->head_bytes += (size_t)n;
    c->head[c->head_bytes] = 0;
    if (strstr(c->head, "\r\n\r\n") || strstr(c->head, "\n\n")) {
        answer(c);
        return true;
    }
    return c->head_bytes < LIMIT_PROBE_HEAD_BYTES;
}

/* Until the next deadline of a client, at most a second. */
static int drop_late_clients(struct probe_server *s)
{
    uint64_t now = now_ms();
    for (size_t i = s->client_count; i-- > 0;) {
        if (s->clients[i].deadline_ms <= now) {
            drop_client(s, i);
        }
    }
    return s->client_count ? 1000 : -1;
}

static int serve(struct probe_server *s, struct error *err)
{
    struct pollfd fds[LIMIT_PROBE_CLIENTS + 2];
    for (;;) {
        int timeout_ms = drop_late_clients(s);
        size_t count = s->client_count;
        fds[0] = (struct pollfd){.fd = s->stop_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = s->listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++) {
            fds[i + 2] = (struct pollfd){.fd = s->clients[i].fd, .events = POLLIN};
        }
        if (poll(fds, count + 2, timeout_ms) < 0 && errno != EINTR) {
            return error_set(err, -errno, "poll: %s", strerror(errno));
        }
        if (fds[0].revents) {
            return 0;
        }
        /* From the last, since dropping one moves the last into its place. */
        for (size_t i = count; i-- > 0;) {
            if (fds[i + 2].revents && !serve_client(&s->clients[i])) {
                drop_client(s, i);
            }
        }
        if (fds[1].revents) {
            accept_client(s);
        }
    }
}

int probe_server_run(const struct host_port *address, int stop_fd, struct error *err)
{
    static struct probe_server server; /* one a process; too large for the stack */
    server = (struct probe_server){.stop_fd = stop_fd};
    server.listener = open_listener(address, err);
    if (server.listener < 0) {
        return server.listener;
    }
    int r = serve(&server, err);
    while (server.client_count) {
        drop_client(&server, 0);
    }
    (void)close(server.listener);
    return r;
}
