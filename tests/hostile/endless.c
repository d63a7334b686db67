/* endless.c - members whose registry port never stops answering, or whose sets are larger than any
 * node's. */
#include "hostile.h"

#include "base/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
#define DRIP_NS 100000000
#define LIVE_MS 6000
#define DRIP_MS (LIMIT_GOSSIP_FETCH_MS + 3000)

enum manner { FULL_SPEED, DRIPPING };

struct server {
    int listener;
    enum manner manner;
    atomic_ullong bytes, requests;
};

struct served {
    struct server *server;
    int fd;
};

/* The head promises a terabyte, or says nothing; of what drips, no more than a set may have. */
static void *answer(void *arg)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                               "Content-Length: 1000000000000\r\n\r\n";
    static const char endless[] = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                                  "Connection: close\r\n\r\n";
    static const char plausible[] = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                                    "Content-Length: 1000000\r\n\r\n";
    struct served *s = arg;
    char request[4096];
    static const char bytes[CHUNK];
    struct timespec drip = {.tv_nsec = DRIP_NS};
    if (recv(s->fd, request, sizeof(request), 0) > 0) {
        uint64_t number = atomic_fetch_add(&s->server->requests, 1);
        const char *first = s->server->manner == DRIPPING ? plausible : number % 2 ? head : endless;
        ssize_t sent = send(s->fd, first, strlen(first), MSG_NOSIGNAL);
        while (sent > 0) {
            sent = send(s->fd, bytes, s->server->manner == DRIPPING ? 1 : CHUNK, MSG_NOSIGNAL);
            atomic_fetch_add(&s->server->bytes, sent > 0 ? (uint64_t)sent : 0);
            if (s->server->manner == DRIPPING) {
                (void)nanosleep(&drip, NULL);
            }
        }
    }
    (void)close(s->fd);
    free(s);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct server *server = arg;
    for (;;) {
        struct served *s = malloc(sizeof(*s));
        pthread_t thread;
        CHECK(s);
        *s = (struct served){.server = server, .fd = accept(server->listener, NULL, NULL)};
        CHECK(s->fd >= 0 && pthread_create(&thread, NULL, answer, s) == 0 &&
              pthread_detach(thread) == 0);
    }
    return NULL;
}

static struct server *serve(struct hostile *h, enum manner manner)
{
    static struct server server;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t n = sizeof(at);
    pthread_t thread;
    memcpy(&at.sin_addr, h->self.ip, 4);
    server.manner = manner;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(server.listener >= 0 && bind(server.listener, (struct sockaddr *)&at, n) == 0 &&
          getsockname(server.listener, (struct sockaddr *)&at, &n) == 0 &&
          listen(server.listener, 64) == 0);
    h->registry_port = ntohs(at.sin_port);
    CHECK(pthread_create(&thread, NULL, accept_all, &server) == 0);
    return &server;
}

static void announce(struct hostile *h, uint32_t keys, enum manner manner)
{
    struct gossip_alive alive;
    struct server *server = serve(h, manner);
    hostile_alive(h, &alive);
    alive.version = 1;
    alive.count = keys;
    alive.hash = 0x1234;
    hostile_introduce(h, &alive);
    hostile_hear(h, manner == DRIPPING ? DRIP_MS : LIVE_MS);
    printf("{\"requests\":%llu,\"served_bytes\":%llu}\n",
           (unsigned long long)atomic_load(&server->requests),
           (unsigned long long)atomic_load(&server->bytes));
}

void hostile_ten_million(struct hostile *h)
{
    announce(h, 10000000, FULL_SPEED);
}

void hostile_endless_set(struct hostile *h)
{
    announce(h, 1000, FULL_SPEED);
}

void hostile_dripping_set(struct hostile *h)
{
    announce(h, 1000, DRIPPING);
}

/* Whoever bootstraps from us asks us for a snapshot. Waits for it to knock. */
void hostile_endless_snapshot(struct hostile *h)
{
    struct gossip_alive alive;
    struct server *server = serve(h, FULL_SPEED);
    hostile_alive(h, &alive);
    hostile_introduce(h, &alive);
    hostile_hear(h, LIVE_MS);
    printf("{\"requests\":%llu,\"served_bytes\":%llu}\n",
           (unsigned long long)atomic_load(&server->requests),
           (unsigned long long)atomic_load(&server->bytes));
}
