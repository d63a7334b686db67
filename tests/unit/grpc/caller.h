/* caller.h - a call that writes down what its callbacks were told. */
#pragma once

#include <string.h>

#include "base/error.h"
#include "grpc/methods.h"
#include "grpc/session.h"
#include "support.h"

struct caller {
    struct grpc_call call;
    unsigned messages, done, message_after_done;
    size_t bytes;           /* of all messages */
    unsigned char last[16]; /* the beginning of the last message */
    struct grpc_status status;
    struct grpc_session *session;  /* for `then` and `each` */
    void (*then)(struct caller *); /* run at the end of on_done, when set */
    void (*each)(struct caller *); /* run on each message, when set */
};

static void caller_on_message(struct grpc_call *call, const uint8_t *bytes, size_t n)
{
    struct caller *c = CONTAINER_OF(call, struct caller, call);
    assert_true(grpc_call_active(call));
    c->messages++;
    c->message_after_done += c->done;
    c->bytes += n;
    memset(c->last, 0, sizeof(c->last));
    memcpy(c->last, bytes, n < sizeof(c->last) ? n : sizeof(c->last));
    if (c->each) {
        c->each(c);
    }
}

static void caller_on_done(struct grpc_call *call, const struct grpc_status *status)
{
    struct caller *c = CONTAINER_OF(call, struct caller, call);
    assert_false(grpc_call_active(call));
    c->done++;
    c->status = *status;
    if (c->then) {
        c->then(c);
    }
}

static inline int caller_start(struct caller *c, struct grpc_session *s, bool stream,
                               uint64_t deadline_at_ms)
{
    const struct grpc_request request = {
        .path = stream ? GRPC_EVENTS_SUBSCRIBE : GRPC_IMAGES_LIST,
        .containerd_namespace = "k8s.io",
        .stream = stream,
        .deadline_at_ms = deadline_at_ms,
    };
    c->session = s;
    c->call.on_message = caller_on_message;
    c->call.on_done = caller_on_done;
    return grpc_call_start(s, &c->call, &request);
}
