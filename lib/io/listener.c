#include "io/server_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64

/* --- accepting --- */

static struct in6_addr host_key(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET6) {
        return ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    }
    struct in6_addr key = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(key.s6_addr + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    return key;
}

/* The entry of an address, made when it has none. NULL without memory. */
static struct host *host_get(struct server *s, const struct sockaddr *sa)
{
    struct in6_addr key = host_key(sa);
    struct map_node *node = map_get(&s->hosts, &key, sizeof(key));
    if (node) {
        return CONTAINER_OF(node, struct host, node);
    }
    struct host *host = calloc(1, sizeof(*host));
    if (!host) {
        return NULL;
    }
    host->address = key;
    if (map_insert(&s->hosts, &host->node, &host->address, sizeof(host->address)) < 0) {
        free(host);
        return NULL;
    }
    return host;
}

static void host_unused(struct server *s, struct host *host)
{
    if (host && host->connections == 0) {
        map_remove(&s->hosts, &host->node);
        free(host);
    }
}

/* Closes the oldest headless, else idle connection of this address. */
static bool make_room_of_host(struct server *s, const struct host *host)
{
    struct list *lists[] = {&s->headless, &s->idle};
    for (size_t i = 0; i < 2; i++) {
        LIST_EACH (link, lists[i]) {
            struct conn *c = CONTAINER_OF(link, struct conn, link);
            if (c->host == host) {
                s->counters.evicted++;
                conn_close(c);
                return true;
            }
        }
    }
    return false;
}

static bool make_room(struct server *s, const struct host *host)
{
    size_t most = s->limits.connections / 2;
    if (host && host->connections >= (most ? most : 1) && !make_room_of_host(s, host)) {
        return false;
    }
    if (s->connections >= s->limits.connections) {
        server_make_room(s);
    }
    return s->connections < s->limits.connections;
}

static void accepted(struct server *s, int fd, const union address *peer)
{
    bool local = address_is_own(&peer->sa);
    struct host *host = local ? NULL : host_get(s, &peer->sa);
    if (!local && !host) {
        s->counters.accept_errors++;
        (void)close(fd);
        return;
    }
    if (!make_room(s, host)) {
        s->counters.refused_cap++;
        (void)close(fd);
        host_unused(s, host);
        return;
    }
    /* Evicting may have freed the entry with its last connection. */
    host = local ? NULL : host_get(s, &peer->sa);
    if ((!local && !host) || conn_new(s, fd, &peer->sa, host) < 0) {
        s->counters.accept_errors++;
        (void)close(fd);
        host_unused(s, host);
        return;
    }
    s->counters.accepted++;
}

/* Out of descriptors: the connection at the head of the queue would make epoll report for ever.
 * An old connection makes room for it, or it is accepted on the reserve and closed. */
static bool accept_without_descriptors(struct server *s, int listen_fd)
{
    s->counters.accept_errors++;
    size_t before = s->connections;
    server_make_room(s);
    if (s->connections < before) {
        return true;
    }
    if (s->reserve_fd < 0) {
        return false;
    }
    (void)close(s->reserve_fd);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        (void)close(fd);
    }
    s->reserve_fd = dup(listen_fd);
    return fd >= 0;
}

static void listener_ready(void *arg, int events)
{
    (void)events;
    struct listener *l = arg;
    struct server *s = l->server;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        union address peer = {0};
        socklen_t n = sizeof(peer);
        int fd = accept4(l->fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            pacing_accepted(fd, l->host_congestion, LIMIT_NEAR_US);
            accepted(s, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE) {
            if (!accept_without_descriptors(s, l->fd)) {
                return;
            }
        } else if (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS) {
            return;
        } else if (errno != EINTR) {
            s->counters.accept_errors++; /* the connection died in the queue; others may follow */
        }
    }
}

/* --- listening --- */

void listener_free(struct listener *l)
{
    poll_free(l->poll);
    (void)close(l->fd);
    list_remove(&l->link);
    free(l);
}

static int open_socket(const struct sockaddr *sa, bool dual_stack,
                       char ret_host_congestion[static PACING_NAME_BYTES])
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int yes = 1, v6_only = !dual_stack;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    /* Accepted sockets inherit it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    pacing_avoid(fd, ret_host_congestion);
    if (sa->sa_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
    }
    if (bind(fd, sa, address_length(sa)) < 0 || listen(fd, BACKLOG) < 0) {
        int r = -errno;
        (void)close(fd);
        return r;
    }
    return fd;
}

static int listen_on(struct server *s, const struct sockaddr *sa, bool dual_stack)
{
    char host_congestion[PACING_NAME_BYTES];
    int fd = open_socket(sa, dual_stack, host_congestion);
    if (fd < 0) {
        return fd;
    }
    struct listener *l = calloc(1, sizeof(*l));
    if (!l) {
        (void)close(fd);
        return -ENOMEM;
    }
    *l = (struct listener){.server = s, .fd = fd};
    memcpy(l->host_congestion, host_congestion, sizeof(host_congestion));
    int r = poll_new(s->loop, fd, listener_ready, l, &l->poll);
    r = r < 0 ? r : poll_set(l->poll, POLL_READABLE);
    if (r < 0) {
        poll_free(l->poll);
        (void)close(fd);
        free(l);
        return r;
    }
    list_push_back(&s->listeners, &l->link);
    return 0;
}

static int listen_everywhere(struct server *s, uint16_t port)
{
    union address any = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    int r = listen_on(s, &any.sa, true);
    if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) { /* a kernel without IPv6 */
        any = (union address){.in4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
        r = listen_on(s, &any.sa, false);
    }
    return r;
}

static int listen_resolved(struct server *s, const char *host, uint16_t port, const char *address,
                           struct error *err)
{
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed) {
        return error_set(err, -EINVAL, "listening on \"%s\": %s", address, gai_strerror(failed));
    }
    int r = -EINVAL;
    for (struct addrinfo *i = found; i; i = i->ai_next) {
        r = listen_on(s, i->ai_addr, false);
        if (r < 0) {
            break;
        }
    }
    freeaddrinfo(found);
    return r < 0 ? error_set(err, r, "listening on \"%s\": %s", address, strerror(-r)) : 0;
}

int server_listen(struct server *s, const char *address, struct error *err)
{
    char host[256];
    uint16_t port = 0;
    int r = address_split(address, host, sizeof(host), &port, err);
    if (r < 0) {
        return r;
    }
    if (*host && strcmp(host, "::") != 0) {
        return listen_resolved(s, host, port, address, err);
    }
    r = listen_everywhere(s, port);
    return r < 0 ? error_set(err, r, "listening on \"%s\": %s", address, strerror(-r)) : 0;
}

uint16_t server_port(const struct server *s)
{
    if (list_empty(&s->listeners)) {
        return 0;
    }
    union address a = {0};
    socklen_t n = sizeof(a);
    const struct listener *l = CONTAINER_OF(s->listeners.next, struct listener, link);
    CHECK(getsockname(l->fd, &a.sa, &n) == 0);
    return ntohs(a.in4.sin_port);
}
