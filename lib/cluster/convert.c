#include "cluster/convert.h"

#include <errno.h>
#include <string.h>

int convert_from_sockaddr(const struct sockaddr *sa, struct gossip_addr *ret_addr)
{
    struct gossip_addr addr = {0};
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)sa;
        addr.family = GOSSIP_IPV4;
        addr.port = ntohs(in4->sin_port);
        memcpy(addr.ip, &in4->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        addr.family = mapped ? GOSSIP_IPV4 : GOSSIP_IPV6;
        addr.port = ntohs(in6->sin6_port);
        memcpy(addr.ip, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else {
        return -EAFNOSUPPORT;
    }
    *ret_addr = addr;
    return 0;
}

int convert_to_address(const struct gossip_addr *addr, union address *ret_address)
{
    union address address = {0};
    if (addr->family == GOSSIP_IPV4) {
        address.in4.sin_family = AF_INET;
        address.in4.sin_port = htons(addr->port);
        memcpy(&address.in4.sin_addr, addr->ip, 4);
    } else if (addr->family == GOSSIP_IPV6) {
        address.in6.sin6_family = AF_INET6;
        address.in6.sin6_port = htons(addr->port);
        memcpy(&address.in6.sin6_addr, addr->ip, 16);
    } else {
        return -EAFNOSUPPORT;
    }
    *ret_address = address;
    return 0;
}
