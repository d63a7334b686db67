#include "prober.h"

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

#define STATUS_LINE_BYTES 13 /* "HTTP/1.1 200 " */

struct probe {
    const struct addrinfo *address;
    int fd; /* -1: this place is free */
    uint64_t deadline_ms;
    bool sent;
    size_t bytes;
    char status[STATUS_LINE_BYTES + 1];
};

struct round {
    const struct host_port *endpoint;
    const struct addrinfo *next;
    struct probe probes[LIMIT_PROBES_AT_ONCE];
    size_t answered;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int probe_fail(const struct probe *p, int code, const char *what, struct error *err)
{
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    (void)getnameinfo(p->address->ai_addr, p->address->ai_addrlen, host, sizeof host, port,
                      sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    return error_set(err, code, "%s port %s: %s", host, port, what);
}

static int probe_start(struct probe *p, const struct addrinfo *address, struct error *err)
{
    *p = (struct probe){.address = address, .fd = -1};
    p->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0 ||
        (connect(p->fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)) {
        return probe_fail(p, -errno, strerror(errno), err);
    }
    p->deadline_ms = now_ms() + LIMIT_PROBE_MS;
    return 0;
}

static int probe_send(struct probe *p, const struct host_port *endpoint, struct error *err)
{
    int failure = 0;
    socklen_t n = sizeof failure;
    (void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &failure, &n);
    if (failure) {
        return probe_fail(p, -failure, strerror(failure), err);
    }
    char text[400];
    bool ipv6 = strchr(endpoint->host, ':') != NULL;
    int bytes = snprintf(text, sizeof text,
                         "GET /readyz HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: spegel\r\n"
                         "Connection: close\r\n\r\n",
                         ipv6 ? "[" : "", endpoint->host, ipv6 ? "]" : "", endpoint->port);
    if (send(p->fd, text, (size_t)bytes, MSG_NOSIGNAL) != bytes) {
        return probe_fail(p, -EPIPE, "the request could not be sent", err);
    }
    p->sent = true;
    return 0;
}

/* 1 when the answer is 200, 0 while it is incomplete. */
static int probe_receive(struct probe *p, struct error *err)
{
    ssize_t n = recv(p->fd, p->status + p->bytes, STATUS_LINE_BYTES - p->bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0) {
        return probe_fail(p, n < 0 ? -errno : -EPROTO, n < 0 ? strerror(errno) : "closed", err);
    }
    p->bytes += (size_t)n;
    if (p->bytes < STATUS_LINE_BYTES) {
        return 0;
    }
    if (strncmp(p->status, "HTTP/1.", 7) != 0 || strncmp(p->status + 8, " 200 ", 5) != 0) {
        return probe_fail(p, -EPROTO, "not ready", err);
    }
    return 1;
}

/* Fills free places; *ret_wait_ms is the time to the first deadline, or -1 with nothing running. */
static int round_start_probes(struct round *r, struct pollfd *fds, int *ret_wait_ms,
                              struct error *err)
{
    uint64_t now = now_ms();
    *ret_wait_ms = -1;
    for (size_t i = 0; i < LIMIT_PROBES_AT_ONCE; i++) {
        struct probe *p = &r->probes[i];
        fds[i] = (struct pollfd){.fd = -1};
        if (p->fd < 0 && r->next) {
            int e = probe_start(p, r->next, err);
            if (e < 0) {
                return e;
            }
            r->next = r->next->ai_next;
        }
        if (p->fd < 0) {
            continue;
        }
        if (p->deadline_ms <= now) {
            return probe_fail(p, -ETIMEDOUT, "no answer within a second", err);
        }
        int left = (int)(p->deadline_ms - now);
        *ret_wait_ms = *ret_wait_ms < 0 || left < *ret_wait_ms ? left : *ret_wait_ms;
        fds[i] = (struct pollfd){.fd = p->fd, .events = p->sent ? POLLIN : POLLOUT};
    }
    return 0;
}

static int round_run(struct round *r, struct error *err)
{
    for (;;) {
        struct pollfd fds[LIMIT_PROBES_AT_ONCE];
        int wait_ms;
        int e = round_start_probes(r, fds, &wait_ms, err);
        if (e < 0 || wait_ms < 0) {
            return e;
        }
        if (poll(fds, LIMIT_PROBES_AT_ONCE, wait_ms) < 0 && errno != EINTR) {
            return error_set(err, -errno, "poll: %s", strerror(errno));
        }
        for (size_t i = 0; i < LIMIT_PROBES_AT_ONCE; i++) {
            struct probe *p = &r->probes[i];
            if (p->fd < 0 || !fds[i].revents) {
                continue;
            }
            e = p->sent ? probe_receive(p, err) : probe_send(p, r->endpoint, err);
            if (e < 0) {
                return e;
            }
            if (e > 0) {
                (void)close(p->fd);
                p->fd = -1;
                r->answered++;
            }
        }
    }
}

int prober_round(const struct host_port *endpoint, size_t *ret_addresses, struct error *err)
{
    char port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    (void)snprintf(port, sizeof port, "%u", endpoint->port);
    int e = getaddrinfo(endpoint->host, port, &hints, &found);
    if (e) {
        return error_set(err, -EADDRNOTAVAIL, "looking up %s: %s", endpoint->host, gai_strerror(e));
    }
    struct round r = {.endpoint = endpoint, .next = found};
    for (size_t i = 0; i < LIMIT_PROBES_AT_ONCE; i++) {
        r.probes[i].fd = -1;
    }
    e = round_run(&r, err);
    for (size_t i = 0; i < LIMIT_PROBES_AT_ONCE; i++) {
        if (r.probes[i].fd >= 0) {
            (void)close(r.probes[i].fd);
        }
    }
    freeaddrinfo(found);
    if (e == 0) {
        *ret_addresses = r.answered;
    }
    return e;
}
