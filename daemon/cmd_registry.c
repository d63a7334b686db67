/* spegel registry: the daemon. */
#include "commands.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "advice.h"
#include "base/log.h"
#include "node.h"
#include "socket_watch.h"
#include "supervisor.h"

static void on_signal(void *arg, int signum)
{
    struct node *n = arg;
    if (n->leaving) {
        log_warn("second signal, ending at once", LOG_INT("signal", signum));
        _exit(0);
    }
    node_leave(n);
}

/* A descriptor a connection and one or two a stream: as many as we may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void tune_allocator(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

int cmd_registry(const struct registry_options *options)
{
    static struct node node; /* outlives this function: see node_done about the loop */
    static struct socket_watch socket_watch;
    static struct advice advice;
    struct error err;
    raise_descriptor_limit();
    tune_allocator();
    (void)signal(SIGPIPE, SIG_IGN);
    int r = node_start(&node, options, &err);
    if (r == 0) {
        r = loop_on_signal(node.loop, SIGTERM, on_signal, &node);
        r = r < 0 ? r : loop_on_signal(node.loop, SIGINT, on_signal, &node);
        if (r < 0) {
            (void)error_set(&err, r, "signals could not be watched");
        }
    }
    if (r < 0) {
        log_error("cannot start", LOG_STR("err", err.text));
        node_done(&node);
        return 1;
    }
    socket_watch_start(&socket_watch, &node);
    advice_start(&advice, &node);
    supervisor_tell(SUPERVISOR_READY);
    loop_run(node.loop);
    advice_stop(&advice);
    socket_watch_stop(&socket_watch);
    node_done(&node);
    log_info("ended");
    return socket_watch.is_stale ? 1 : 0;
}
