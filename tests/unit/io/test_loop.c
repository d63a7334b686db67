#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "io/loop.h"

#define TIMERS 200

struct stage {
    struct loop *loop;
    struct timer timers[TIMERS], end;
    unsigned fired;
    char order[64];
    struct defer defers[4];
    struct poll *poll;
    int fds[2], events, calls;
    struct work works[8];
    int work_done, work_cancelled, signalled;
};

static void stop(void *arg)
{
    loop_stop(((struct stage *)arg)->loop);
}

static struct stage *stage_new(void)
{
    struct stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    assert_int_equal(loop_new(&s->loop), 0);
    timer_init(&s->end, s->loop, stop, s);
    return s;
}

static void stage_run(struct stage *s, uint64_t ms)
{
    assert_int_equal(timer_start(&s->end, ms), 0);
    loop_run(s->loop);
}

static void stage_free(struct stage *s)
{
    timer_stop(&s->end);
    loop_free(s->loop);
    free(s);
}

static void timer_fired(void *arg)
{
    struct stage *s = arg;
    s->fired++;
}

static void timers_fire_once_and_stopped_ones_never(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    for (size_t i = 0; i < TIMERS; i++) {
        timer_init(&s->timers[i], s->loop, timer_fired, s);
        assert_int_equal(timer_start(&s->timers[i], (i * 37) % 50), 0);
    }
    for (size_t i = 0; i < TIMERS; i += 2) {
        timer_stop(&s->timers[i]);
        timer_stop(&s->timers[i]);
    }
    assert_false(timer_running(&s->timers[0]));
    assert_true(timer_running(&s->timers[1]));
    stage_run(s, 120);
    assert_int_equal(s->fired, TIMERS / 2);
    assert_false(timer_running(&s->timers[1]));
    stage_free(s);
}

static void order_a(void *arg)
{
    strcat(((struct stage *)arg)->order, "a");
}

static void order_b(void *arg)
{
    strcat(((struct stage *)arg)->order, "b");
}

static void order_stops_b(void *arg)
{
    struct stage *s = arg;
    strcat(s->order, "s");
    timer_stop(&s->timers[1]);
    defer_stop(&s->defers[1]);
}

static void timers_fire_in_the_order_they_are_due_and_restarting_moves_them(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    timer_init(&s->timers[0], s->loop, order_a, s);
    timer_init(&s->timers[1], s->loop, order_b, s);
    assert_int_equal(timer_start(&s->timers[0], 5), 0);
    assert_int_equal(timer_start(&s->timers[1], 20), 0);
    assert_int_equal(timer_start(&s->timers[0], 40), 0);
    stage_run(s, 80);
    assert_string_equal(s->order, "ba");
    /* One callback stops another that is due in the same turn. */
    timer_init(&s->timers[0], s->loop, order_stops_b, s);
    assert_int_equal(timer_start(&s->timers[0], 5), 0);
    assert_int_equal(timer_start(&s->timers[1], 5), 0);
    stage_run(s, 30);
    assert_string_equal(s->order, "bas");
    stage_free(s);
}

static void restart_at_once(void *arg)
{
    struct stage *s = arg;
    s->fired++;
    assert_int_equal(timer_start(&s->timers[0], 0), 0);
}

static void a_timer_restarting_itself_does_not_hold_up_the_loop(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    timer_init(&s->timers[0], s->loop, restart_at_once, s);
    assert_int_equal(timer_start(&s->timers[0], 0), 0);
    stage_run(s, 20);
    assert_in_range(s->fired, 2, 25);
    stage_free(s);
}

static void a_timer_started_long_after_the_loop_was_made_still_waits(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    struct timespec nap = {.tv_nsec = 50000000};
    (void)nanosleep(&nap, NULL);
    uint64_t start_us = clock_now_us();
    stage_run(s, 40);
    assert_true(clock_now_us() - start_us >= 38000);
    stage_free(s);
}

static void defer_again(void *arg)
{
    struct stage *s = arg;
    strcat(s->order, "d");
    if (strlen(s->order) < 6) {
        defer_start(s->loop, &s->defers[0]);
    }
}

static void deferred_calls_run_in_order_and_can_be_stopped(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    defer_init(&s->defers[0], order_stops_b, s);
    defer_init(&s->defers[1], order_b, s);
    defer_init(&s->defers[2], order_a, s);
    defer_start(s->loop, &s->defers[0]);
    defer_start(s->loop, &s->defers[1]);
    defer_start(s->loop, &s->defers[2]);
    defer_start(s->loop, &s->defers[2]);
    assert_string_equal(s->order, "");
    stage_run(s, 10);
    assert_string_equal(s->order, "sa");
    /* Stopping the last of the queue leaves it usable. */
    defer_start(s->loop, &s->defers[2]);
    defer_start(s->loop, &s->defers[1]);
    defer_stop(&s->defers[1]);
    defer_init(&s->defers[0], defer_again, s);
    defer_start(s->loop, &s->defers[0]);
    stage_run(s, 10);
    assert_string_equal(s->order, "saaddd");
    stage_free(s);
}

static void poll_fired(void *arg, int events)
{
    struct stage *s = arg;
    s->calls++;
    s->events |= events;
    poll_free(s->poll); /* inside its own callback, with the descriptor closed at once */
    (void)close(s->fds[0]);
    s->poll = NULL;
}

static void a_poll_may_be_freed_in_its_callback(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->fds), 0);
    assert_int_equal(poll_new(s->loop, s->fds[0], poll_fired, s, &s->poll), 0);
    assert_int_equal(poll_set(s->poll, POLL_READABLE | POLL_WRITABLE), 0);
    assert_int_equal(write(s->fds[1], "x", 1), 1);
    stage_run(s, 10);
    assert_int_equal(s->calls, 1);
    assert_int_equal(s->events, POLL_READABLE | POLL_WRITABLE);
    (void)close(s->fds[1]);
    stage_free(s);
}

