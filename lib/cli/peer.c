#include "cli/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/values.h"

/* Copies the next "/part" into `part` and moves past it; false at the end or if it is too long. */
static bool multiaddr_next(const char **text, char *part, size_t bytes)
{
    if (**text != '/') {
        return false;
    }
    size_t n = strcspn(*text + 1, "/");
    if (n == 0 || n >= bytes) {
        return false;
    }
    memcpy(part, *text + 1, n);
    part[n] = 0;
    *text += n + 1;
    return true;
}

static int multiaddr_parse(const char *text, struct host_port *ret_peer)
{
    char kind[8], host[254], transport[8], port[8], address[300];
    unsigned char binary[16];
    if (!multiaddr_next(&text, kind, sizeof kind) || !multiaddr_next(&text, host, sizeof host) ||
        !multiaddr_next(&text, transport, sizeof transport) ||
        !multiaddr_next(&text, port, sizeof port)) {
        return -EINVAL;
    }
    bool ipv4 = !strcmp(kind, "ip4"), ipv6 = !strcmp(kind, "ip6");
    bool dns = !strcmp(kind, "dns") || !strcmp(kind, "dns4") || !strcmp(kind, "dns6");
    if ((strcmp(transport, "tcp") != 0 && strcmp(transport, "udp") != 0) ||
        (!ipv4 && !ipv6 && !dns) || (ipv4 && inet_pton(AF_INET, host, binary) != 1) ||
        (ipv6 && inet_pton(AF_INET6, host, binary) != 1)) {
        return -EINVAL;
    }
    (void)snprintf(address, sizeof address, ipv6 ? "[%s]:%s" : "%s:%s", host, port);
    return value_address(address, ret_peer);
}

int peer_parse(const char *text, struct host_port *ret_peer, struct error *err)
{
    struct host_port peer;
    int r = text[0] == '/' ? multiaddr_parse(text, &peer) : value_address(text, &peer);
    if (r < 0 || !peer.host[0]) {
        return error_set(err, -EINVAL,
                         "--static-bootstrap-peers: \"%.200s\" is not allowed, give host:port such "
                         "as 10.0.0.1:5001 or [fd00::1]:5001, or a multiaddr such as "
                         "/ip4/10.0.0.1/tcp/5001",
                         text);
    }
    *ret_peer = peer;
    return 0;
}
