/* site.h - the server under test, with one target per way of answering. */
#pragma once

#include "scene.h"

#include <fcntl.h>

#include "base/list.h"
#include "http/head.h"
#include "io/file_body.h"
#include "io/server.h"

#define SITE_FILE_BYTES (5 * 1024 * 1024 + 123)
#define SITE_BIG_BYTES (8 * 1024 * 1024)

/* A body of 'x's that gives `chunk` bytes at a time and can pause, break or never be ready. */
struct site_body {
    struct body body;
    struct site *site;
    struct timer timer;
    int64_t given, pause_at, break_at;
    int ready; /* what ready() says; 0: 1 after 20 ms */
    bool paused;
};

struct site {
    struct scene scene;
    struct server *server;
    struct buf fields;
    char *big;
    char path[64];
    struct timer later;
    struct conn *later_conn;
    unsigned requests, gone, bodies_open, finished;
    int last_body_status, last_status;
    uint64_t last_bytes;
    bool drained;
    uint64_t drain_max_ms; /* 0: 2000 */
    bool last_local;
};

static inline void site_file_finished(void *arg, int status, int64_t bytes)
{
    struct site *site = arg;
    site->bodies_open--;
    site->last_body_status = status;
    (void)bytes;
}

static inline void site_finished(void *arg, struct conn *c, int status, uint64_t bytes)
{
    struct site *site = arg;
    assert_ptr_equal(conn_user(c), site);
    site->finished++;
    site->last_status = status;
    site->last_bytes = bytes;
}

static inline void site_body_wake(void *arg)
{
    struct site_body *b = arg;
    b->paused = false;
    b->ready = 1;
    conn_wake(b->body.conn);
}

static inline int site_body_ready(struct body *body)
{
    struct site_body *b = CONTAINER_OF(body, struct site_body, body);
    if (b->ready == 0) {
        assert_int_equal(timer_start(&b->timer, 20), 0);
    }
    return b->ready;
}

static inline int64_t site_body_write(struct body *body, int fd, int64_t max_bytes)
{
    struct site_body *b = CONTAINER_OF(body, struct site_body, body);
    if (b->break_at >= 0 && b->given >= b->break_at) {
        return -EIO;
    }
    if (b->pause_at >= 0 && b->given >= b->pause_at) {
        b->pause_at = -1;
        b->paused = true;
        assert_int_equal(timer_start(&b->timer, 20), 0);
    }
    if (b->paused) {
        return 0;
    }
    char x[1000];
    memset(x, 'x', sizeof(x));
    int64_t n = max_bytes < (int64_t)sizeof(x) ? max_bytes : (int64_t)sizeof(x);
    ssize_t r = send(fd, x, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r < 0) {
        return -errno;
    }
    b->given += r;
    return r;
}

static inline void site_body_done(struct body *body, int status)
{
    struct site_body *b = CONTAINER_OF(body, struct site_body, body);
    timer_stop(&b->timer);
    b->site->last_body_status = status;
    b->site->bodies_open--;
    free(b);
}

static const struct body_ops site_body_ops = {
    .write = site_body_write, .ready = site_body_ready, .done = site_body_done};

static inline void site_flow(struct site *site, struct conn *c, int64_t length, int64_t pause_at,
                             int64_t break_at, int ready)
{
    struct site_body *b = calloc(1, sizeof(*b));
    if (!b) {
        server_respond(c, 500, NULL, NULL, 0);
        return;
    }
    *b = (struct site_body){.body.ops = &site_body_ops,
                            .site = site,
                            .pause_at = pause_at,
                            .break_at = break_at,
                            .ready = ready};
    timer_init(&b->timer, site->scene.loop, site_body_wake, b);
    site->bodies_open++;
    server_respond_body(c, 200, &site->fields, length, &b->body);
    assert_int_equal(b->given, 0); /* nothing runs inside */
}

static inline void site_file(struct site *site, struct conn *c, const char *range)
{
    long offset = 0, length = SITE_FILE_BYTES;
    (void)sscanf(range, "%ld/%ld", &offset, &length);
    struct body *body;
    int fd = open(site->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 ||
        file_body_new(site->scene.loop, fd, offset, length, site_file_finished, site, &body) < 0) {
        server_respond(c, 500, NULL, NULL, 0);
        return;
    }
    site->bodies_open++;
    server_respond_body(c, offset ? 206 : 200, &site->fields, length, body);
}

static inline void site_later(void *arg)
{
    struct site *site = arg;
    struct conn *c = site->later_conn;
    site->later_conn = NULL;
    server_respond(c, 200, NULL, "later", 5);
}

static inline void site_drained(void *arg)
{
    ((struct site *)arg)->drained = true;
}

