#include "cluster/self.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster/convert.h"

#define ROUTES_TRIED 16

struct found {
    struct gossip_addr *addrs;
    size_t count;
};

static bool found_family(const struct found *f, uint8_t family)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->addrs[i].family == family) {
            return true;
        }
    }
    return false;
}

static void found_add(struct found *f, const struct gossip_addr *addr)
{
    if (f->count < 2 && !gossip_addr_is_unusable(addr) && !found_family(f, addr->family)) {
        f->addrs[f->count] = *addr;
        f->addrs[f->count++].port = 0;
    }
}

static void found_add_text(struct found *f, const char *text, size_t n)
{
    char copy[GOSSIP_ADDR_TEXT_BYTES];
    struct gossip_addr addr;
    if (n > 0 && n < sizeof copy) {
        memcpy(copy, text, n);
        copy[n] = 0;
        if (gossip_addr_parse_ip(copy, 0, &addr) == 0) {
            found_add(f, &addr);
        }
    }
}

/* What the kernel would send from: a connected UDP socket sends nothing by itself. Any port does.
 */
static bool found_route(const union address *to, struct gossip_addr *ret_addr)
{
    union address own, target = *to;
    socklen_t length = sizeof own;
    int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    target.in4.sin_port = htons(9); /* at the same place in IPv6 addresses */
    bool good = connect(fd, &target.sa, address_length(&target.sa)) == 0 &&
                getsockname(fd, &own.sa, &length) == 0 &&
                convert_from_sockaddr(&own.sa, ret_addr) == 0;
    (void)close(fd);
    return good;
}

/* Where a Service names every instance these are thousands, asked about again and again; what the
 * first few of a family do not tell, the others will not. */
static void found_add_routes(struct found *f, const union address *bootstrap, size_t count,
                             bool loopback)
{
    unsigned tried[2] = {0}; /* IPv4, IPv6 */
    for (size_t i = 0; i < count && f->count < 2; i++) {
        struct gossip_addr addr;
        bool v6 = bootstrap[i].sa.sa_family == AF_INET6;
        if (found_family(f, v6 ? GOSSIP_IPV6 : GOSSIP_IPV4) || tried[v6]++ >= ROUTES_TRIED) {
            continue;
        }
        if (found_route(&bootstrap[i], &addr) && gossip_addr_is_loopback(&addr) == loopback) {
            found_add(f, &addr);
        }
    }
}

static void found_add_known(struct found *f, const struct gossip_addr known[2], bool loopback)
{
    for (size_t i = 0; i < 2 && known[i].family; i++) {
        union address address;
        if (gossip_addr_is_loopback(&known[i]) == loopback &&
            convert_to_address(&known[i], &address) == 0 && address_is_own(&address.sa)) {
            found_add(f, &known[i]);
        }
    }
}

size_t self_addresses(const struct self_config *config, const struct gossip_addr known[2],
                      const union address *bootstrap, size_t bootstrap_count,
                      struct gossip_addr ret_addrs[2])
{
    struct found f = {.addrs = ret_addrs};
    for (size_t i = 0; i < config->advertise_count; i++) {
        found_add_text(&f, config->advertise[i], strlen(config->advertise[i]));
    }
    found_add_text(&f, config->router_host, strlen(config->router_host));
    for (const char *p = config->pod_ips; p && *p;) {
        size_t n = strcspn(p, ",");
        found_add_text(&f, p, n);
        p += n + (p[n] == ',');
    }
    found_add_known(&f, known, false);
    found_add_routes(&f, bootstrap, bootstrap_count, false);
    if (f.count == 0) {
        found_add_known(&f, known, true);
        found_add_routes(&f, bootstrap, bootstrap_count, true);
    }
    if (f.count == 2 && ret_addrs[0].family == GOSSIP_IPV6) {
        struct gossip_addr first = ret_addrs[0];
        ret_addrs[0] = ret_addrs[1];
        ret_addrs[1] = first;
    }
    return f.count;
}
