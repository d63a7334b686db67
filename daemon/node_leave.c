/* How a node goes.
 *
 *     SIGTERM ─────────► not ready, LEFT is said; everything is still answered, hosts.toml stays
 *        │ LIMIT_SHUTDOWN_GRACE_MS
 *        ▼
 *     nothing is begun: contents are refused, idle connections closed; /readyz, /livez, /metrics
 *        │ the last stream ended, or LIMIT_SHUTDOWN_DRAIN_MS after SIGTERM
 *        ▼
 *     no listener, the loop stops
 *
 * The grace is for who chose this node a moment ago: LEFT takes a packet to most peers and a flush
 * of rumours or two to the others, and a Service's rules change later than the probe. It is always
 * waited for, so it is short. The registry port listens on to the end because a refused probe says
 * nothing, a 503 says why. Nothing of containerd's configuration is written from SIGTERM on:
 * cleaning up may begin before the last stream ends. */
#include "base/limits.h"
#include "base/log.h"
#include "node.h"
#include "supervisor.h"

static void node_drained(void *arg)
{
    const struct node *n = arg;
    loop_stop(n->loop);
}

static void node_drain(void *arg)
{
    struct node *n = arg;
    log_info("draining", LOG_INT("streams", server_streams(n->server)));
    registry_set_draining(n->registry);
    server_drain(n->server, LIMIT_SHUTDOWN_DRAIN_MS - LIMIT_SHUTDOWN_GRACE_MS, node_drained, n);
}

void node_leave(struct node *n)
{
    if (n->leaving) {
        return;
    }
    n->leaving = true;
    supervisor_tell(SUPERVISOR_STOPPING);
    config_writer_free(n->config_writer);
    n->config_writer = NULL;
    log_info("leaving", LOG_INT("streams", server_streams(n->server)));
    registry_set_leaving(n->registry);
    cluster_leave(n->cluster);
    timer_init(&n->leave_timer, n->loop, node_drain, n);
    if (timer_start(&n->leave_timer, LIMIT_SHUTDOWN_GRACE_MS) < 0) {
        node_drain(n);
    }
}
