#include "io/udp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "io/address.h"

#define DATAGRAM_BYTES 2048
#define RECEIVE_BATCH 16
#define BATCHES_PER_TURN 8 /* then others have their turn; epoll will tell again */
#define SEND_BATCH 64
#define RECEIVE_BUFFER_BYTES (1024 * 1024) /* a burst of gossip while the loop is busy */

struct datagram {
    union address to;
    uint16_t bytes;
    uint8_t data[];
};

struct udp {
    struct loop *loop;
    int fd;
    int family;
    struct poll *poll;
    udp_receive_fn *receive;
    void *arg;
    bool *freed; /* set while receive callbacks run */
    uint8_t *buffers;
    struct defer flush;
    struct datagram *queue[LIMIT_UDP_QUEUE]; /* a ring */
    size_t queue_first, queue_count;
    struct udp_counters counters;
};

/* --- receiving --- */

static int receive_batch(struct udp *u)
{
    struct mmsghdr messages[RECEIVE_BATCH];
    struct iovec parts[RECEIVE_BATCH];
    union address from[RECEIVE_BATCH];
    for (int i = 0; i < RECEIVE_BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = u->buffers + (size_t)i * DATAGRAM_BYTES,
                                  .iov_len = DATAGRAM_BYTES};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i],
                                                   .msg_namelen = sizeof(from[i]),
                                                   .msg_iov = &parts[i],
                                                   .msg_iovlen = 1}};
    }
    int n = recvmmsg(u->fd, messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0) {
        /* An earlier datagram's ICMP error is reported here once, and does not concern us. */
        return errno == EAGAIN ? 0 : RECEIVE_BATCH;
    }
    bool freed = false;
    u->freed = &freed;
    for (int i = 0; i < n; i++) {
        if (messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
            u->counters.oversized++;
            continue;
        }
        u->counters.received++;
        u->receive(u->arg, &from[i].sa, parts[i].iov_base, messages[i].msg_len);
        if (freed) {
            return -1;
        }
    }
    u->freed = NULL;
    return n;
}

/* --- sending --- */

static void queue_pop(struct udp *u)
{
    free(u->queue[u->queue_first]);
    u->queue_first = (u->queue_first + 1) % LIMIT_UDP_QUEUE;
    u->queue_count--;
}

static int send_batch(struct udp *u)
{
    struct mmsghdr messages[SEND_BATCH];
    struct iovec parts[SEND_BATCH];
    unsigned n = u->queue_count < SEND_BATCH ? (unsigned)u->queue_count : SEND_BATCH;
    for (unsigned i = 0; i < n; i++) {
        struct datagram *d = u->queue[(u->queue_first + i) % LIMIT_UDP_QUEUE];
        parts[i] = (struct iovec){.iov_base = d->data, .iov_len = d->bytes};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &d->to,
                                                   .msg_namelen = address_length(&d->to.sa),
                                                   .msg_iov = &parts[i],
                                                   .msg_iovlen = 1}};
    }
    int sent = sendmmsg(u->fd, messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
        return -EAGAIN;
    }
    if (sent < 0) {
        /* The first one cannot be sent (no route, too large for the link): the rest may. */
        u->counters.send_errors++;
        queue_pop(u);
        return 0;
    }
    u->counters.sent += (uint64_t)sent;
    for (int i = 0; i < sent; i++) {
        queue_pop(u);
    }
    return 0;
}

static void flush(void *arg)
{
    struct udp *u = arg;
    while (u->queue_count > 0) {
        if (send_batch(u) == -EAGAIN) {
            (void)poll_set(u->poll, POLL_READABLE | POLL_WRITABLE);
            return;
        }
    }
    (void)poll_set(u->poll, POLL_READABLE);
}

static void udp_ready(void *arg, int events)
{
    struct udp *u = arg;
    if (events & POLL_WRITABLE) {
        flush(u);
    }
    for (int i = 0; i < BATCHES_PER_TURN && (events & POLL_READABLE); i++) {
        int n = receive_batch(u);
        if (n < RECEIVE_BATCH) {
            return; /* -1: freed by the receiver */
        }
    }
}

/* A destination as the socket's family wants it. */
static int convert(const struct udp *u, const struct sockaddr *to, union address *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (to->sa_family == u->family) {
        memcpy(ret, to, address_length(to));
        return 0;
    }
    if (to->sa_family == AF_INET && u->family == AF_INET6) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)to;
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = in4->sin_port;
        ret->in6.sin6_addr.s6_addr[10] = ret->in6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(ret->in6.sin6_addr.s6_addr + 12, &in4->sin_addr, 4);
        return 0;
    }
    if (to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)to;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            ret->in4.sin_family = AF_INET;
            ret->in4.sin_port = in6->sin6_port;
            memcpy(&ret->in4.sin_addr, in6->sin6_addr.s6_addr + 12, 4);
            return 0;
        }
    }
    return -EINVAL;
}

