/* convert.h - between the gossip core's addresses and the socket's. */
#pragma once

#include "gossip/addr.h"
#include "io/address.h"

/* 0, or -EAFNOSUPPORT. IPv4-mapped IPv6 becomes IPv4. */
int convert_from_sockaddr(const struct sockaddr *sa, struct gossip_addr *ret_addr);
int convert_to_address(const struct gossip_addr *addr, union address *ret_address);
