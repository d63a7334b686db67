#include "prober.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"

#define STATUS_LINE_BYTES 13 /* "HTTP/1.1 200 " */

struct probe {
    struct probed *of; /* NULL: this place is free */
    int fd;
    uint64_t deadline_ms;
    bool sent;
    size_t bytes;
    char status[STATUS_LINE_BYTES + 1];
};

/* An address as it is connected to. */
struct target {
    struct sockaddr_storage address;
    socklen_t bytes;
    struct probed result;
};

struct round {
    const struct host_port *endpoint;
    struct target *targets;
    size_t count, next;
    struct probe probes[LIMIT_PROBES_AT_ONCE];
};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* NULL: it is ready. */
static void probe_end(struct probe *p, const char *why)
{
    p->of->is_ready = why == NULL;
    (void)snprintf(p->of->why, sizeof p->of->why, "%s", why ? why : "");
    if (p->fd >= 0) {
        (void)close(p->fd);
    }
    p->of = NULL;
}

static void probe_start(struct probe *p, struct target *target)
{
    const struct sockaddr *address = (const struct sockaddr *)&target->address;
    *p = (struct probe){.of = &target->result, .deadline_ms = now_ms() + LIMIT_PROBE_MS};
    p->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || (connect(p->fd, address, target->bytes) < 0 && errno != EINPROGRESS)) {
        probe_end(p, strerror(errno));
    }
}

static void probe_send(struct probe *p, const struct host_port *endpoint)
{
    int failure = 0;
    socklen_t n = sizeof failure;
    (void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &failure, &n);
    if (failure) {
        probe_end(p, strerror(failure));
        return;
    }
    char text[400];
    bool ipv6 = strchr(endpoint->host, ':') != NULL;
    int bytes = snprintf(text, sizeof text,
                         "GET /readyz HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: spegel\r\n"
                         "Connection: close\r\n\r\n",
                         ipv6 ? "[" : "", endpoint->host, ipv6 ? "]" : "", endpoint->port);
    if (send(p->fd, text, (size_t)bytes, MSG_NOSIGNAL) != bytes) {
        probe_end(p, "the request could not be sent");
        return;
    }
    p->sent = true;
}

static void probe_receive(struct probe *p)
{
    ssize_t n = recv(p->fd, p->status + p->bytes, STATUS_LINE_BYTES - p->bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        probe_end(p, n < 0 ? strerror(errno) : "closed without an answer");
        return;
    }
    p->bytes += (size_t)n;
    if (p->bytes == STATUS_LINE_BYTES) {
        bool good = !strncmp(p->status, "HTTP/1.", 7) && !strncmp(p->status + 8, " 200 ", 5);
        probe_end(p, good ? NULL : "not ready");
    }
}

/* Fills free places; the time to the first deadline, or -1 with nothing running. */
static int round_start_probes(struct round *r, struct pollfd *fds)
{
    uint64_t now = now_ms();
    int wait_ms = -1;
    for (size_t i = 0; i < LIMIT_PROBES_AT_ONCE; i++) {
        struct probe *p = &r->probes[i];
        fds[i] = (struct pollfd){.fd = -1};
        if (p->of && p->deadline_ms <= now) {
            probe_end(p, "no answer within a second");
        }
        while (!p->of && r->next < r->count) {
            probe_start(p, &r->targets[r->next++]);
        }
        if (p->of) {
            int left = p->deadline_ms > now ? (int)(p->deadline_ms - now) : 0;
            wait_ms = wait_ms < 0 || left < wait_ms ? left : wait_ms;
            fds[i] = (struct pollfd){.fd = p->fd, .events = p->sent ? POLLIN : POLLOUT};
        }
    }
    return wait_ms;
}

static void round_run(struct round *r)
{
    struct pollfd fds[LIMIT_PROBES_AT_ONCE];
    int wait_ms;
    while ((wait_ms = round_start_probes(r, fds)) >= 0) {
        if (poll(fds, LIMIT_PROBES_AT_ONCE, wait_ms) <= 0) {
            continue;
        }
        for (size_t i = 0; i < LIMIT_PROBES_AT_ONCE; i++) {
            struct probe *p = &r->probes[i];
            if (p->of && fds[i].revents && p->sent) {
                probe_receive(p);
            } else if (p->of && fds[i].revents) {
                probe_send(p, r->endpoint);
            }
        }
    }
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const struct target *)a)->result.address,
                  ((const struct target *)b)->result.address);
}

static int round_fill(struct round *r, const struct addrinfo *found)
{
    size_t n = 0;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        n++;
    }
    r->targets = calloc(n + 1, sizeof *r->targets);
    if (!r->targets) {
        return -ENOMEM;
    }
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        struct target *t = &r->targets[r->count];
        if (a->ai_addrlen <= sizeof t->address &&
            getnameinfo(a->ai_addr, a->ai_addrlen, t->result.address, sizeof t->result.address,
                        NULL, 0, NI_NUMERICHOST) == 0) {
            memcpy(&t->address, a->ai_addr, a->ai_addrlen);
            t->bytes = a->ai_addrlen;
            r->count++;
        }
    }
    qsort(r->targets, r->count, sizeof *r->targets, by_address);
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (!kept || by_address(&r->targets[kept - 1], &r->targets[i])) {
            r->targets[kept++] = r->targets[i];
        }
    }
    r->count = kept;
    return 0;
}

static int round_results(const struct round *r, struct probe_round *round)
{
    round->probed = calloc(r->count + 1, sizeof *round->probed);
    if (!round->probed) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < r->count; i++) {
        round->probed[i] = r->targets[i].result;
        round->failed += !round->probed[i].is_ready;
    }
    round->count = r->count;
    return 0;
}

int prober_round(const struct host_port *endpoint, struct probe_round *round, struct error *err)
{
    char port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    (void)snprintf(port, sizeof port, "%u", endpoint->port);
    prober_round_done(round);
    int e = getaddrinfo(endpoint->host, port, &hints, &found);
    if (e) {
        return error_set(err, -EADDRNOTAVAIL, "looking up %s: %s", endpoint->host, gai_strerror(e));
    }
    struct round r = {.endpoint = endpoint};
    e = round_fill(&r, found);
    freeaddrinfo(found);
    if (e == 0) {
        round_run(&r);
        e = round_results(&r, round);
    }
    free(r.targets);
    return e < 0 ? error_set(err, e, "out of memory") : 0;
}

bool prober_same_addresses(const struct probe_round *a, const struct probe_round *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = !strcmp(a->probed[i].address, b->probed[i].address);
    }
    return same;
}

void prober_round_done(struct probe_round *round)
{
    free(round->probed);
    *round = (struct probe_round){0};
}
