/* What nghttp2 reports, as it reports it: the life of one response is
 *
 *     on_header… on_frame (HEADERS) → on_data… → on_header… on_frame (HEADERS, END_STREAM)
 *
 * or, when the server has nothing but an error to say ("trailers-only"), the last two alone. A
 * stream that ends otherwise ends in on_stream_close. Nothing here runs on_done: calls are marked
 * finished, and delivered when nghttp2 is off the stack. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "grpc/session_private.h"

#define GOAWAY_TEXT_BYTES 128

static bool name_is(const uint8_t *name, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(name, text, n) == 0;
}

static void take_header(struct grpc_call *call, const uint8_t *name, size_t name_bytes,
                        const char *value, size_t n)
{
    if (name_is(name, name_bytes, ":status")) {
        call->http_status = 0; /* nghttp2 has seen to it that these are three digits */
        for (size_t i = 0; i < n; i++) {
            call->http_status = call->http_status * 10 + (unsigned)(value[i] - '0');
        }
    } else if (name_is(name, name_bytes, "content-type")) {
        static const char want[] = "application/grpc"; /* and "+proto" or parameters after it */
        call->content_type_ok = n >= sizeof(want) - 1 && memcmp(value, want, sizeof(want) - 1) == 0;
    } else if (name_is(name, name_bytes, "grpc-status")) {
        call->has_grpc_status = true;
        call->status.code = grpc_code_parse(value, n);
    } else if (name_is(name, name_bytes, "grpc-message")) {
        grpc_message_decode(value, n, call->status.text, sizeof(call->status.text));
    }
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *user_data)
{
    (void)h2, (void)flags;
    struct grpc_call *call = grpc_session_call(user_data, frame->hd.stream_id);
    if (!call || frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    if (++call->header_count > LIMIT_GRPC_HEADERS) {
        grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, NGHTTP2_CANCEL,
                       "a response of more than %d headers", LIMIT_GRPC_HEADERS);
        return 0;
    }
    take_header(call, name, name_bytes, (const char *)value, value_bytes);
    return 0;
}

/* The first headers, with more to come. */
static void response_began(struct grpc_call *call)
{
    if (call->http_status / 100 == 1) { /* an interim response (RFC 9110, 15.2) */
        call->header_count = 0;
        return;
    }
    call->headers_done = true;
    if (call->http_status != 200) {
        grpc_call_fail(call, grpc_code_from_http(call->http_status), NGHTTP2_CANCEL,
                       "answered with HTTP status %u", call->http_status);
    } else if (!call->content_type_ok) {
        grpc_call_fail(call, GRPC_UNKNOWN, NGHTTP2_CANCEL, "the answer is not gRPC");
    }
}

static void response_ended(struct grpc_session *s, struct grpc_call *call)
{
    /* A server may answer without having read the whole request; then our half is still open, and
     * has to be closed for the stream to go away. */
    bool sent = nghttp2_session_get_stream_local_close(s->h2, call->stream_id) == 1;
    int reset = sent ? GRPC_NO_RESET : NGHTTP2_CANCEL;
    if (!call->has_grpc_status) {
        if (call->http_status != 200) {
            grpc_call_fail(call, grpc_code_from_http(call->http_status), reset,
                           "answered with HTTP status %u", call->http_status);
        } else {
            grpc_call_fail(call, GRPC_INTERNAL, reset, "the answer ended without a status");
        }
    } else if (call->status.code != GRPC_OK) {
        grpc_call_finish(call, reset);
    } else if (grpc_decoder_midway(&call->decoder)) {
        grpc_call_fail(call, GRPC_INTERNAL, reset, "the answer ended within a message");
    } else if (!call->stream && call->message_count != 1) {
        grpc_call_fail(call, GRPC_INTERNAL, reset, "an answer without a message");
    } else {
        grpc_call_finish(call, reset);
    }
}

