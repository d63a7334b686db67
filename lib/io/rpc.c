#include "io/rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/stream.h"

struct rpc {
    struct loop *loop;
    struct rpc_events events;
    void *arg;
    struct stream *stream;
    struct grpc_session *session; /* NULL: no connection */
    struct timer tick;
};

/* After anything that may have changed the session. A session that is draining takes no more calls,
 * and ours never end by themselves (events): so GOAWAY ends the connection. */
static void rpc_pump(struct rpc *r)
{
    if (!rpc_is_up(r)) {
        return;
    }
    if (grpc_session_state(r->session) != GRPC_SESSION_OPEN) {
        stream_drop(r->stream, "the server says goodbye");
        return;
    }
    if (grpc_session_has_output(r->session)) {
        stream_flush(r->stream);
    }
    uint64_t next_at_ms = grpc_session_next_at_ms(r->session), now_ms = loop_now_ms(r->loop);
    if (next_at_ms == UINT64_MAX) {
        timer_stop(&r->tick);
    } else if (timer_start(&r->tick, next_at_ms > now_ms ? next_at_ms - now_ms : 0) < 0) {
        stream_drop(r->stream, "no memory for a timer");
    }
}

static void rpc_ticked(void *arg)
{
    struct rpc *r = arg;
    grpc_session_tick(r->session, loop_now_ms(r->loop));
    rpc_pump(r);
}

/* --- the stream's events --- */

static void rpc_up(void *arg)
{
    struct rpc *r = arg;
    r->session = grpc_session_new();
    if (!r->session) {
        stream_drop(r->stream, "no memory for a session");
        return;
    }
    r->events.up(r->arg);
    rpc_pump(r);
}

static void rpc_received(void *arg, const void *bytes, size_t n)
{
    struct rpc *r = arg;
    struct error err = {0};
    if (grpc_session_receive(r->session, bytes, n, &err) < 0) {
        stream_drop(r->stream, "%s", err.text);
    }
    rpc_pump(r);
}

static void rpc_output(void *arg, struct buf *out)
{
    struct rpc *r = arg;
    struct error err = {0};
    if (grpc_session_output(r->session, out, &err) < 0) {
        stream_drop(r->stream, "%s", err.text);
    }
}

static void rpc_down(void *arg, bool was_up, const struct error *why)
{
    struct rpc *r = arg;
    timer_stop(&r->tick);
    if (r->session) {
        grpc_session_fail(r->session, "%s", why->text);
        grpc_session_free(r->session);
        r->session = NULL;
    }
    r->events.down(r->arg, was_up, why);
}

/* --- the interface --- */

int rpc_new(struct loop *loop, const char *socket_path, const struct rpc_events *events, void *arg,
            struct rpc **ret_rpc)
{
    static const struct stream_events stream_events = {rpc_up, rpc_received, rpc_output, rpc_down};
    struct rpc *r = calloc(1, sizeof(*r));
    if (!r) {
        return -ENOMEM;
    }
    *r = (struct rpc){.loop = loop, .events = *events, .arg = arg};
    timer_init(&r->tick, loop, rpc_ticked, r);
    int status = stream_new(loop, socket_path, &stream_events, r, &r->stream);
    if (status < 0) {
        free(r);
        return status;
    }
    *ret_rpc = r;
    return 0;
}

void rpc_free(struct rpc *r)
{
    if (!r) {
        return;
    }
    timer_stop(&r->tick);
    stream_free(r->stream);
    r->stream = NULL;
    grpc_session_free(r->session);
    free(r);
}

bool rpc_is_up(const struct rpc *r)
{
    return r->session && r->stream && stream_is_up(r->stream);
}

int rpc_call(struct rpc *r, struct grpc_call *call, const struct grpc_request *request,
             uint32_t timeout_ms)
{
    if (!rpc_is_up(r)) {
        return -EPIPE;
    }
    struct grpc_request timed = *request;
    timed.deadline_at_ms = timeout_ms ? loop_now_ms(r->loop) + timeout_ms : 0;
    int status = grpc_call_start(r->session, call, &timed);
    if (status == 0) {
        rpc_pump(r);
    }
    return status;
}

void rpc_cancel(struct rpc *r, struct grpc_call *call)
{
    grpc_call_cancel(call);
    rpc_pump(r);
}

void rpc_drop(struct rpc *r, const char *format, ...)
{
    struct error why;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why.text, sizeof(why.text), format, args);
    va_end(args);
    if (r->stream) { /* not in the midst of rpc_free */
        stream_drop(r->stream, "%s", why.text);
    }
}

void rpc_settled(struct rpc *r)
{
    if (r->stream) {
        stream_settled(r->stream);
    }
}