int udp_send(struct udp *u, const struct sockaddr *to, const uint8_t *bytes, size_t n)
{
    union address address;
    if (n > DATAGRAM_BYTES || convert(u, to, &address) < 0) {
        return -EINVAL;
    }
    struct datagram *d =
        u->queue_count < LIMIT_UDP_QUEUE ? malloc(sizeof(struct datagram) + n) : NULL;
    if (!d) {
        u->counters.dropped_queue++;
        return -ENOBUFS;
    }
    d->to = address;
    d->bytes = (uint16_t)n;
    memcpy(d->data, bytes, n);
    u->queue[(u->queue_first + u->queue_count++) % LIMIT_UDP_QUEUE] = d;
    defer_start(u->loop, &u->flush);
    return 0;
}

/* --- beginning and end --- */

static void set_options(int fd, int family, bool dual_stack)
{
    int size = RECEIVE_BUFFER_BYTES, v6_only = !dual_stack;
    /* IP_PMTUDISC_PROBE would ignore what the path can carry; DO reports it and never fragments. */
    int mtu4 = IP_PMTUDISC_DO, mtu6 = IPV6_PMTUDISC_DO, yes = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    (void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &mtu4, sizeof(mtu4));
    if (family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mtu6, sizeof(mtu6));
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &yes, sizeof(yes));
    }
}

static int bind_socket(const struct sockaddr *sa, bool dual_stack)
{
    int fd = socket(sa->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    set_options(fd, sa->sa_family, dual_stack);
    if (bind(fd, sa, address_length(sa)) < 0) {
        int r = -errno;
        (void)close(fd);
        return r;
    }
    return fd;
}

/* An open socket or a negative errno; with a name, its first address. */
static int open_address(const char *host, uint16_t port, int *ret_family)
{
    if (!*host || strcmp(host, "::") == 0) {
        union address any = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
        int fd = bind_socket(&any.sa, true);
        *ret_family = AF_INET6;
        if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) { /* a kernel without IPv6 */
            any = (union address){.in4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
            fd = bind_socket(&any.sa, false);
            *ret_family = AF_INET;
        }
        return fd;
    }
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed) {
        return failed == EAI_MEMORY ? -ENOMEM : -EADDRNOTAVAIL;
    }
    int fd = bind_socket(found->ai_addr, false);
    *ret_family = found->ai_family;
    freeaddrinfo(found);
    return fd;
}

int udp_new(struct loop *loop, const char *address, udp_receive_fn *receive, void *arg,
            struct udp **ret_udp, struct error *err)
{
    char host[256];
    uint16_t port = 0;
    int r = address_split(address, host, sizeof(host), &port, err);
    if (r < 0) {
        return r;
    }
    struct udp *u = calloc(1, sizeof(*u));
    uint8_t *buffers = malloc((size_t)RECEIVE_BATCH * DATAGRAM_BYTES);
    if (!u || !buffers) {
        free(u);
        free(buffers);
        return error_set(err, -ENOMEM, "out of memory");
    }
    *u = (struct udp){.loop = loop, .receive = receive, .arg = arg, .buffers = buffers};
    defer_init(&u->flush, flush, u);
    u->fd = open_address(host, port, &u->family);
    r = u->fd < 0 ? u->fd : poll_new(loop, u->fd, udp_ready, u, &u->poll);
    r = r < 0 ? r : poll_set(u->poll, POLL_READABLE);
    if (r < 0) {
        udp_free(u);
        return error_set(err, r, "UDP address \"%s\": %s", address, strerror(-r));
    }
    *ret_udp = u;
    return 0;
}

void udp_free(struct udp *u)
{
    if (!u) {
        return;
    }
    /* What was sent in this turn still goes out: a farewell is the last thing a node says. */
    while (u->queue_count > 0 && send_batch(u) == 0) {
    }
    while (u->queue_count > 0) {
        queue_pop(u);
    }
    if (u->freed) {
        *u->freed = true;
    }
    defer_stop(&u->flush);
    poll_free(u->poll);
    if (u->fd >= 0) {
        (void)close(u->fd);
    }
    free(u->buffers);
    free(u);
}

uint16_t udp_port(const struct udp *u)
{
    union address a = {0};
    socklen_t n = sizeof(a);
    CHECK(getsockname(u->fd, &a.sa, &n) == 0);
    return ntohs(a.in4.sin_port);
}

const struct udp_counters *udp_counters(const struct udp *u)
{
    return &u->counters;
}
