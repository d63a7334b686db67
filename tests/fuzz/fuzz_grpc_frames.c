/* The bytes of a server, to a client with a unary call and two streams open. The first byte says
 * how the rest is cut. Every call must end exactly once. */
#include "base/check.h"
#include "grpc/methods.h"
#include "grpc/session.h"

static unsigned done;

static void on_done(struct grpc_call *call, const struct grpc_status *status)
{
    (void)call, (void)status;
    done++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct grpc_session *s = grpc_session_new();
    struct grpc_call calls[3] = {{.on_done = on_done}, {.on_done = on_done}, {.on_done = on_done}};
    size_t step = n ? 1 + data[0] % 64u : 1;
    struct buf out;
    CHECK(s);
    buf_init(&out, 4096);
    done = 0;
    for (unsigned i = 0; i < 3; i++) {
        const struct grpc_request request = {
            .path = GRPC_CONTENT_LIST, .stream = i > 0, .deadline_at_ms = i > 0 ? 0 : 1000};
        CHECK(grpc_call_start(s, &calls[i], &request) == 0);
    }
    for (size_t at = 1; at < n; at += step, buf_clear(&out)) {
        (void)grpc_session_output(s, &out, NULL);
        (void)grpc_session_receive(s, data + at, n - at < step ? n - at : step, NULL);
    }
    grpc_session_tick(s, 1000);
    grpc_session_free(s);
    buf_done(&out);
    CHECK(done == 3);
    return 0;
}
