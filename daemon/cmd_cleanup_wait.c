/* spegel cleanup-wait: ends well once the cleanup of every node has answered often enough in a
 * row. */
#include "commands.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/values.h"
#include "prober.h"

/* Giving up is an answer too: whoever waits for us must see that not all was cleaned up. A handler
 * that exits also ends a name look-up, which cannot be interrupted otherwise. */
static void on_stop(int signal_number)
{
    (void)signal_number;
    _exit(1);
}

static void sleep_until(struct timespec *next, uint64_t period_ms)
{
    struct timespec now;
    next->tv_sec += (time_t)(period_ms / 1000);
    next->tv_nsec += (long)(period_ms % 1000) * 1000000;
    if (next->tv_nsec >= 1000000000) {
        next->tv_sec++;
        next->tv_nsec -= 1000000000;
    }
    /* A round that took longer than the period is followed by the next at once, not by several. */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > next->tv_sec || (now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec)) {
        *next = now;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR) {
    }
}

int cmd_cleanup_wait(const struct cleanup_wait_options *options)
{
    struct host_port endpoint;
    if (value_address(options->probe_endpoint, &endpoint) < 0 || !endpoint.host[0]) {
        log_error("a bad endpoint", LOG_STR("err", "--probe-endpoint must be host:port"),
                  LOG_STR("endpoint", options->probe_endpoint));
        return 1;
    }
    (void)signal(SIGTERM, on_stop);
    (void)signal(SIGINT, on_stop);
    struct timespec next;
    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    for (uint32_t in_a_row = 0;;) {
        struct error err;
        size_t addresses;
        if (prober_round(&endpoint, &addresses, &err) < 0) {
            in_a_row = 0;
            log_warn("not every cleanup is done", LOG_STR("err", err.text));
        } else {
            in_a_row++;
            log_info("every cleanup answers", LOG_INT("addresses", addresses),
                     LOG_INT("rounds", in_a_row), LOG_INT("threshold", options->threshold));
        }
        if (in_a_row >= options->threshold) {
            return 0;
        }
        sleep_until(&next, options->period_ms);
    }
}
