/* registry.c - the members' registry ports. One listener for all addresses, a thread for each of
 * the daemon's few connections; the threads end with the process. */
#include "herd.h"

#include "base/check.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 8192
#define STACK_BYTES (256 * 1024)
#define BLOB_BYTES 1000000 /* what HEAD says of any blob */

struct connection {
    struct herd_world *w;
    int fd;
};

static bool send_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool reply(int fd, int status, const char *fields, size_t length, const struct buf *body)
{
    char head[512];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %d -\r\nContent-Length: %zu\r\n%s\r\n", status,
                     length, fields);
    return send_all(fd, head, (size_t)n) && (!body || send_all(fd, body->data, body->len));
}

/* The value of a header field in a head that ends in a blank line, or NULL. */
static const char *field(const char *head, const char *name, char *room, size_t room_bytes)
{
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *value = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(room, room_bytes, "%.*s", (int)strcspn(value, "\r"), value);
            return room;
        }
    }
    return NULL;
}

static bool bulk(struct connection *c, const char *path, const char *head)
{
    char room[GOSSIP_AUTH_TEXT_BYTES];
    struct buf body;
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    pthread_mutex_lock(&c->w->lock);
    c->w->archive->now_ms = herd_now_ms();
    int r = gossip_serve(c->w->archive, path, field(head, GOSSIP_AUTH_HEADER, room, sizeof(room)),
                         &body);
    pthread_mutex_unlock(&c->w->lock);
    int status = r == 0 ? 200 : r == -EACCES ? 403 : r == -ENOENT ? 404 : 503;
    bool fine = reply(c->fd, status, "", body.len, &body);
    buf_done(&body);
    return fine;
}

static bool respond(struct connection *c, const char *head)
{
    char method[8] = "", path[512] = "", fields[256];
    if (sscanf(head, "%7s %511s", method, path) != 2) {
        return false;
    }
    if (strncmp(path, GOSSIP_PATH_PREFIX, strlen(GOSSIP_PATH_PREFIX)) == 0) {
        return bulk(c, path, head);
    }
    const char *digest = strstr(path, "sha256:");
    if (strcmp(method, "HEAD") != 0 || !digest) {
        return reply(c->fd, 404, "", 0, NULL);
    }
    snprintf(fields, sizeof(fields),
             "Content-Type: application/octet-stream\r\nDocker-Content-Digest: %.71s\r\n", digest);
    return reply(c->fd, 200, fields, BLOB_BYTES, NULL);
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    char head[HEAD_BYTES + 1];
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(c->fd, head + n, HEAD_BYTES - n, 0);
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
        head[n] = '\0';
        if (!strstr(head, "\r\n\r\n")) {
            continue;
        }
        if (!respond(c, head)) {
            break;
        }
        n = 0; /* the daemon does not pipeline */
    }
    (void)close(c->fd);
    free(c);
    return NULL;
}

static void start(void *(*run)(void *), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    CHECK(pthread_create(&thread, &attributes, run, arg) == 0);
    (void)pthread_attr_destroy(&attributes);
}

static void *accept_all(void *arg)
{
    struct herd_world *w = arg;
    int yes = 1;
    for (;;) {
        int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
        struct connection *c = fd >= 0 ? malloc(sizeof(*c)) : NULL;
        if (!c) {
            continue;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        *c = (struct connection){.w = w, .fd = fd};
        start(serve, c);
    }
    return NULL;
}

void herd_registry_start(struct herd_world *w)
{
    start(accept_all, w);
}
