/* drain - an HTTP client that costs next to nothing, so that the server is what is measured.
 *
 *   drain ADDRESS PORT CONNECTIONS REQUESTS KIND TARGET ...
 *
 * Each of CONNECTIONS threads makes REQUESTS requests, connection i for the i-th target, the
 * targets repeated. KIND: "kept" reads whole answers over one connection; "fresh" connects for
 * each; "first" connects for each and closes after the first byte of the body.
 * Bodies are thrown away in the kernel (tcp(7), MSG_TRUNC).
 * Prints a line a request, "status bytes first_byte_us total_us", bytes being those of the body and
 * times counted from before connect, or before the request where the connection was there; then
 * "wall MICROSECONDS" for the whole. Exits with 1 on any failure. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 16384
#define TAKE_BYTES (1024 * 1024)
#define TIMEOUT_S 120

struct result {
    int status;
    int64_t bytes;
    uint64_t first_byte_us, total_us;
};

struct worker {
    pthread_t thread;
    const char *target;
    struct result *results;
    bool failed;
};

static struct sockaddr_in server;
static long requests;
static bool fresh, first_only;

static uint64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int dial(void)
{
    int one = 1;
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (const struct sockaddr *)&server, sizeof(server)) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static int64_t content_length(const char *head)
{
    const char *field = strcasestr(head, "\r\ncontent-length:");
    return field ? strtoll(field + strlen("\r\ncontent-length:"), NULL, 10) : -1;
}

/* Reads the head and, where there is one, at least a byte of the body. Returns the bytes of the
 * body read, -1 on failure. */
static int64_t read_head(int fd, int *ret_status, int64_t *ret_length)
{
    char head[HEAD_BYTES + 1];
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, head + n, HEAD_BYTES - n, 0);
        if (got <= 0) {
            return -1;
        }
        n += (size_t)got;
        head[n] = 0;
        char *end = strstr(head, "\r\n\r\n");
        if (!end) {
            continue;
        }
        size_t body_bytes = n - (size_t)(end + 4 - head);
        end[2] = 0;
        *ret_length = content_length(head);
        if (*ret_length == 0 || body_bytes > 0) {
            *ret_status = n > 12 ? atoi(head + 9) : 0;
            return (int64_t)body_bytes;
        }
        end[2] = '\r';
    }
}

static bool ask(int fd, const struct worker *w, uint64_t begun_us, struct result *r)
{
    static __thread char scratch[TAKE_BYTES];
    char head[2048], host[INET_ADDRSTRLEN];
    (void)inet_ntop(AF_INET, &server.sin_addr, host, sizeof(host));
    int n = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", w->target, host);
    if (n <= 0 || n >= (int)sizeof(head) || send(fd, head, (size_t)n, MSG_NOSIGNAL) != n) {
        return false;
    }
    int64_t length = -1;
    r->bytes = read_head(fd, &r->status, &length);
    r->first_byte_us = now_us() - begun_us;
    if (r->bytes < 0 || length < 0) {
        return false;
    }
    while (!first_only && r->bytes < length) {
        int64_t left = length - r->bytes;
        ssize_t got = recv(fd, scratch, left < TAKE_BYTES ? (size_t)left : TAKE_BYTES,
                           MSG_TRUNC | MSG_WAITALL);
        if (got <= 0) {
            return false;
        }
        r->bytes += got;
    }
    r->total_us = now_us() - begun_us;
    return true;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    int fd = -1;
    for (long i = 0; i < requests; i++) {
        uint64_t begun_us = now_us();
        if (fd < 0) {
            fd = dial();
        }
        if (fd < 0 || !ask(fd, w, begun_us, &w->results[i])) {
            w->failed = true;
            break;
        }
        if (fresh) {
            (void)close(fd);
            fd = -1;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        (void)fprintf(stderr, "usage: drain ADDRESS PORT CONNECTIONS REQUESTS KIND TARGET ...\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    long connections = strtol(argv[3], NULL, 10);
    requests = strtol(argv[4], NULL, 10);
    first_only = strcmp(argv[5], "first") == 0;
    fresh = first_only || strcmp(argv[5], "fresh") == 0;
    struct worker *workers = calloc((size_t)connections, sizeof(*workers));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || !workers) {
        return 2;
    }
    uint64_t begun_us = now_us();
    for (long i = 0; i < connections; i++) {
        workers[i].target = argv[6 + i % (argc - 6)];
        workers[i].results = calloc((size_t)requests, sizeof(*workers[i].results));
        if (!workers[i].results || pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
            return 2;
        }
    }
    bool failed = false;
    for (long i = 0; i < connections; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        failed |= workers[i].failed;
    }
    uint64_t wall_us = now_us() - begun_us;
    for (long i = 0; i < connections; i++) {
        for (long k = 0; k < requests; k++) {
            const struct result *r = &workers[i].results[k];
            if (r->status) {
                (void)printf("%d %lld %llu %llu\n", r->status, (long long)r->bytes,
                             (unsigned long long)r->first_byte_us, (unsigned long long)r->total_us);
            }
        }
    }
    (void)printf("wall %llu\n", (unsigned long long)wall_us);
    return failed ? 1 : 0;
}
