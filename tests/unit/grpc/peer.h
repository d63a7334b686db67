/* peer.h - the other end of a gRPC session, in memory: nghttp2's server, told what to answer.
 *
 * It is its own implementation of the server's side of HTTP/2, so that what the client sends is
 * judged by something else than the client. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "grpc/session.h"
#include "support.h"

#define PEER_STREAMS 320

/* What goes into a peer_reply: BODY(HELLO HELLO) is two messages. */
#define BODY(text) .body = (text), .body_bytes = sizeof(text) - 1
#define HELLO "\0\0\0\0\5hello"

struct peer_reply {
    const char *http_status;  /* NULL: 200 */
    const char *content_type; /* NULL: application/grpc; "": none */
    const char *body;         /* frames as they go over the wire; NULL: none */
    size_t body_bytes;
    const char *grpc_status; /* NULL: the stream ends without one */
    const char *grpc_message;
    unsigned extra_headers; /* so many more in the first header block */
    bool trailers_only, keep_open;
};

struct peer_stream {
    char headers[1024]; /* "name: value\n" each */
    char *body;         /* the request */
    size_t body_bytes, body_capacity;
    bool ended, reset;
    uint32_t reset_code;
    struct peer_reply reply;
    size_t sent;
};

struct peer {
    nghttp2_session *h2;
    struct peer_stream streams[PEER_STREAMS]; /* by (stream id - 1) / 2 */
    int32_t last_id;
    unsigned pings, ping_acks, goaways;
};

static inline struct peer_stream *peer_stream(struct peer *p, int32_t id)
{
    assert_true(id > 0 && id % 2 == 1 && id / 2 < PEER_STREAMS);
    return &p->streams[id / 2];
}

static int peer_on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                          size_t name_bytes, const uint8_t *value, size_t value_bytes,
                          uint8_t flags, void *user_data)
{
    (void)h2, (void)flags;
    struct peer_stream *st = peer_stream(user_data, frame->hd.stream_id);
    size_t at = strlen(st->headers);
    snprintf(st->headers + at, sizeof(st->headers) - at, "%.*s: %.*s\n", (int)name_bytes, name,
             (int)value_bytes, value);
    return 0;
}

static int peer_on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *bytes,
                        size_t n, void *user_data)
{
    (void)h2, (void)flags;
    struct peer_stream *st = peer_stream(user_data, id);
    if (st->body_bytes + n > st->body_capacity) {
        st->body_capacity = (st->body_bytes + n) * 2;
        st->body = realloc(st->body, st->body_capacity);
        assert_non_null(st->body);
    }
    memcpy(st->body + st->body_bytes, bytes, n);
    st->body_bytes += n;
    return 0;
}

static int peer_on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user_data)
{
    (void)h2;
    struct peer *p = user_data;
    if (frame->hd.type == NGHTTP2_PING) {
        *(frame->hd.flags & NGHTTP2_FLAG_ACK ? &p->ping_acks : &p->pings) += 1;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        p->goaways++;
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        peer_stream(p, frame->hd.stream_id)->reset = true;
        peer_stream(p, frame->hd.stream_id)->reset_code = frame->rst_stream.error_code;
    }
    if (frame->hd.stream_id > 0) {
        struct peer_stream *st = peer_stream(p, frame->hd.stream_id);
        p->last_id = frame->hd.stream_id > p->last_id ? frame->hd.stream_id : p->last_id;
        st->ended |= frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
                     (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA);
    }
    return 0;
}

/* SETTINGS of the server's own (say, few streams); none: NULL, 0. */
static inline struct peer *peer_new(const nghttp2_settings_entry *settings, size_t count)
{
    struct peer *p = calloc(1, sizeof(*p));
    nghttp2_session_callbacks *callbacks;
    assert_non_null(p);
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_on_frame);
    assert_int_equal(nghttp2_session_server_new(&p->h2, callbacks, p), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(p->h2, 0, settings, count), 0);
    return p;
}

static inline void peer_free(struct peer *p)
{
    nghttp2_session_del(p->h2);
    for (size_t i = 0; i < PEER_STREAMS; i++) {
        free(p->streams[i].body);
    }
    free(p);
}

static inline void peer_nv(nghttp2_nv *nv, size_t *count, const char *name, const char *value)
{
    nv[(*count)++] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                                  NGHTTP2_NV_FLAG_NONE};
}

