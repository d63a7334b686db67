/* loop_internal.h - what the files of the loop share; nobody else includes it. */
#pragma once

#include <uv.h>

#include "io/loop.h"

#define LOOP_SIGNALS 65

struct loop_signal {
    uv_signal_t handle;
    void (*callback)(void *arg, int signum);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    bool running;

    /* timers.c */
    uv_timer_t alarm; /* set for the heap's top, or earlier */
    struct timer **heap;
    size_t heap_count, heap_capacity;
    uint64_t alarm_due_ms; /* UINT64_MAX: not set */
    bool expiring;

    /* loop.c */
    uv_idle_t idle; /* runs while calls are deferred */
    struct defer *now_head, *next_head, *next_tail;
    struct loop_signal *signals[LOOP_SIGNALS];

    int beat_fd; /* a timerfd; its expirations are due at beat_start_us + n * 20 ms */
    struct poll *beat_poll;
    uint64_t beat_start_us, beats;
    struct loop_delay delay;
    double last_delay_ms;
};

int loop_timers_init(struct loop *loop);
void loop_timers_done(struct loop *loop);
