#include "grpc/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "grpc/session_private.h"

/* A whole message of the largest size never waits for a window update. nghttp2 gives back what was
 * received as it is received, which is when we have read it: what bounds memory is the cap of each
 * call's decoder. */
#define WINDOW_BYTES (LIMIT_GRPC_MESSAGE_BYTES + GRPC_PREFIX_BYTES)

/* Our own allocator functions, so that nghttp2's memory is the C library's as this library sees it:
 * the tests' failing allocations reach nghttp2 too. */
static void *mem_malloc(size_t size, void *user_data)
{
    (void)user_data;
    return malloc(size);
}

static void mem_free(void *pointer, void *user_data)
{
    (void)user_data;
    free(pointer);
}

static void *mem_calloc(size_t count, size_t size, void *user_data)
{
    (void)user_data;
    return calloc(count, size);
}

static void *mem_realloc(void *pointer, size_t size, void *user_data)
{
    (void)user_data;
    return realloc(pointer, size);
}

static int session_open(struct grpc_session *s)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return -ENOMEM;
    }
    grpc_response_callbacks(callbacks);
    nghttp2_mem mem = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};
    int r = nghttp2_session_client_new3(&s->h2, callbacks, s, NULL, &mem);
    nghttp2_session_callbacks_del(callbacks);
    if (r != 0) {
        s->h2 = NULL;
        return -ENOMEM;
    }
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
    };
    r = nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0]));
    if (r == 0) {
        r = nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
    }
    return r == 0 ? 0 : -ENOMEM;
}

struct grpc_session *grpc_session_new(void)
{
    struct grpc_session *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    list_init(&s->open);
    list_init(&s->finished);
    if (session_open(s) < 0) {
        grpc_session_free(s);
        return NULL;
    }
    return s;
}

struct grpc_call *grpc_session_call(struct grpc_session *s, int32_t stream_id)
{
    /* At most LIMIT_GRPC_CALLS, usually one or two: no table is worth its allocations. */
    LIST_EACH (link, &s->open) {
        struct grpc_call *call = CONTAINER_OF(link, struct grpc_call, link);
        if (call->stream_id == stream_id) {
            return call;
        }
    }
    return NULL;
}

static void enter(struct grpc_session *s)
{
    CHECK(!s->busy);
    s->busy = true;
}

/* Delivers what is finished, and sees whether a draining session has nothing left to wait for. */
static void leave(struct grpc_session *s)
{
    while (!list_empty(&s->finished)) {
        grpc_call_deliver(CONTAINER_OF(s->finished.next, struct grpc_call, link));
    }
    if (s->state == GRPC_SESSION_DRAINING && list_empty(&s->open)) {
        s->state = GRPC_SESSION_DEAD;
    }
    s->busy = false;
}

void grpc_session_die(struct grpc_session *s, enum grpc_code code)
{
    s->state = GRPC_SESSION_DEAD;
    LIST_EACH_SAFE (link, &s->open) {
        grpc_call_fail(CONTAINER_OF(link, struct grpc_call, link), code, GRPC_NO_RESET, "%s",
                       s->failure.text);
    }
}

void grpc_session_free(struct grpc_session *s)
{
    if (!s) {
        return;
    }
    enter(s);
    (void)error_set(&s->failure, -ECANCELED, "the session was closed");
    grpc_session_die(s, GRPC_CANCELLED);
    leave(s);
    nghttp2_session_del(s->h2);
    free(s);
}

enum grpc_session_state grpc_session_state(const struct grpc_session *s)
{
    return s->state;
}

const char *grpc_session_reason(const struct grpc_session *s)
{
    return s->failure.text;
}

static int h2_failed(struct grpc_session *s, int h2_error)
{
    int code = h2_error == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
    (void)error_set(&s->failure, code, "HTTP/2: %s", nghttp2_strerror(h2_error));
    grpc_session_die(s, GRPC_UNAVAILABLE);
    return code;
}

int grpc_session_receive(struct grpc_session *s, const void *bytes, size_t n, struct error *err)
{
    if (s->state == GRPC_SESSION_DEAD) {
        return error_set(err, -EPIPE, "%s", s->failure.text);
    }
    enter(s);
    ssize_t taken = nghttp2_session_mem_recv(s->h2, bytes, n);
    int r = 0;
    if (taken < 0) {
        r = h2_failed(s, (int)taken);
        (void)error_set(err, r, "%s", s->failure.text);
    }
    leave(s);
    return r;
}

void grpc_session_fail(struct grpc_session *s, const char *format, ...)
{
    enter(s);
    if (s->state != GRPC_SESSION_DEAD) {
        char text[sizeof(s->failure.text)];
        va_list args;
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        (void)error_set(&s->failure, -ECONNRESET, "%s", text);
        grpc_session_die(s, GRPC_UNAVAILABLE);
    }
    leave(s);
}

/* Moves as much of what nghttp2 gave as fits. 0, or -ENOMEM. */
static int move_held(struct grpc_session *s, struct buf *out)
{
    size_t n = out->max - out->len;
    if (n > s->held_bytes) {
        n = s->held_bytes;
    }
    int r = n ? buf_append(out, s->held, n) : 0;
    if (r == 0) {
        s->held += n;
        s->held_bytes -= n;
    }
    return r;
}

int grpc_session_output(struct grpc_session *s, struct buf *out, struct error *err)
{
    if (s->state == GRPC_SESSION_DEAD) {
        return error_set(err, -EPIPE, "%s", s->failure.text);
    }
    enter(s);
    int r = 0;
    while (r == 0 && out->len < out->max && s->state != GRPC_SESSION_DEAD) {
        if (s->held_bytes > 0) {
            r = move_held(s, out);
            continue;
        }
        ssize_t n = nghttp2_session_mem_send(s->h2, &s->held);
        if (n <= 0) {
            s->held_bytes = 0;
            r = n < 0 ? h2_failed(s, (int)n) : 0;
            break;
        }
        s->held_bytes = (size_t)n;
    }
    if (r == 0 && s->state == GRPC_SESSION_DEAD) {
        r = s->failure.code;
    }
    s->busy = false;
    return r < 0 ? error_set(err, r, "%s", r == -ENOMEM ? "out of memory" : s->failure.text) : 0;
}

bool grpc_session_has_output(const struct grpc_session *s)
{
    return s->state != GRPC_SESSION_DEAD &&
           (s->held_bytes > 0 || nghttp2_session_want_write(s->h2) != 0);
}

uint64_t grpc_session_next_at_ms(const struct grpc_session *s)
{
    if (!list_empty(&s->finished)) {
        return 0;
    }
    uint64_t next_at_ms = UINT64_MAX;
    LIST_EACH (link, &s->open) {
        const struct grpc_call *call = CONTAINER_OF(link, struct grpc_call, link);
        if (call->deadline_at_ms > 0 && call->deadline_at_ms < next_at_ms) {
            next_at_ms = call->deadline_at_ms;
        }
    }
    return next_at_ms;
}

void grpc_session_tick(struct grpc_session *s, uint64_t now_ms)
{
    enter(s);
    LIST_EACH_SAFE (link, &s->open) {
        struct grpc_call *call = CONTAINER_OF(link, struct grpc_call, link);
        if (call->deadline_at_ms > 0 && call->deadline_at_ms <= now_ms) {
            grpc_call_fail(call, GRPC_DEADLINE_EXCEEDED, NGHTTP2_CANCEL, "no answer in time");
        }
    }
    leave(s);
}