static inline void peer_status(const struct peer_reply *reply, nghttp2_nv *nv, size_t *count)
{
    if (reply->grpc_status) {
        peer_nv(nv, count, "grpc-status", reply->grpc_status);
    }
    if (reply->grpc_message) {
        peer_nv(nv, count, "grpc-message", reply->grpc_message);
    }
}

static ssize_t peer_read_body(nghttp2_session *h2, int32_t id, uint8_t *out, size_t size,
                              uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)source;
    struct peer_stream *st = peer_stream(user_data, id);
    size_t n = st->reply.body_bytes - st->sent;
    if (n == 0 && st->reply.keep_open) {
        return NGHTTP2_ERR_DEFERRED;
    }
    n = n < size ? n : size;
    if (n) {
        memcpy(out, st->reply.body + st->sent, n);
    }
    st->sent += n;
    if (st->sent == st->reply.body_bytes && !st->reply.keep_open) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->reply.grpc_status) {
            nghttp2_nv nv[2];
            size_t count = 0;
            peer_status(&st->reply, nv, &count);
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            assert_int_equal(nghttp2_submit_trailer(h2, id, nv, count), 0);
        }
    }
    return (ssize_t)n;
}

/* The reply's body must outlive its sending. */
static inline void peer_answer(struct peer *p, int32_t id, const struct peer_reply *reply)
{
    nghttp2_nv nv[128];
    size_t count = 0;
    struct peer_stream *st = peer_stream(p, id);
    st->reply = *reply;
    peer_nv(nv, &count, ":status", reply->http_status ? reply->http_status : "200");
    if (!reply->content_type || *reply->content_type) {
        peer_nv(nv, &count, "content-type",
                reply->content_type ? reply->content_type : "application/grpc");
    }
    for (unsigned i = 0; i < reply->extra_headers; i++) {
        peer_nv(nv, &count, "x-more", "of the same");
    }
    nghttp2_data_provider provider = {.read_callback = peer_read_body};
    if (reply->trailers_only) {
        peer_status(reply, nv, &count);
    }
    assert_int_equal(
        nghttp2_submit_response(p->h2, id, nv, count, reply->trailers_only ? NULL : &provider), 0);
}

/* What a stream that is kept open says next: bytes that must outlive their sending. */
static inline void peer_more(struct peer *p, int32_t id, const char *body, size_t n, bool keep_open)
{
    struct peer_stream *st = peer_stream(p, id);
    st->reply.body = body;
    st->reply.body_bytes = n;
    st->reply.keep_open = keep_open;
    st->sent = 0;
    assert_int_equal(nghttp2_session_resume_data(p->h2, id), 0);
}

/* Moves bytes both ways, `step` at a time, until neither side has more to say. Returns the last
 * error of grpc_session_receive or grpc_session_output. */
static inline int peer_pump(struct peer *p, struct grpc_session *s, size_t step)
{
    int result = 0;
    bool moved = true;
    while (moved) {
        moved = false;
        struct buf out;
        buf_init(&out, step);
        while (grpc_session_has_output(s)) {
            int r = grpc_session_output(s, &out, NULL);
            result = r < 0 ? r : result;
            if (out.len > 0) {
                assert_int_equal(nghttp2_session_mem_recv(p->h2, (uint8_t *)out.data, out.len),
                                 out.len);
                moved = true;
            }
            buf_clear(&out);
        }
        buf_done(&out);
        const uint8_t *bytes;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(p->h2, &bytes)) > 0) {
            moved = true;
            for (size_t at = 0; at < (size_t)n; at += step) {
                size_t left = (size_t)n - at;
                int r = grpc_session_receive(s, bytes + at, left < step ? left : step, NULL);
                result = r < 0 ? r : result;
            }
        }
        assert_true(n == 0);
    }
    return result;
}

#define STEP 65536 /* for peer_pump where it does not matter */

struct fixture {
    struct peer *peer;
    struct grpc_session *session;
};

static inline struct fixture fixture_new(void)
{
    struct fixture f = {peer_new(NULL, 0), grpc_session_new()};
    assert_non_null(f.session);
    return f;
}

static inline void fixture_done(struct fixture *f)
{
    grpc_session_free(f->session);
    peer_free(f->peer);
}

/* Moves bytes from the server to the client only. */
static inline void peer_push(struct peer *p, struct grpc_session *s)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(p->h2, &bytes)) > 0) {
        assert_int_equal(grpc_session_receive(s, bytes, (size_t)n, NULL), 0);
    }
    assert_true(n == 0);
}
