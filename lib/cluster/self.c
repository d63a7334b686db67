#include "cluster/self.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster/convert.h"

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

/* What the kernel would send from: a connected UDP socket sends nothing by itself. */
static void found_add_route(struct found *f, const union address *to)
{
    union address own;
    socklen_t length = sizeof own;
    int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, &to->sa, address_length(&to->sa)) == 0 &&
        getsockname(fd, &own.sa, &length) == 0) {
        struct gossip_addr addr;
        if (convert_from_sockaddr(&own.sa, &addr) == 0) {
            found_add(f, &addr);
        }
    }
    (void)close(fd);
}

size_t self_addresses(const struct self_config *config, const union address *bootstrap,
                      size_t bootstrap_count, struct gossip_addr ret_addrs[2])
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
    for (size_t i = 0; i < bootstrap_count && f.count < 2; i++) {
        found_add_route(&f, &bootstrap[i]);
    }
    return f.count;
}
