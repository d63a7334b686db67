/* session.h - the client's side of one gRPC connection (HTTP/2 without TLS), sans-IO.
 *
 * Bytes read from the socket go into grpc_session_receive, bytes to be written come out of
 * grpc_session_output, time comes in through grpc_session_tick. One session is one connection: when
 * it is no longer GRPC_SESSION_OPEN, make another. It never pings (containerd answers too many
 * pings with GOAWAY) but answers pings; the socket's EOF is the sign of death.
 *
 * The driver's loop, after start, cancel, receive, or the socket becoming writable:
 *     while grpc_session_output(s, &out) gave bytes: write them
 *     arm a timer for grpc_session_next_at_ms(s) that calls grpc_session_tick(s, now)
 *     on EOF or a socket error: grpc_session_fail(s, ...)
 *     once grpc_session_state(s) is DEAD: grpc_session_free, connect again with back-off
 *
 * Callbacks run from receive, tick, fail and free only. Inside them, grpc_call_start,
 * grpc_call_cancel and the queries may be called; receive, output, tick, fail and free may not.
 * Times are monotonic milliseconds, absolute. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "grpc/frame.h"
#include "grpc/status.h"

struct grpc_session;
struct ProtobufCMessage;

enum grpc_session_state {
    GRPC_SESSION_OPEN,
    GRPC_SESSION_DRAINING, /* GOAWAY came: calls under way may end, new ones are refused */
    GRPC_SESSION_DEAD,     /* every call has been completed; only free is of use */
};

/* NULL when there is no memory. */
struct grpc_session *grpc_session_new(void);

/* Completes what is still open with GRPC_CANCELLED (on_done runs inside), then frees. NULL is
 * allowed. */
void grpc_session_free(struct grpc_session *s);

enum grpc_session_state grpc_session_state(const struct grpc_session *s);

/* Why it is no longer OPEN, for a log; "" while it is. May hold bytes the peer chose. */
const char *grpc_session_reason(const struct grpc_session *s);

/* Bytes from the peer, any number at a time. A negative errno (-EPROTO, -ENOMEM) means that the
 * connection is beyond repair: `err` says why, all calls have been completed with
 * GRPC_UNAVAILABLE, the state is DEAD. On a DEAD session: -EPIPE. */
int grpc_session_receive(struct grpc_session *s, const void *bytes, size_t n, struct error *err);

/* The connection is gone (EOF, a socket error): completes all calls with GRPC_UNAVAILABLE and this
 * text; DEAD from then on. */
__attribute__((format(printf, 2, 3))) void grpc_session_fail(struct grpc_session *s,
                                                             const char *format, ...);

/* Appends bytes for the peer to `out` until there are no more or `out` is at its cap (which is no
 * error: write some, call again). 0, or -ENOMEM / -EPROTO: the session can send no more and is
 * DEAD; its calls are completed at the next tick, which is due at once. A peer that broke HTTP/2 is
 * found out here, when nghttp2 sends its GOAWAY; what was appended is still worth writing. */
int grpc_session_output(struct grpc_session *s, struct buf *out, struct error *err);

/* Is there something for grpc_session_output to give? */
bool grpc_session_has_output(const struct grpc_session *s);

/* When the next tick is due: the earliest deadline; 0 (at once) when completions are waiting to be
 * delivered; UINT64_MAX when nothing is. */
uint64_t grpc_session_next_at_ms(const struct grpc_session *s);

/* Ends calls whose deadline is at or before now_ms (GRPC_DEADLINE_EXCEEDED; the peer gets
 * RST_STREAM CANCEL) and delivers waiting completions. */
void grpc_session_tick(struct grpc_session *s, uint64_t now_ms);

struct grpc_header {
    const char *name; /* lower case; no names of HTTP/2 or gRPC itself */
    const char *value;
};

/* What to ask. Read by grpc_call_start only: nothing of it need outlive that. */
struct grpc_request {
    const char *path;                  /* methods.h */
    const char *containerd_namespace;  /* NULL: the header is not sent */
    const struct grpc_header *headers; /* more of them; at most LIMIT_GRPC_REQUEST_HEADERS */
    size_t header_count;
    const struct ProtobufCMessage *message; /* &request.base; NULL: an empty message */
    bool stream;                            /* may the peer answer with other than one message? */
    uint64_t deadline_at_ms;                /* 0: none, for streams only */
};

/* One call, embedded in what the caller owns. It must not move or be freed between a successful
 * grpc_call_start and its on_done; nothing touches it after on_done was entered, so on_done may
 * free it or start it again. */
struct grpc_call {
    /* Set by the caller before start.
     *
     * on_message: a whole message, valid during the callback. For a unary call it runs at most
     * once, only when the call ended well, right before on_done. May be NULL.
     * on_done: runs exactly once for each start that returned 0, and never inside start or cancel;
     * the status is valid during the callback. */
    void (*on_message)(struct grpc_call *call, const uint8_t *bytes, size_t n);
    void (*on_done)(struct grpc_call *call, const struct grpc_status *status);

    /* Internal from here on. */
    struct grpc_session *session; /* NULL while not started */
    struct list link;             /* in the session's open or finished calls */
    int32_t stream_id;
    uint64_t deadline_at_ms;
    bool stream, finished;
    bool headers_done, trailers_done; /* what has come from the peer */
    bool has_grpc_status, content_type_ok;
    unsigned header_count, http_status, message_count;
    uint8_t *request; /* prefix and message, until sent */
    size_t request_bytes, request_sent;
    struct grpc_decoder decoder;
    struct grpc_status status;
};

/* 0, or nothing was started and on_done will not run: -EPIPE (the session is not OPEN), -EBUSY
 * (LIMIT_GRPC_CALLS are open), -EMSGSIZE (request over LIMIT_GRPC_MESSAGE_BYTES), -ENOMEM. */
int grpc_call_start(struct grpc_session *s, struct grpc_call *call,
                    const struct grpc_request *request);

/* The call ends in GRPC_CANCELLED (-ECANCELED), delivered at the next receive or tick; no message
 * is delivered from here on. Without effect on a call that is not under way or has its end waiting
 * to be delivered already. */
void grpc_call_cancel(struct grpc_call *call);

/* From a successful start until on_done is entered. `call` must be zeroed before its first
 * start. */
bool grpc_call_active(const struct grpc_call *call);
