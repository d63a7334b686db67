/* loop.h - the one event loop: timers, descriptors, signals, jobs on the thread pool.
 *
 * Wraps libuv so that everything a caller stops is stopped when the call returns: after
 * timer_stop, poll_free or work_cancel's callback nothing runs any more and the memory may go.
 * One thread; every callback runs from loop_run, never inside a start function. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

int loop_new(struct loop **ret_loop); /* 0, -ENOMEM, -EMFILE */
void loop_free(struct loop *loop);    /* every poll must have been freed and every work ended */
void loop_run(struct loop *loop);     /* until loop_stop */
void loop_stop(struct loop *loop);
struct uv_loop_s *loop_uv(struct loop *loop); /* for files in io/ only */

uint64_t loop_now_ms(const struct loop *loop); /* monotonic, cached once per turn */
uint64_t clock_now_us(void);                   /* monotonic, read now */
uint64_t clock_wall_ms(void);                  /* Unix time */

/* How late the loop runs: a 20 ms heartbeat's lateness, kept as a histogram. */
struct loop_delay {
    uint64_t count;
    uint64_t buckets[12]; /* ≤ 0.25 0.5 1 2 3 5 10 20 50 100 500 ms, then more */
    double sum_ms, max_ms;
};
extern const double loop_delay_bounds_ms[11];
const struct loop_delay *loop_delay(const struct loop *loop);
double loop_last_delay_ms(const struct loop *loop); /* of the last heartbeat: is the loop late? */

/* --- timers: caller-owned, in one heap under one uv_timer --- */
struct timer {
    struct loop *loop;
    void (*callback)(void *arg);
    void *arg;
    uint64_t due_ms; /* internal */
    size_t position; /* internal: place in the heap + 1; 0 = not running */
};
void timer_init(struct timer *t, struct loop *loop, void (*callback)(void *arg), void *arg);
/* (Re)starts; runs once, `delay_ms` from now. -ENOMEM only if the heap could not grow. */
int timer_start(struct timer *t, uint64_t delay_ms);
void timer_stop(struct timer *t); /* not running, or never initialised beyond zero: fine */
bool timer_running(const struct timer *t);

/* --- descriptors --- */
#define POLL_READABLE 1
#define POLL_WRITABLE 2
#define POLL_HANGUP 4 /* the peer shut down its writing; reported as long as it is asked for */
#define POLL_ERROR 8  /* dead; reported unasked. Asked for alone: nothing else is reported */
struct poll;
/* Watches nothing until poll_set. With POLL_ERROR come all the events asked for: the system calls
 * then tell what is wrong. The descriptor stays the caller's: free the poll first, then
 * close. 0 or -ENOMEM or what epoll says. */
int poll_new(struct loop *loop, int fd, void (*callback)(void *arg, int events), void *arg,
             struct poll **ret_poll);
int poll_set(struct poll *p, int events);
void poll_free(struct poll *p); /* NULL is fine; no callback runs after */

/* --- the thread pool --- */
struct work {                                 /* caller-owned; must not move until `done` ran */
    void (*run)(struct work *w);              /* on a pool thread: touch only what the work owns */
    void (*done)(struct work *w, int status); /* in the loop, exactly once: 0 or -ECANCELED */
    void *internal;
};
int work_start(struct loop *loop, struct work *w); /* 0 or -ENOMEM; set run and done before */
/* Asks to forget it: `done` still comes, with -ECANCELED if it had not begun, else 0 at its end. */
void work_cancel(struct work *w);

/* --- deferred calls: run in the next turn of the loop, in order --- */
struct defer {
    struct defer *next; /* internal */
    struct loop *loop;  /* internal; NULL: not pending */
    void (*callback)(void *arg);
    void *arg;
};
void defer_init(struct defer *d, void (*callback)(void *arg), void *arg);
void defer_start(struct loop *loop, struct defer *d); /* pending already: nothing happens */
void defer_stop(struct defer *d);
bool defer_pending(const struct defer *d);

/* --- signals: at most one watch a signal --- */
int loop_on_signal(struct loop *loop, int signum, void (*callback)(void *arg, int signum),
                   void *arg);
