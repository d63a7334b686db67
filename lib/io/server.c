#include "io/server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"

/* A stream takes up to three descriptors: the connection, a file or a peer's socket, a pipe. */
#define DESCRIPTORS_PER_CONNECTION 3

static void reap(void *arg)
{
    struct server *s = arg;
    while (!list_empty(&s->closed)) {
        conn_free(CONTAINER_OF(s->closed.next, struct conn, link));
    }
}

static void stop_listening(struct server *s)
{
    while (!list_empty(&s->listeners)) {
        listener_free(CONTAINER_OF(s->listeners.next, struct listener, link));
    }
}

static void drain_over(void *arg)
{
    struct server *s = arg;
    void (*drained)(void *arg) = s->drained;
    s->drained = NULL;
    stop_listening(s);
    drained(s->drained_arg); /* may free the server */
}

static void close_all(struct server *s)
{
    struct list *lists[] = {&s->headless, &s->idle, &s->busy};
    for (size_t i = 0; i < 3; i++) {
        while (!list_empty(lists[i])) {
            conn_close(CONTAINER_OF(lists[i]->next, struct conn, link));
        }
    }
}

/* A last look at what idle clients may have sent just now: a request that crossed our closing would
 * otherwise be lost, or worse, answered with RST. */
static void drain_list(struct list *list)
{
    LIST_EACH_SAFE (link, list) {
        struct conn *c = CONTAINER_OF(link, struct conn, link);
        if (c->late) {
            continue;
        }
        conn_read(c);
        if (c->state == CONN_READING && c->in.len == 0 && !http_parser_started(c->parser)) {
            conn_close(c);
        }
    }
}

static void drain_begin(void *arg)
{
    struct server *s = arg;
    drain_list(&s->headless);
    drain_list(&s->idle);
    server_check_drained(s);
}

static void drain_timed_out(void *arg)
{
    struct server *s = arg;
    close_all(s);
    server_check_drained(s);
}

int server_new(struct loop *loop, const struct server_handler *handler, struct server **ret)
{
    struct server *s = calloc(1, sizeof(*s));
    char *scratch = malloc(SERVER_READ_BYTES);
    if (!s || !scratch) {
        free(s);
        free(scratch);
        return -ENOMEM;
    }
    s->loop = loop;
    s->handler = *handler;
    s->scratch = scratch;
    list_init(&s->listeners);
    list_init(&s->headless);
    list_init(&s->idle);
    list_init(&s->busy);
    list_init(&s->closed);
    map_init(&s->hosts);
    buf_init(&s->head, 2 * LIMIT_HTTP_HEAD_BYTES);
    defer_init(&s->reap, reap, s);
    defer_init(&s->drain_begin, drain_begin, s);
    defer_init(&s->drain_over, drain_over, s);
    timer_init(&s->drain_timer, loop, drain_timed_out, s);
    s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server_set_limits(s, &(struct server_limits){
                             .head_timeout_ms = LIMIT_HEAD_TIMEOUT_MS,
                             .idle_timeout_ms = LIMIT_IDLE_TIMEOUT_MS,
                             .stall_ms = LIMIT_CLIENT_STALL_MS,
                             .drain_ms = LIMIT_DRAIN_MS,
                             .connections = LIMIT_CONNECTIONS,
                         });
    *ret = s;
    return 0;
}

void server_set_limits(struct server *s, const struct server_limits *limits)
{
    s->limits = *limits;
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0 &&
        s->limits.connections > descriptors.rlim_cur / DESCRIPTORS_PER_CONNECTION) {
        s->limits.connections = (size_t)(descriptors.rlim_cur / DESCRIPTORS_PER_CONNECTION);
    }
}

void server_free(struct server *s)
{
    if (!s) {
        return;
    }
    stop_listening(s);
    s->draining = true;
    s->drained = NULL;
    close_all(s);
    reap(s);
    defer_stop(&s->reap);
    defer_stop(&s->drain_begin);
    defer_stop(&s->drain_over);
    timer_stop(&s->drain_timer);
    CHECK(s->hosts.count == 0);
    map_done(&s->hosts);
    buf_done(&s->head);
    if (s->reserve_fd >= 0) {
        (void)close(s->reserve_fd);
    }
    free(s->scratch);
    free(s);
}

void server_make_room(struct server *s)
{
    struct list *from = !list_empty(&s->headless) ? &s->headless : &s->idle;
    if (!list_empty(from)) {
        s->counters.evicted++;
        conn_close(CONTAINER_OF(from->next, struct conn, link));
    }
}

void server_drain(struct server *s, uint64_t max_ms, void (*drained)(void *arg), void *arg)
{
    CHECK(!s->draining);
    s->draining = true;
    s->drained = drained;
    s->drained_arg = arg;
    /* Without memory for the timer nothing is waited for. */
    if (timer_start(&s->drain_timer, max_ms) < 0) {
        close_all(s);
    }
    defer_start(s->loop, &s->drain_begin);
}

void server_check_drained(struct server *s)
{
    if (s->draining && s->drained && s->connections == s->late_connections) {
        timer_stop(&s->drain_timer);
        defer_start(s->loop, &s->drain_over);
    }
}

const struct server_counters *server_counters(const struct server *s)
{
    return &s->counters;
}

size_t server_connections(const struct server *s)
{
    return s->connections;
}

size_t server_streams(const struct server *s)
{
    return s->streams;
}
