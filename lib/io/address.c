#include "io/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/loop.h"

#define OWN_ADDRESSES_FOR_US 5000000
#define OWN_ADDRESSES_MAX 256

/* Every host address as the 16 bytes of an IPv6 one (v4-mapped), so that the same host compares
 * equal whichever kind of socket it came through. False for other families. */
static bool host_bytes(const struct sockaddr *sa, struct in6_addr *ret)
{
    if (sa->sa_family == AF_INET6) {
        *ret = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
        return true;
    }
    if (sa->sa_family == AF_INET) {
        *ret = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(ret->s6_addr + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
        return true;
    }
    return false;
}

void address_format(const struct sockaddr *sa, char ret_text[ADDRESS_TEXT_BYTES])
{
    struct in6_addr host;
    char text[INET6_ADDRSTRLEN] = "";
    if (!host_bytes(sa, &host)) {
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "?");
        return;
    }
    /* The port stands at the same place in both. */
    unsigned port = ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
    if (IN6_IS_ADDR_V4MAPPED(&host)) {
        (void)inet_ntop(AF_INET, host.s6_addr + 12, text, sizeof(text));
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "%s:%u", text, port);
    } else {
        (void)inet_ntop(AF_INET6, &host, text, sizeof(text));
        (void)snprintf(ret_text, ADDRESS_TEXT_BYTES, "[%s]:%u", text, port);
    }
}

int address_split(const char *text, char *ret_host, size_t host_size, uint16_t *ret_port,
                  struct error *err)
{
    const char *host = text, *host_end, *colon;
    if (*text == '[') {
        host++;
        host_end = strchr(host, ']');
        colon = host_end ? host_end + 1 : NULL;
    } else {
        host_end = colon = strrchr(text, ':');
        if (colon && memchr(text, ':', (size_t)(colon - text))) {
            return error_set(err, -EINVAL, "\"%s\": an IPv6 address belongs in brackets", text);
        }
    }
    if (!colon || *colon != ':') {
        return error_set(err, -EINVAL, "\"%s\" is not of the form host:port", text);
    }
    size_t digits = strspn(colon + 1, "0123456789");
    unsigned long port = digits > 0 && digits <= 5 ? strtoul(colon + 1, NULL, 10) : 65536;
    if (port > 65535 || colon[1 + digits]) {
        return error_set(err, -EINVAL, "\"%s\": the port is not a number up to 65535", text);
    }
    size_t n = (size_t)(host_end - host);
    if (n >= host_size || (*text == '[' && n == 0)) {
        return error_set(err, -EINVAL, "\"%s\": the host is %s", text, n ? "too long" : "empty");
    }
    memcpy(ret_host, host, n);
    ret_host[n] = 0;
    *ret_port = (uint16_t)port;
    return 0;
}

int address_parse(const char *text, union address *ret_address)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port = 0;
    if (address_split(text, host, sizeof(host), &port, NULL) < 0) {
        return -EINVAL;
    }
    union address address = {0};
    if (*text == '[') {
        address.in6.sin6_family = AF_INET6;
        address.in6.sin6_port = htons(port);
        if (inet_pton(AF_INET6, host, &address.in6.sin6_addr) != 1) {
            return -EINVAL;
        }
    } else {
        address.in4.sin_family = AF_INET;
        address.in4.sin_port = htons(port);
        if (inet_pton(AF_INET, host, &address.in4.sin_addr) != 1) {
            return -EINVAL;
        }
    }
    *ret_address = address;
    return 0;
}

socklen_t address_length(const struct sockaddr *sa)
{
    return sa->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
           : sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                       : sizeof(struct sockaddr_storage);
}

bool address_is_loopback(const struct sockaddr *sa)
{
    struct in6_addr host;
    return host_bytes(sa, &host) && (IN6_IS_ADDR_LOOPBACK(&host) ||
                                     (IN6_IS_ADDR_V4MAPPED(&host) && host.s6_addr[12] == 127));
}

bool address_equal_host(const struct sockaddr *a, const struct sockaddr *b)
{
    struct in6_addr one, other;
    return host_bytes(a, &one) && host_bytes(b, &other) && memcmp(&one, &other, sizeof(one)) == 0;
}

bool address_is_own(const struct sockaddr *sa)
{
    static struct in6_addr own[OWN_ADDRESSES_MAX];
    static size_t own_count;
    static uint64_t read_at_us;
    uint64_t now_us = clock_now_us();
    struct ifaddrs *interfaces = NULL;
    if ((!read_at_us || now_us - read_at_us > OWN_ADDRESSES_FOR_US) &&
        getifaddrs(&interfaces) == 0) {
        read_at_us = now_us;
        own_count = 0;
        for (struct ifaddrs *i = interfaces; i && own_count < OWN_ADDRESSES_MAX; i = i->ifa_next) {
            if (i->ifa_addr && host_bytes(i->ifa_addr, &own[own_count])) {
                own_count++;
            }
        }
        freeifaddrs(interfaces);
    }
    struct in6_addr host;
    if (!host_bytes(sa, &host)) {
        return false;
    }
    for (size_t i = 0; i < own_count; i++) {
        if (memcmp(&own[i], &host, sizeof(host)) == 0) {
            return true;
        }
    }
    return address_is_loopback(sa);
}