static void decode_failed(struct grpc_call *call, int error)
{
    switch (error) {
    case -EMSGSIZE:
        grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, NGHTTP2_CANCEL, "a message of %u bytes",
                       call->decoder.message_bytes);
        break;
    case -EPROTO:
        grpc_call_fail(call, GRPC_INTERNAL, NGHTTP2_CANCEL, "a compressed message");
        break;
    default:
        grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, NGHTTP2_CANCEL, "out of memory");
    }
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t n, void *user_data)
{
    (void)h2, (void)flags;
    struct grpc_call *call = grpc_session_call(user_data, stream_id);
    while (call && !call->finished && n > 0) {
        if (!call->stream && call->message_count > 0) {
            grpc_call_fail(call, GRPC_INTERNAL, NGHTTP2_CANCEL, "more than one message");
            break;
        }
        int r = grpc_decoder_read(&call->decoder, &bytes, &n);
        if (r < 0) {
            decode_failed(call, r);
        } else if (r > 0) {
            call->message_count++;
            /* A unary call's message waits in the decoder until the status is known. */
            if (call->stream && call->on_message) {
                const struct buf *m = &call->decoder.message;
                call->on_message(call, (const uint8_t *)(m->data ? m->data : ""), m->len);
            }
        }
    }
    return 0;
}

static void on_goaway(struct grpc_session *s, const nghttp2_goaway *goaway)
{
    size_t n = goaway->opaque_data_len; /* what the server says about it, if anything */
    (void)error_set(&s->failure, -EPIPE, "the server went away: %s%s%.*s",
                    nghttp2_http2_strerror(goaway->error_code), n ? " " : "",
                    (int)(n < GOAWAY_TEXT_BYTES ? n : GOAWAY_TEXT_BYTES),
                    n ? (const char *)goaway->opaque_data : "");
    s->state = GRPC_SESSION_DRAINING;
    LIST_EACH_SAFE (link, &s->open) {
        struct grpc_call *call = CONTAINER_OF(link, struct grpc_call, link);
        if (call->stream_id > goaway->last_stream_id) {
            grpc_call_fail(call, GRPC_UNAVAILABLE, GRPC_NO_RESET, "%s", s->failure.text);
        }
    }
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user_data)
{
    (void)h2;
    struct grpc_session *s = user_data;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        on_goaway(s, &frame->goaway);
        return 0;
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }
    struct grpc_call *call = grpc_session_call(s, frame->hd.stream_id);
    if (!call) {
        return 0;
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        response_ended(s, call);
    } else if (frame->hd.type == NGHTTP2_HEADERS && !call->headers_done) {
        response_began(call);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    (void)h2;
    struct grpc_call *call = grpc_session_call(user_data, stream_id);
    if (call) {
        grpc_call_fail(call, grpc_code_from_reset(error_code), GRPC_NO_RESET,
                       "the stream was reset: %s", nghttp2_http2_strerror(error_code));
    }
    return 0;
}

/* A request that can no longer be sent, because a GOAWAY overtook it. */
static int on_frame_not_sent(nghttp2_session *h2, const nghttp2_frame *frame, int error,
                             void *user_data)
{
    (void)h2;
    struct grpc_call *call = frame->hd.type == NGHTTP2_HEADERS
                                 ? grpc_session_call(user_data, frame->hd.stream_id)
                                 : NULL;
    if (call) {
        grpc_call_fail(call, GRPC_UNAVAILABLE, GRPC_NO_RESET, "not sent: %s",
                       nghttp2_strerror(error));
    }
    return 0;
}

static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *user_data)
{
    (void)h2;
    struct grpc_session *s = user_data;
    /* We never say GOAWAY ourselves, only nghttp2 does: when the peer broke the protocol. */
    if (frame->hd.type == NGHTTP2_GOAWAY && s->state != GRPC_SESSION_DEAD) {
        (void)error_set(
            &s->failure, -EPROTO, "HTTP/2: the server broke the protocol: %s %.*s",
            nghttp2_http2_strerror(frame->goaway.error_code), (int)frame->goaway.opaque_data_len,
            frame->goaway.opaque_data_len ? (const char *)frame->goaway.opaque_data : "");
        grpc_session_die(s, GRPC_UNAVAILABLE);
    }
    return 0;
}

void grpc_response_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
}
