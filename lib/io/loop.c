#include "io/loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

#define BEAT_US 20000
#define BEATS_PER_TURN_MAX 1000 /* of those missed while the loop stood still */

const double loop_delay_bounds_ms[11] = {0.25, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 500};

uint64_t clock_now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- the heartbeat: how late the loop is --- */

static void delay_count(struct loop *loop, double late_ms)
{
    struct loop_delay *d = &loop->delay;
    size_t i = 0;
    while (i < 11 && late_ms > loop_delay_bounds_ms[i]) {
        i++;
    }
    d->buckets[i]++;
    d->count++;
    d->sum_ms += late_ms;
    if (late_ms > d->max_ms) {
        d->max_ms = late_ms;
    }
    loop->last_delay_ms = late_ms;
}

/* A turn of 100 ms makes five beats late, by 100, 80, … ms: each counts, as each would have been
 * the wait of somebody's request. */
static void beat(void *arg, int events)
{
    (void)events;
    struct loop *loop = arg;
    uint64_t expirations = 0;
    if (read(loop->beat_fd, &expirations, sizeof(expirations)) != sizeof(expirations)) {
        return;
    }
    uint64_t now_us = clock_now_us();
    uint64_t skipped = expirations > BEATS_PER_TURN_MAX ? expirations - BEATS_PER_TURN_MAX : 0;
    loop->beats += skipped;
    for (uint64_t i = skipped; i < expirations; i++) {
        uint64_t due_us = loop->beat_start_us + ++loop->beats * BEAT_US;
        delay_count(loop, now_us > due_us ? (double)(now_us - due_us) / 1000 : 0);
    }
}

static int beat_init(struct loop *loop)
{
    loop->beat_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->beat_fd < 0) {
        return -errno;
    }
    int r = poll_new(loop, loop->beat_fd, beat, loop, &loop->beat_poll);
    if (r < 0) {
        (void)close(loop->beat_fd);
        return r;
    }
    return 0;
}

/* Started with the loop, not made with it: what came before is nobody's delay. */
static int beat_start(struct loop *loop)
{
    loop->beats = 0;
    loop->beat_start_us = clock_now_us();
    uint64_t first_us = loop->beat_start_us + BEAT_US;
    struct itimerspec every = {
        .it_interval = {.tv_nsec = BEAT_US * 1000L},
        .it_value = {.tv_sec = (time_t)(first_us / 1000000),
                     .tv_nsec = (long)(first_us % 1000000) * 1000},
    };
    if (timerfd_settime(loop->beat_fd, TFD_TIMER_ABSTIME, &every, NULL) < 0) {
        return -errno;
    }
    return poll_set(loop->beat_poll, POLL_READABLE);
}

const struct loop_delay *loop_delay(const struct loop *loop)
{
    return &loop->delay;
}

double loop_last_delay_ms(const struct loop *loop)
{
    return loop->last_delay_ms;
}

/* --- deferred calls --- */

static void deferred_run(uv_idle_t *handle)
{
    struct loop *loop = handle->data;
    loop->now_head = loop->next_head;
    loop->next_head = loop->next_tail = NULL;
    while (loop->now_head) {
        struct defer *d = loop->now_head;
        loop->now_head = d->next;
        d->next = NULL;
        d->loop = NULL;
        d->callback(d->arg);
    }
    if (!loop->next_head) {
        (void)uv_idle_stop(&loop->idle);
    }
}

void defer_init(struct defer *d, void (*callback)(void *arg), void *arg)
{
    *d = (struct defer){.callback = callback, .arg = arg};
}

void defer_start(struct loop *loop, struct defer *d)
{
    if (d->loop) {
        return;
    }
    d->loop = loop;
    d->next = NULL;
    if (loop->next_tail) {
        loop->next_tail->next = d;
    } else {
        loop->next_head = d;
        (void)uv_idle_start(&loop->idle, deferred_run);
    }
    loop->next_tail = d;
}

