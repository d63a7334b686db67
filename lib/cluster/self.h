/* self.h - the addresses other members can reach this node at.
 *
 * Per family, the first that is known: what was given (--advertise-addr), the host in the router's
 * address when it is no wildcard, the pod's addresses, the kernel's choice towards a bootstrap
 * address. Asked again whenever bootstrap answers, since addresses change. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "gossip/addr.h"
#include "io/address.h"

struct self_config {
    const char *const *advertise; /* IP literals */
    size_t advertise_count;
    const char *router_host; /* "" for a wildcard */
    const char *pod_ips;     /* comma-separated, NULL: none */
};

/* Writes at most one address a family and returns how many; ports are 0. */
size_t self_addresses(const struct self_config *config, const union address *bootstrap,
                      size_t bootstrap_count, struct gossip_addr ret_addrs[2]);