static inline void site_request(void *arg, struct conn *c, const struct http_request *r)
{
    struct site *site = arg;
    site->requests++;
    site->last_local = conn_is_local(c);
    conn_set_user(c, site);
    conn_on_finished(c, site_finished, site);
    if (strcmp(r->target, "/small") == 0) {
        server_respond(c, 200, &site->fields, "hello", 5);
        assert_int_equal(conn_user(c) == site, 1);
    } else if (strcmp(r->target, "/echo") == 0) {
        server_respond(c, 200, NULL, r->user_agent, r->user_agent ? strlen(r->user_agent) : 0);
    } else if (strcmp(r->target, "/head") == 0) {
        server_respond_head(c, 200, &site->fields, 123456789);
    } else if (strcmp(r->target, "/304") == 0) {
        server_respond_head(c, 304, NULL, -1);
    } else if (strcmp(r->target, "/big") == 0) {
        server_respond(c, 200, NULL, site->big, SITE_BIG_BYTES);
    } else if (strcmp(r->target, "/later") == 0) {
        site->later_conn = c;
        assert_int_equal(timer_start(&site->later, 20), 0);
    } else if (strcmp(r->target, "/hang") == 0) {
        site->later_conn = c;
    } else if (strncmp(r->target, "/file/", 6) == 0) {
        site_file(site, c, r->target + 6);
    } else if (strcmp(r->target, "/flow") == 0) {
        site_flow(site, c, 3000000, 1500, -1, 1);
    } else if (strcmp(r->target, "/endless") == 0) {
        site_flow(site, c, INT64_MAX, -1, -1, 1);
    } else if (strcmp(r->target, "/empty") == 0) {
        site_flow(site, c, 0, -1, -1, 1);
    } else if (strcmp(r->target, "/breaks") == 0) {
        site_flow(site, c, 3000, -1, 2000, 1);
    } else if (strcmp(r->target, "/ready-later") == 0) {
        site_flow(site, c, 3000, -1, -1, 0);
    } else if (strcmp(r->target, "/never-ready") == 0) {
        site_flow(site, c, 3000, -1, -1, -EIO);
    } else if (strcmp(r->target, "/drain") == 0) {
        scene_sleep_ms(60); /* so that what the clients send meanwhile crosses our closing */
        server_drain(site->server, site->drain_max_ms ? site->drain_max_ms : 2000, site_drained,
                     site);
        site_flow(site, c, 3000, 1500, -1, 1);
    } else {
        server_respond(c, 404, NULL, NULL, 0);
    }
}

static inline void site_gone(void *arg, struct conn *c)
{
    struct site *site = arg;
    assert_ptr_equal(conn_user(c), site);
    if (site->later_conn == c) {
        timer_stop(&site->later);
        site->later_conn = NULL;
    }
    site->gone++;
}

static inline char site_file_byte(size_t i)
{
    return (char)((i >> 12) * 31 + i * 7);
}

static inline void site_make_file(struct site *site)
{
    (void)snprintf(site->path, sizeof(site->path), "./test_server_XXXXXX");
    int fd = mkstemp(site->path);
    assert_true(fd >= 0);
    static char bytes[SITE_FILE_BYTES];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = site_file_byte(i);
    }
    assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    (void)close(fd);
}

static const struct server_limits site_usual_limits = {.head_timeout_ms = 10000,
                                                       .idle_timeout_ms = 20000,
                                                       .stall_ms = 10000,
                                                       .drain_ms = 500,
                                                       .connections = 100};

/* Serves `client` until it returns. False: no memory to begin with. */
static inline bool site_serve(struct site *site, const struct server_limits *limits,
                              void (*client)(struct scene *scene))
{
    struct server_handler handler = {.request = site_request, .gone = site_gone, .arg = site};
    if (loop_new(&site->scene.loop) < 0) {
        return false;
    }
    buf_init(&site->fields, 1000);
    bool ran = http_head_field(&site->fields, "X-Test", "1") == 0 &&
               server_new(site->scene.loop, &handler, &site->server) == 0;
    if (ran) {
        server_set_limits(site->server, limits ? limits : &site_usual_limits);
        timer_init(&site->later, site->scene.loop, site_later, site);
        ran = server_listen(site->server, "127.0.0.1:0", NULL) == 0;
        if (ran) {
            site->scene.port = server_port(site->server);
            site->scene.arg = site;
            ran = scene_run(&site->scene, client);
        }
        timer_stop(&site->later);
        server_free(site->server);
    }
    buf_done(&site->fields);
    loop_free(site->scene.loop);
    assert_int_equal(site->bodies_open, 0);
    return ran;
}

/* cmocka's: a site with its files; what a test serves of it is its own. */
static inline int site_set_up(void **state)
{
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    site->big = calloc(1, SITE_BIG_BYTES);
    assert_non_null(site->big);
    site_make_file(site);
    *state = site;
    return 0;
}

static inline int site_tear_down(void **state)
{
    struct site *site = *state;
    (void)unlink(site->path);
    free(site->big);
    free(site);
    return 0;
}
