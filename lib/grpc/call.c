#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "base/check.h"
#include "grpc/methods.h"
#include "grpc/session_private.h"

#define HEADERS_FIXED 8

bool grpc_call_active(const struct grpc_call *call)
{
    return call->session != NULL;
}

void grpc_call_finish(struct grpc_call *call, int reset)
{
    struct grpc_session *s = call->session;
    CHECK(s && !call->finished);
    call->finished = true;
    call->status.error = grpc_code_error(call->status.code);
    list_remove(&call->link);
    list_push_back(&s->finished, &call->link);
    s->open_count--;
    free(call->request);
    call->request = NULL;
    if (reset != GRPC_NO_RESET) {
        /* Fails only without memory. Then the peer goes on answering a stream that has no call any
         * more, and response.c drops what comes. */
        (void)nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, call->stream_id, (uint32_t)reset);
    }
}

void grpc_call_fail(struct grpc_call *call, enum grpc_code code, int reset, const char *format, ...)
{
    char text[LIMIT_GRPC_STATUS_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    grpc_status_set(&call->status, code, "%s", text);
    grpc_call_finish(call, reset);
}

void grpc_call_cancel(struct grpc_call *call)
{
    if (grpc_call_active(call) && !call->finished) {
        grpc_call_fail(call, GRPC_CANCELLED, NGHTTP2_CANCEL, "cancelled");
    }
}

void grpc_call_deliver(struct grpc_call *call)
{
    CHECK(call->finished);
    list_remove(&call->link);
    const struct grpc_status status = call->status; /* on_done may free the call */
    if (!call->stream && status.code == GRPC_OK && call->on_message) {
        const struct buf *message = &call->decoder.message;
        call->on_message(call, (const uint8_t *)(message->data ? message->data : ""), message->len);
    }
    grpc_decoder_done(&call->decoder);
    call->session = NULL;
    call->on_done(call, &status);
}

/* The request goes out as nghttp2 finds room for it in the peer's window. */
static ssize_t read_request(nghttp2_session *h2, int32_t stream_id, uint8_t *out, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)h2, (void)source;
    struct grpc_call *call = grpc_session_call(user_data, stream_id);
    if (!call) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* finished before all was sent */
    }
    size_t n = call->request_bytes - call->request_sent;
    if (n > size) {
        n = size;
    }
    memcpy(out, call->request + call->request_sent, n);
    call->request_sent += n;
    if (call->request_sent == call->request_bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        free(call->request);
        call->request = NULL;
    }
    return (ssize_t)n;
}

static int pack_request(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t n = message ? protobuf_c_message_get_packed_size(message) : 0;
    if (n > LIMIT_GRPC_MESSAGE_BYTES) {
        return -EMSGSIZE;
    }
    call->request = malloc(GRPC_PREFIX_BYTES + n);
    if (!call->request) {
        return -ENOMEM;
    }
    grpc_prefix_write(call->request, (uint32_t)n);
    if (message) {
        (void)protobuf_c_message_pack(message, call->request + GRPC_PREFIX_BYTES);
    }
    call->request_bytes = GRPC_PREFIX_BYTES + n;
    return 0;
}

/* nghttp2 copies both, so the casts take nothing from const. */
static int add_header(nghttp2_nv *headers, size_t *count, const char *name, const char *value)
{
    if (!nghttp2_check_header_value((const uint8_t *)value, strlen(value))) {
        return -EINVAL;
    }
    headers[(*count)++] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name),
                                       strlen(value), NGHTTP2_NV_FLAG_NONE};
    return 0;
}

/* The order and the names are those of gRPC's doc/PROTOCOL-HTTP2.md, "Requests". A `connection`
 * header would be an error in HTTP/2 (RFC 9113, 8.2.2). */
static int make_headers(const struct grpc_request *request, nghttp2_nv *headers, size_t *count)
{
    const struct grpc_header fixed[] = {
        {":method", "POST"},
        {":scheme", "http"},
        {":path", request->path},
        {":authority", "localhost"}, /* there is no better name for a unix socket */
        {"content-type", "application/grpc"},
        {"te", "trailers"},
        {"user-agent", "spegel"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        r = add_header(headers, count, fixed[i].name, fixed[i].value);
    }
    if (r == 0 && request->containerd_namespace) {
        r = add_header(headers, count, GRPC_NAMESPACE_HEADER, request->containerd_namespace);
    }
    for (size_t i = 0; r == 0 && i < request->header_count; i++) {
        r = add_header(headers, count, request->headers[i].name, request->headers[i].value);
    }
    return r;
}

static int submit(struct grpc_session *s, struct grpc_call *call,
                  const struct grpc_request *request)
{
    nghttp2_nv headers[HEADERS_FIXED + LIMIT_GRPC_REQUEST_HEADERS];
    size_t count = 0;
    int r = make_headers(request, headers, &count);
    if (r < 0) {
        return r;
    }
    nghttp2_data_provider provider = {.read_callback = read_request};
    int32_t id = nghttp2_submit_request(s->h2, NULL, headers, count, &provider, NULL);
    if (id == NGHTTP2_ERR_NOMEM) {
        return -ENOMEM;
    }
    if (id < 0) {
        (void)error_set(&s->failure, -EPIPE, "HTTP/2: %s", nghttp2_strerror(id));
        s->state = GRPC_SESSION_DRAINING; /* all stream ids are used up */
        return -EPIPE;
    }
    call->stream_id = id;
    return 0;
}

int grpc_call_start(struct grpc_session *s, struct grpc_call *call,
                    const struct grpc_request *request)
{
    CHECK(!grpc_call_active(call) && call->on_done);
    CHECK(request->stream || request->deadline_at_ms > 0);
    CHECK(request->header_count <= LIMIT_GRPC_REQUEST_HEADERS);
    if (s->state != GRPC_SESSION_OPEN) {
        return -EPIPE;
    }
    if (s->open_count >= LIMIT_GRPC_CALLS) {
        return -EBUSY;
    }
    *call = (struct grpc_call){
        .on_message = call->on_message,
        .on_done = call->on_done,
        .deadline_at_ms = request->deadline_at_ms,
        .stream = request->stream,
    };
    int r = pack_request(call, request->message);
    if (r == 0) {
        r = submit(s, call, request);
    }
    if (r < 0) {
        free(call->request);
        call->request = NULL;
        return r;
    }
    grpc_decoder_init(&call->decoder, LIMIT_GRPC_MESSAGE_BYTES);
    call->session = s;
    list_push_back(&s->open, &call->link);
    s->open_count++;
    return 0;
}
