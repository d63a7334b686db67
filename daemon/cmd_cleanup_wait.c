/* spegel cleanup-wait: ends well once the cleanup of every node has answered often enough in a row,
 * and no node has come or gone meanwhile for long enough. */
#include "commands.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "cli/values.h"
#include "prober.h"

static volatile sig_atomic_t stopped;

struct wait {
    const struct cleanup_wait_options *options;
    struct host_port endpoint;
    struct probe_round round, before;
    uint32_t in_a_row;
    uint64_t begun_ms;
    uint64_t stable_since_ms; /* the same addresses, all ready, since then; 0: not now */
};

static void on_alarm(int signal_number)
{
    (void)signal_number;
    _exit(1);
}

/* Giving up is an answer too: whoever waits for us must see that not all was cleaned up. What
 * failed is told if that is soon: a name look-up cannot be interrupted. */
static void on_stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
    (void)alarm(LIMIT_CLEANUP_REPORT_S);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A round that took longer than the period is followed by the next at once, not by several. */
static void sleep_until(uint64_t at_ms)
{
    for (uint64_t now = now_ms(); now < at_ms && !stopped; now = now_ms()) {
        uint64_t left = at_ms - now;
        const struct timespec pause = {.tv_sec = (time_t)(left / 1000),
                                       .tv_nsec = (long)(left % 1000) * 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

static void wait_log_failed(const struct wait *w)
{
    size_t told = 0;
    for (size_t i = 0; i < w->round.count && told < LIMIT_CLEANUP_REPORTED; i++) {
        const struct probed *p = &w->round.probed[i];
        if (!p->is_ready) {
            told++;
            log_error("not cleaned up", LOG_STR("address", p->address), LOG_STR("err", p->why));
        }
    }
}

static int wait_give_up(const struct wait *w, const char *why)
{
    wait_log_failed(w);
    log_error("gave up waiting for every cleanup", LOG_STR("err", why),
              LOG_INT("addresses", w->round.count), LOG_INT("failed", w->round.failed),
              LOG_INT("seconds", (now_ms() - w->begun_ms) / 1000));
    return 1;
}

/* Takes the round into account; true when the waiting is over. */
static bool wait_count(struct wait *w, int result, const struct error *err)
{
    uint64_t now = now_ms();
    bool changed = !prober_same_addresses(&w->round, &w->before);
    if (result < 0 || w->round.failed) {
        size_t i = 0;
        while (result == 0 && w->round.probed[i].is_ready) {
            i++;
        }
        w->in_a_row = 0;
        w->stable_since_ms = 0;
        log_warn("not every cleanup is done",
                 LOG_STR("err", result < 0 ? err->text : w->round.probed[i].why),
                 LOG_STR("address", result < 0 ? "" : w->round.probed[i].address),
                 LOG_INT("addresses", w->round.count), LOG_INT("failed", w->round.failed));
        return false;
    }
    w->in_a_row++;
    if (!w->stable_since_ms || changed) {
        w->stable_since_ms = now;
    }
    uint64_t stable_ms = now - w->stable_since_ms;
    log_info("every cleanup answers", LOG_INT("addresses", w->round.count),
             LOG_INT("rounds", w->in_a_row), LOG_INT("threshold", w->options->threshold),
             LOG_INT("stable_seconds", stable_ms / 1000));
    return w->in_a_row >= w->options->threshold && stable_ms >= w->options->stable_ms;
}

static int wait_run(struct wait *w)
{
    uint64_t next_ms = w->begun_ms;
    for (;;) {
        struct error err = {0};
        struct probe_round empty = {0}, before = w->round;
        w->before = before;
        w->round = empty;
        int r = prober_round(&w->endpoint, &w->round, &err);
        bool done = wait_count(w, r, &err);
        prober_round_done(&w->before);
        uint64_t now = now_ms();
        if (done) {
            return 0;
        }
        if (stopped) {
            return wait_give_up(w, "told to stop");
        }
        if (w->options->limit_ms && now - w->begun_ms >= w->options->limit_ms) {
            return wait_give_up(w, r < 0 ? err.text : "the time limit");
        }
        next_ms = next_ms + w->options->period_ms > now ? next_ms + w->options->period_ms : now;
        sleep_until(next_ms);
    }
}

int cmd_cleanup_wait(const struct cleanup_wait_options *options)
{
    struct wait w = {.options = options, .begun_ms = now_ms()};
    if (value_address(options->probe_endpoint, &w.endpoint) < 0 || !w.endpoint.host[0]) {
        log_error("a bad endpoint", LOG_STR("err", "--probe-endpoint must be host:port"),
                  LOG_STR("endpoint", options->probe_endpoint));
        return 1;
    }
    const struct sigaction stop = {.sa_handler = on_stop}; /* without SA_RESTART */
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)signal(SIGALRM, on_alarm);
    int status = wait_run(&w);
    prober_round_done(&w.round);
    return status;
}
