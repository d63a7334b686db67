#include "io/pacing.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

static int choose(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
}

void pacing_avoid(int listen_fd, char ret_default[static PACING_NAME_BYTES])
{
    char name[PACING_NAME_BYTES + 1] = "";
    socklen_t n = PACING_NAME_BYTES;
    ret_default[0] = 0;
    if (getsockopt(listen_fd, IPPROTO_TCP, TCP_CONGESTION, name, &n) < 0 ||
        strncmp(name, "bbr", 3) != 0) {
        return;
    }
    if (choose(listen_fd, "cubic") == 0 || choose(listen_fd, "reno") == 0) {
        memcpy(ret_default, name, PACING_NAME_BYTES);
        ret_default[PACING_NAME_BYTES - 1] = 0;
    }
}

void pacing_accepted(int fd, const char *host_default, uint32_t near_us)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof(info);
    if (!host_default[0]) {
        return;
    }
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 || info.tcpi_rtt == 0 ||
        info.tcpi_rtt > near_us) {
        (void)choose(fd, host_default); /* refused: the connection works all the same */
    }
}
