/* spegel cleanup: containerd's configuration put back, then probes answered so that cleanup-wait
 * sees it done, until told to stop. */
#include "commands.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "certsd/cleanup.h"
#include "certsd_log.h"
#include "probe_server.h"

static int open_stop_signals(struct error *err)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? error_set(err, -errno, "signalfd: %s", strerror(errno)) : fd;
}

int cmd_cleanup(const struct cleanup_options *options)
{
    const struct certsd_notices notices = {certsd_log, options->config_path};
    struct error err;
    /* Before the work: a stop that comes in its midst is heeded after it. */
    int stop_fd = open_stop_signals(&err);
    int r = stop_fd < 0 ? stop_fd : certsd_cleanup(options->config_path, &notices, &err);
    if (r == 0) {
        log_info("cleaned up, answering probes", LOG_STR("path", options->config_path),
                 LOG_INT("port", options->addr.port));
        r = probe_server_run(&options->addr, stop_fd, &err);
    }
    if (stop_fd >= 0) {
        (void)close(stop_fd);
    }
    if (r < 0) {
        log_error("cleanup failed", LOG_STR("err", err.text));
        return 1;
    }
    log_info("ended");
    return 0;
}
