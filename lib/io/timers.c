#include "io/loop_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"

/* One uv_timer serves the whole heap. It is set again only when the top moves forward; a top that
 * moved back makes it fire early once, which costs less than setting it for every request. */

static bool heap_less(const struct loop *loop, size_t a, size_t b)
{
    return loop->heap[a]->due_ms < loop->heap[b]->due_ms;
}

static void heap_place(struct loop *loop, struct timer *t, size_t i)
{
    loop->heap[i] = t;
    t->position = i + 1;
}

static void heap_swap(struct loop *loop, size_t a, size_t b)
{
    struct timer *t = loop->heap[a];
    heap_place(loop, loop->heap[b], a);
    heap_place(loop, t, b);
}

static void heap_up(struct loop *loop, size_t i)
{
    while (i > 0 && heap_less(loop, i, (i - 1) / 2)) {
        heap_swap(loop, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void heap_down(struct loop *loop, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < loop->heap_count; child++) {
            if (heap_less(loop, child, least)) {
                least = child;
            }
        }
        if (least == i) {
            return;
        }
        heap_swap(loop, i, least);
        i = least;
    }
}

static void heap_remove(struct loop *loop, struct timer *t)
{
    size_t i = t->position - 1;
    CHECK(i < loop->heap_count && loop->heap[i] == t);
    struct timer *last = loop->heap[--loop->heap_count];
    t->position = 0;
    if (last != t) {
        heap_place(loop, last, i);
        heap_up(loop, i);
        heap_down(loop, last->position - 1);
    }
}

static void alarm_fired(uv_timer_t *handle);

static void alarm_set(struct loop *loop)
{
    if (loop->heap_count == 0 || loop->expiring) {
        return;
    }
    uint64_t due_ms = loop->heap[0]->due_ms;
    if (due_ms >= loop->alarm_due_ms) {
        return;
    }
    uint64_t now_ms = uv_now(&loop->uv);
    loop->alarm_due_ms = due_ms;
    CHECK(uv_timer_start(&loop->alarm, alarm_fired, due_ms > now_ms ? due_ms - now_ms : 0, 0) == 0);
}

static void alarm_fired(uv_timer_t *handle)
{
    struct loop *loop = handle->data;
    uint64_t now_ms = uv_now(&loop->uv);
    loop->alarm_due_ms = UINT64_MAX;
    loop->expiring = true; /* what callbacks start now is due in a later turn */
    while (loop->heap_count > 0 && loop->heap[0]->due_ms <= now_ms) {
        struct timer *t = loop->heap[0];
        heap_remove(loop, t);
        t->callback(t->arg);
    }
    loop->expiring = false;
    alarm_set(loop);
}

int loop_timers_init(struct loop *loop)
{
    loop->alarm_due_ms = UINT64_MAX;
    loop->alarm.data = loop;
    return uv_timer_init(&loop->uv, &loop->alarm);
}

void loop_timers_done(struct loop *loop)
{
    for (size_t i = 0; i < loop->heap_count; i++) {
        loop->heap[i]->position = 0;
    }
    loop->heap_count = 0;
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    free(loop->heap);
    loop->heap = NULL;
}

void timer_init(struct timer *t, struct loop *loop, void (*callback)(void *arg), void *arg)
{
    *t = (struct timer){.loop = loop, .callback = callback, .arg = arg};
}

int timer_start(struct timer *t, uint64_t delay_ms)
{
    struct loop *loop = t->loop;
    if (!loop->running) {
        uv_update_time(&loop->uv); /* the cached time may be as old as the loop */
    }
    if (loop->expiring && delay_ms == 0) {
        delay_ms = 1; /* so that a timer restarting itself cannot hold up the turn */
    }
    if (t->position) {
        heap_remove(loop, t);
    } else if (loop->heap_count == loop->heap_capacity) {
        size_t capacity = loop->heap_capacity ? loop->heap_capacity * 2 : 64;
        struct timer **heap = realloc(loop->heap, capacity * sizeof(struct timer *));
        if (!heap) {
            return -ENOMEM;
        }
        loop->heap = heap;
        loop->heap_capacity = capacity;
    }
    t->due_ms = uv_now(&loop->uv) + delay_ms;
    heap_place(loop, t, loop->heap_count++);
    heap_up(loop, t->position - 1);
    alarm_set(loop);
    return 0;
}

void timer_stop(struct timer *t)
{
    if (t->position) {
        heap_remove(t->loop, t);
    }
}

bool timer_running(const struct timer *t)
{
    return t->position != 0;
}
