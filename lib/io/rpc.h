/* rpc.h - a gRPC session (grpc/session.h) over a stream (stream.h): calls to a unix socket, on a
 * connection that is made again whenever it ends.
 *
 * Calls belong to one connection: when it ends, all of them are completed, then `down` runs. */
#pragma once

#include "grpc/session.h"
#include "io/loop.h"

struct rpc;

struct rpc_events { /* all are required; from the loop only; may call the functions below, but not
                     * rpc_free */
    void (*up)(void *arg);
    void (*down)(void *arg, bool was_up, const struct error *why); /* as in stream.h */
};

/* As stream_new. */
int rpc_new(struct loop *loop, const char *socket_path, const struct rpc_events *events, void *arg,
            struct rpc **ret_rpc);

/* Calls still open are completed with GRPC_CANCELLED (their on_done runs inside). `down` does not
 * run. Not from within a call's callback. NULL is fine. */
void rpc_free(struct rpc *r);

bool rpc_is_up(const struct rpc *r);

/* grpc_call_start, with `timeout_ms` from now as the deadline (0: none; streams only) and -EPIPE
 * while there is no connection. request->deadline_at_ms is ignored. */
int rpc_call(struct rpc *r, struct grpc_call *call, const struct grpc_request *request,
             uint32_t timeout_ms);

/* grpc_call_cancel, delivered in the next turn of the loop. */
void rpc_cancel(struct rpc *r, struct grpc_call *call);

/* See stream.h. */
__attribute__((format(printf, 2, 3))) void rpc_drop(struct rpc *r, const char *format, ...);
void rpc_settled(struct rpc *r);
