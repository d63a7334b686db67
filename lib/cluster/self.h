/* self.h - the addresses other members can reach this node at.
 *
 * Per family, the first that is known: what was given (--advertise-addr), the host in the router's
 * address when it is no wildcard, the pod's addresses, what was chosen before if this host still
 * has it, the kernel's choice towards a bootstrap address. Asked again whenever bootstrap answers,
 * since addresses change; on a host with several, which one does not then depend on the order of
 * the answer. A loopback address is chosen only where the kernel has no other: members elsewhere
 * refuse it, and a host's own name often resolves to one. */
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

/* Writes at most one address a family, IPv4 first, and returns how many; ports are 0. `known` is
 * what it returned before, zero at first. */
size_t self_addresses(const struct self_config *config, const struct gossip_addr known[2],
                      const union address *bootstrap, size_t bootstrap_count,
                      struct gossip_addr ret_addrs[2]);