static void poll_noted(void *arg, int events)
{
    struct stage *s = arg;
    s->calls++;
    s->events |= events;
    assert_int_equal(poll_set(s->poll, 0), 0);
}

static void a_poll_reports_what_it_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        int asked;
        bool data, shut_down;
        int reported;
    } rows[] = {
        {POLL_READABLE, false, false, 0},
        {POLL_READABLE, true, false, POLL_READABLE},
        {POLL_WRITABLE, true, false, POLL_WRITABLE},
        {POLL_HANGUP, true, false, 0},
        {POLL_HANGUP, false, true, POLL_HANGUP},
        {POLL_ERROR, true, true, 0},
        {0, true, true, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stage *s = stage_new();
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->fds), 0);
        assert_int_equal(poll_new(s->loop, s->fds[0], poll_noted, s, &s->poll), 0);
        assert_int_equal(poll_set(s->poll, rows[i].asked), 0);
        if (rows[i].data) {
            assert_int_equal(write(s->fds[1], "x", 1), 1);
        }
        if (rows[i].shut_down) {
            assert_int_equal(shutdown(s->fds[1], SHUT_WR), 0);
        }
        stage_run(s, 10);
        assert_int_equal(s->events, rows[i].reported);
        assert_int_equal(s->calls, rows[i].reported != 0);
        poll_free(s->poll);
        (void)close(s->fds[0]);
        (void)close(s->fds[1]);
        stage_free(s);
    }
}

static void work_run(struct work *w)
{
    (void)w;
    struct timespec nap = {.tv_nsec = 20000000};
    (void)nanosleep(&nap, NULL);
}

static struct stage *work_stage;

static void work_done(struct work *w, int status)
{
    assert_true(status == 0 || status == -ECANCELED);
    assert_in_range(w - work_stage->works, 0, 7);
    work_stage->work_done += status == 0;
    work_stage->work_cancelled += status == -ECANCELED;
}

static void work_ends_exactly_once_cancelled_or_not(void **state)
{
    (void)state;
    struct stage *s = work_stage = stage_new();
    for (size_t i = 0; i < 8; i++) {
        s->works[i] = (struct work){.run = work_run, .done = work_done};
        assert_int_equal(work_start(s->loop, &s->works[i]), 0);
    }
    for (size_t i = 4; i < 8; i++) {
        work_cancel(&s->works[i]);
        work_cancel(&s->works[i]);
    }
    assert_int_equal(s->work_done + s->work_cancelled, 0);
    stage_run(s, 150);
    assert_int_equal(s->work_done + s->work_cancelled, 8);
    assert_in_range(s->work_cancelled, 1, 4);
    work_cancel(&s->works[0]); /* long over */
    stage_free(s);
}

static void signalled(void *arg, int signum)
{
    struct stage *s = arg;
    s->signalled = signum;
    loop_stop(s->loop);
}

static void signals_arrive_in_the_loop(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    assert_int_equal(loop_on_signal(s->loop, SIGUSR1, signalled, s), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    stage_run(s, 1000);
    assert_int_equal(s->signalled, SIGUSR1);
    stage_free(s);
}

static void block_the_loop(void *arg)
{
    (void)arg;
    struct timespec nap = {.tv_nsec = 150000000};
    (void)nanosleep(&nap, NULL);
}

static void a_blocked_loop_shows_in_the_histogram_of_delays(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    timer_init(&s->timers[0], s->loop, block_the_loop, s);
    assert_int_equal(timer_start(&s->timers[0], 30), 0);
    stage_run(s, 300);
    const struct loop_delay *d = loop_delay(s->loop);
    assert_in_range(d->count, 8, 16); /* every 20 ms, the blocked time included */
    assert_true(d->max_ms >= 120 && d->sum_ms >= d->max_ms);
    assert_true(d->buckets[10] >= 1); /* 100 to 500 ms */
    assert_true(d->buckets[8] + d->buckets[9] >= 2);
    assert_true(loop_last_delay_ms(s->loop) < d->max_ms);
    stage_free(s);
}

static void without_memory(void)
{
    struct loop *loop = NULL;
    if (loop_new(&loop) < 0) {
        return;
    }
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct poll *poll = NULL;
    struct timer timer;
    timer_init(&timer, loop, stop, NULL);
    int r = timer_start(&timer, 1);
    assert_true(r == 0 || r == -ENOMEM);
    r = poll_new(loop, fds[0], poll_fired, NULL, &poll);
    assert_true(r == 0 || r == -ENOMEM);
    r = loop_on_signal(loop, SIGUSR1, signalled, NULL);
    assert_true(r == 0 || r == -ENOMEM);
    timer_stop(&timer);
    poll_free(poll);
    (void)close(fds[0]);
    (void)close(fds[1]);
    loop_free(loop);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP(without_memory());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_and_stopped_ones_never),
        cmocka_unit_test(timers_fire_in_the_order_they_are_due_and_restarting_moves_them),
        cmocka_unit_test(a_timer_restarting_itself_does_not_hold_up_the_loop),
        cmocka_unit_test(a_timer_started_long_after_the_loop_was_made_still_waits),
        cmocka_unit_test(deferred_calls_run_in_order_and_can_be_stopped),
        cmocka_unit_test(a_poll_may_be_freed_in_its_callback),
        cmocka_unit_test(a_poll_reports_what_it_is_asked_for),
        cmocka_unit_test(work_ends_exactly_once_cancelled_or_not),
        cmocka_unit_test(signals_arrive_in_the_loop),
        cmocka_unit_test(a_blocked_loop_shows_in_the_histogram_of_delays),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
