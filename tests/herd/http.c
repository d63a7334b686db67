#include "herd.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_WITHIN_S 10
#define HEAD_BYTES 16384

void herd_http_init(struct herd_http *h, uint32_t ip, uint16_t port)
{
    *h = (struct herd_http){
        .to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}}, .fd = -1};
}

void herd_http_done(struct herd_http *h)
{
    if (h->fd >= 0) {
        (void)close(h->fd);
    }
    h->fd = -1;
}

static int connected(struct herd_http *h)
{
    if (h->fd >= 0) {
        return 0;
    }
    struct timeval within = {.tv_sec = ANSWER_WITHIN_S};
    int yes = 1;
    h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (h->fd < 0) {
        return -errno;
    }
    (void)setsockopt(h->fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within));
    (void)setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (connect(h->fd, (struct sockaddr *)&h->to, sizeof(h->to)) < 0) {
        int error = -errno;
        herd_http_done(h);
        return error;
    }
    return 0;
}

static long content_length(const char *head)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0) {
            return strtol(line + 17, NULL, 10);
        }
    }
    return 0;
}

/* Reads one response; whatever of the body came with the head is kept. */
static int answer(struct herd_http *h, bool head_only, struct buf *body)
{
    char head[HEAD_BYTES + 1];
    size_t n = 0;
    char *end = NULL;
    while (!end) {
        ssize_t got = n < HEAD_BYTES ? recv(h->fd, head + n, HEAD_BYTES - n, 0) : -1;
        if (got <= 0) {
            return got == 0 ? -ECONNRESET : -EIO;
        }
        n += (size_t)got;
        head[n] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    size_t head_bytes = (size_t)(end - head) + 4, had = n - head_bytes;
    end[2] = '\0';
    int status = n > 12 ? atoi(head + 9) : 0;
    size_t wanted = head_only ? 0 : (size_t)content_length(head);
    char *out = body && wanted ? buf_reserve(body, wanted) : NULL;
    if (wanted && (!out || had > wanted)) {
        return -ENOBUFS;
    }
    if (wanted) {
        memcpy(out, head + head_bytes, had);
        while (had < wanted) {
            ssize_t got = recv(h->fd, out + had, wanted - had, 0);
            if (got <= 0) {
                return -EIO;
            }
            had += (size_t)got;
        }
        buf_commit(body, wanted);
    }
    return status;
}

int herd_http_ask(struct herd_http *h, const char *method, const char *path, const char *fields,
                  struct buf *body)
{
    char request[1024];
    int n = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: herd\r\n%s\r\n", method,
                     path, fields);
    if (n < 0 || (size_t)n >= sizeof(request)) {
        return -E2BIG;
    }
    for (int attempt = 0;; attempt++) {
        bool kept = h->fd >= 0;
        int r = connected(h);
        if (r == 0) {
            r = send(h->fd, request, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
        }
        r = r == 0 ? answer(h, strcmp(method, "HEAD") == 0, body) : r;
        if (r > 0) {
            return r;
        }
        herd_http_done(h);
        if (!kept || attempt > 0) { /* a kept connection may have been closed meanwhile */
            return r == 0 ? -EPROTO : r;
        }
    }
}
