#include "supervisor.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static int tell(const char *path, const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n < 2 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return -EINVAL;
    }
    memcpy(to.sun_path, path, n);
    if (path[0] == '@') {
        to.sun_path[0] = 0; /* an abstract one: unix(7) */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    int r = sent < 0 ? -errno : 0;
    (void)close(fd);
    return r;
}

void supervisor_tell(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    int r = path && *path ? tell(path, state) : 0;
    if (r < 0) {
        log_warn("the supervisor cannot be told", LOG_STR("state", state),
                 LOG_STR("NOTIFY_SOCKET", path), LOG_STR("err", strerror(-r)));
    }
}
