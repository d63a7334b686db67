#include "io/memory_body.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/list.h"

static int64_t memory_body_write(struct body *body, int fd, int64_t max_bytes)
{
    struct memory_body *b = CONTAINER_OF(body, struct memory_body, body);
    size_t n = b->len - b->sent_bytes;
    if ((int64_t)n > max_bytes) {
        n = (size_t)max_bytes;
    }
    ssize_t sent = send(fd, b->bytes + b->sent_bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return -errno;
    }
    b->sent_bytes += (size_t)sent;
    return sent;
}

static void memory_body_done(struct body *body, int status)
{
    struct memory_body *b = CONTAINER_OF(body, struct memory_body, body);
    b->sent(b, status);
}

void memory_body_init(struct memory_body *b, const void *bytes, size_t len,
                      void (*sent)(struct memory_body *b, int status))
{
    static const struct body_ops ops = {.write = memory_body_write, .done = memory_body_done};
    *b = (struct memory_body){.body = {.ops = &ops}, .bytes = bytes, .len = len, .sent = sent};
}