static bool defer_unlink(struct defer **head, struct defer **tail, struct defer *d)
{
    struct defer *previous = NULL;
    for (struct defer **link = head; *link; link = &(*link)->next) {
        if (*link == d) {
            *link = d->next;
            if (tail && *tail == d) {
                *tail = previous;
            }
            return true;
        }
        previous = *link;
    }
    return false;
}

void defer_stop(struct defer *d)
{
    if (!d->loop) {
        return;
    }
    struct loop *loop = d->loop;
    CHECK(defer_unlink(&loop->now_head, NULL, d) ||
          defer_unlink(&loop->next_head, &loop->next_tail, d));
    d->next = NULL;
    d->loop = NULL;
}

bool defer_pending(const struct defer *d)
{
    return d->loop != NULL;
}

/* --- the thread pool --- */

struct work_request {
    uv_work_t handle;
    struct work *work;
};

static void work_run(uv_work_t *handle)
{
    struct work *w = ((struct work_request *)handle->data)->work;
    w->run(w);
}

static void work_done(uv_work_t *handle, int status)
{
    struct work_request *request = handle->data;
    struct work *w = request->work;
    free(request);
    w->internal = NULL;
    w->done(w, status == 0 ? 0 : -ECANCELED);
}

int work_start(struct loop *loop, struct work *w)
{
    CHECK(w->run && w->done);
    struct work_request *request = calloc(1, sizeof(*request));
    if (!request) {
        return -ENOMEM;
    }
    request->handle.data = request;
    request->work = w;
    w->internal = request;
    CHECK(uv_queue_work(&loop->uv, &request->handle, work_run, work_done) == 0);
    return 0;
}

void work_cancel(struct work *w)
{
    struct work_request *request = w->internal;
    if (request) {
        (void)uv_cancel((uv_req_t *)&request->handle); /* EBUSY: it runs, and will end */
    }
}

/* --- signals --- */

static void signal_fired(uv_signal_t *handle, int signum)
{
    struct loop_signal *s = handle->data;
    s->callback(s->arg, signum);
}

static void signal_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int loop_on_signal(struct loop *loop, int signum, void (*callback)(void *arg, int signum),
                   void *arg)
{
    CHECK(signum > 0 && signum < LOOP_SIGNALS && !loop->signals[signum]);
    struct loop_signal *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    s->callback = callback;
    s->arg = arg;
    s->handle.data = s;
    int r = uv_signal_init(&loop->uv, &s->handle);
    if (r < 0) {
        free(s);
        return r;
    }
    r = uv_signal_start(&s->handle, signal_fired, signum);
    if (r < 0) {
        uv_close((uv_handle_t *)&s->handle, signal_closed);
        return r;
    }
    loop->signals[signum] = s;
    return 0;
}

/* --- the loop itself --- */

int loop_new(struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        return -ENOMEM;
    }
    int r = uv_loop_init(&loop->uv);
    if (r < 0) {
        free(loop);
        return r;
    }
    (void)loop_timers_init(loop);
    loop->idle.data = loop;
    (void)uv_idle_init(&loop->uv, &loop->idle);
    r = beat_init(loop);
    if (r < 0) {
        loop->beat_fd = -1;
        loop_free(loop);
        return r;
    }
    *ret_loop = loop;
    return 0;
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    poll_free(loop->beat_poll);
    loop_timers_done(loop);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    for (int i = 0; i < LOOP_SIGNALS; i++) {
        if (loop->signals[i]) {
            uv_close((uv_handle_t *)&loop->signals[i]->handle, signal_closed);
        }
    }
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT); /* for the close callbacks */
    CHECK(uv_loop_close(&loop->uv) == 0);
    if (loop->beat_fd >= 0) {
        (void)close(loop->beat_fd);
    }
    free(loop);
}

void loop_run(struct loop *loop)
{
    CHECK(!loop->running);
    CHECK(beat_start(loop) == 0);
    loop->running = true;
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    loop->running = false;
    (void)poll_set(loop->beat_poll, 0);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return uv_now(&loop->uv);
}
