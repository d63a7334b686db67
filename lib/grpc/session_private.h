/* session_private.h - what session.c, call.c and response.c share; nobody else includes it. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "grpc/session.h"

struct grpc_session {
    nghttp2_session *h2;
    enum grpc_session_state state;
    bool busy;            /* within receive, output, tick, fail or free */
    struct list open;     /* calls under way */
    struct list finished; /* calls whose on_done is still to run */
    unsigned open_count;
    const uint8_t *held; /* what nghttp2 gave that did not fit into the caller's buffer; nghttp2
                            owns it, and keeps it until it is asked for more */
    size_t held_bytes;
    struct error failure; /* once DEAD: why */
};

/* Marks the session DEAD with s->failure as set by the caller, and finishes its open calls. */
void grpc_session_die(struct grpc_session *s, enum grpc_code code);

/* The open call of a stream, or NULL. */
struct grpc_call *grpc_session_call(struct grpc_session *s, int32_t stream_id);

#define GRPC_NO_RESET (-1)

/* Moves the call from open to finished, with call->status as it stands or as given. The peer gets
 * an RST_STREAM with `reset` unless that is GRPC_NO_RESET. Runs no callback. */
void grpc_call_finish(struct grpc_call *call, int reset);
__attribute__((format(printf, 4, 5))) void
grpc_call_fail(struct grpc_call *call, enum grpc_code code, int reset, const char *format, ...);

/* Runs the callbacks of a finished call, which is the caller's again from then on. */
void grpc_call_deliver(struct grpc_call *call);

/* Sets what nghttp2 tells us about: response.c. */
void grpc_response_callbacks(nghttp2_session_callbacks *callbacks);
