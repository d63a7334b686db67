#include "registry/race.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "registry/mirror_internal.h"

static bool race_ask_next(struct race *race);

static void race_note(struct race *race, const struct mirror_holder *holder, const char *outcome)
{
    mirror_note_attempt(race->log, holder, outcome);
}

void race_stop(struct race *race)
{
    if (!race->running) {
        return;
    }
    race->running = false;
    timer_stop(&race->timer);
    LIST_EACH_SAFE (link, &race->attempts) {
        attempt_free(CONTAINER_OF(link, struct attempt, link));
    }
}

/* A holder that let us wait for longer than it took to ask another one too may be dead or frozen:
 * gossip is asked to look. */
static void race_report_silent(struct race *race, bool failed)
{
    struct mirror *m = race->mirror;
    struct digest key;
    mirror_key(race->want.query, &key);
    LIST_EACH (link, &race->attempts) {
        struct attempt *a = CONTAINER_OF(link, struct attempt, link);
        uint64_t waited_ms = (clock_now_us() - a->asked_us) / 1000;
        if (a->state == ATTEMPT_ASKED &&
            (failed || waited_ms > head_times_hedge_ms(&m->head_times))) {
            m->config.unreachable(m->config.arg, a->holder.node_id);
        }
        if (failed && a->state != ATTEMPT_BUDGET) {
            mirror_mark_failed(m, race->want.query, &key, &a->holder);
            race_note(race, &a->holder, a->state == ATTEMPT_ASKED ? "no answer" : "too slow");
        }
    }
}

static void race_lost(struct race *race)
{
    race_report_silent(race, true);
    race_stop(race);
    race->lost(race);
}

/* When to look again: to ask the next holder, or to give up. */
static uint64_t race_due_ms(struct race *race, bool *ret_is_hedge)
{
    struct mirror *m = race->mirror;
    uint64_t give_up_ms = race->started_ms + LIMIT_MIRROR_TOTAL_MS;
    if (!race->head_ms && race->asked_ms + LIMIT_HEAD_WAIT_MS < give_up_ms) {
        give_up_ms = race->asked_ms + LIMIT_HEAD_WAIT_MS;
    }
    *ret_is_hedge = false;
    if (race->next >= race->count) {
        return give_up_ms;
    }
    uint64_t hedge_ms = race->head_ms > race->asked_ms
                            ? race->head_ms + LIMIT_HEDGE_MAX_MS
                            : race->asked_ms + head_times_hedge_ms(&m->head_times);
    /* Holders yet to be asked do not prolong the whole. */
    uint64_t end_ms = race->started_ms + LIMIT_MIRROR_TOTAL_MS;
    *ret_is_hedge = hedge_ms < end_ms;
    return *ret_is_hedge ? hedge_ms : end_ms;
}

static void race_arm(struct race *race)
{
    bool is_hedge;
    uint64_t now_ms = loop_now_ms(race->mirror->loop);
    uint64_t due_ms = race_due_ms(race, &is_hedge);
    /* It was in the heap when the race began, so there is room for it. */
    (void)timer_start(&race->timer, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void race_timer_fired(void *arg)
{
    struct race *race = arg;
    bool is_hedge;
    uint64_t now_ms = loop_now_ms(race->mirror->loop), due_ms = race_due_ms(race, &is_hedge);
    if (due_ms > now_ms) {
        race_arm(race);
        return;
    }
    /* So late that it was we who were away, and nobody has looked yet at what came meanwhile: a
     * paused machine or a throttled container says nothing about the holders. */
    if (!race->was_late && now_ms - due_ms > LIMIT_HEDGE_MIN_MS) {
        race->was_late = true;
        (void)timer_start(&race->timer, LIMIT_HEDGE_MIN_MS); /* room in the heap: as above */
        return;
    }
    if (!is_hedge) {
        race_lost(race);
        return;
    }
    race->mirror->counters.hedged++;
    if (race_ask_next(race) || !list_empty(&race->attempts)) {
        race_arm(race);
    } else {
        race_lost(race);
    }
}

/* --- what attempts say --- */

static void on_attempt_head(struct attempt *a)
{
    struct race *race = a->arg;
    race->head_ms = loop_now_ms(race->mirror->loop);
    race_arm(race);
}

static void on_attempt_ready(struct attempt *a)
{
    struct race *race = a->arg;
    list_remove(&a->link);
    race_report_silent(race, false);
    race_stop(race);
    race->won(race, a);
}

/* The hedge after a good head counts from the latest one still at work. */
static bool some_has_head(const struct race *race)
{
    LIST_EACH (link, &race->attempts) {
        if (CONTAINER_OF(link, struct attempt, link)->state != ATTEMPT_ASKED) {
            return true;
        }
    }
    return false;
}

static void on_attempt_failed(struct attempt *a)
{
    struct race *race = a->arg;
    struct mirror *m = race->mirror;
    enum attempt_fault fault = a->fault;
    struct digest key;
    mirror_key(race->want.query, &key);
    race_note(race, &a->holder, a->outcome);
    race->met_busy = race->met_busy || fault == FAULT_BUSY;
    if (fault == FAULT_UNREACHABLE) {
        m->config.unreachable(m->config.arg, a->holder.node_id);
    }
    if (fault == FAULT_UNREACHABLE || fault == FAULT_ANSWER) {
        mirror_mark_failed(m, race->want.query, &key, &a->holder);
    }
    attempt_free(a);
    if (!some_has_head(race)) {
        race->head_ms = 0;
    }
    if (fault != FAULT_OURS && (race_ask_next(race) || !list_empty(&race->attempts))) {
        race_arm(race);
    } else {
        race_lost(race);
    }
}

/* --- asking --- */

static bool race_ask_next(struct race *race)
{
    while (race->next < race->count) {
        const struct mirror_holder *holder = &race->holders[race->next++];
        struct attempt *a;
        if (attempt_new(race->mirror, holder, &race->want, &a) < 0) {
            race_note(race, holder, "could not be asked");
            continue;
        }
        a->on_head = on_attempt_head;
        a->on_ready = on_attempt_ready;
        a->on_failed = on_attempt_failed;
        a->arg = race;
        list_push_back(&race->attempts, &a->link);
        race->asked_ms = loop_now_ms(race->mirror->loop);
        return true;
    }
    return false;
}

int race_start(struct race *race, struct mirror *m, const struct want *want,
               const struct mirror_holder *holders, size_t count)
{
    CHECK(!race->running && race->won && race->lost);
    race->mirror = m;
    race->want = *want;
    race->met_busy = false;
    race->count = count < RACE_HOLDERS ? count : RACE_HOLDERS;
    memcpy(race->holders, holders, race->count * sizeof(holders[0]));
    race->next = 0;
    race->head_ms = 0;
    race->was_late = false;
    race->started_ms = loop_now_ms(m->loop);
    list_init(&race->attempts);
    timer_init(&race->timer, m->loop, race_timer_fired, race);
    /* Without a timer it might never end. */
    if (timer_start(&race->timer, LIMIT_MIRROR_TOTAL_MS) < 0) {
        return -ENOENT;
    }
    race->running = true;
    if (!race_ask_next(race)) {
        race_stop(race);
        return -ENOENT;
    }
    race_arm(race);
    return 0;
}
