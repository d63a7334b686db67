/* addr.h - node ids and addresses as the gossip core sees them.
 *
 * Plain values, no sockets. A node id is 48 bits in a uint64_t; 0 is nobody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_ID_TEXT_BYTES 13   /* 12 hex digits and the NUL */
#define GOSSIP_ADDR_TEXT_BYTES 64 /* "[v6]:port" or "v4:port" and the NUL */

enum gossip_family { GOSSIP_NO_ADDR = 0, GOSSIP_IPV4 = 4, GOSSIP_IPV6 = 6 };

struct gossip_addr {
    uint8_t ip[16]; /* network order; the first 4 for IPv4, the rest zero */
    uint16_t port;  /* host order */
    uint8_t family; /* enum gossip_family */
    uint8_t unused; /* keep 0 */
};

bool gossip_addr_equal(const struct gossip_addr *a, const struct gossip_addr *b);
/* Any order, in which equal ones are 0. */
int gossip_addr_compare(const struct gossip_addr *a, const struct gossip_addr *b);
bool gossip_addr_same_host(const struct gossip_addr *a, const struct gossip_addr *b);

bool gossip_addr_is_loopback(const struct gossip_addr *a);

/* Unspecified, multicast, broadcast, link-local (IPv4 and IPv6), IPv4-mapped IPv6: never a
 * member's. */
bool gossip_addr_is_unusable(const struct gossip_addr *a);

/* "10.0.0.1" or "fe00::1", no brackets, no port: 0 or -EINVAL. */
int gossip_addr_parse_ip(const char *text, uint16_t port, struct gossip_addr *ret_addr);

/* Always NUL-terminated. Returns `text`. */
const char *gossip_addr_format(const struct gossip_addr *a, char text[GOSSIP_ADDR_TEXT_BYTES]);
const char *gossip_id_format(uint64_t id, char text[GOSSIP_ID_TEXT_BYTES]);

/* Exactly 12 hex digits up to the NUL, not all zero: 0 or -EINVAL. */
int gossip_id_parse(const char *text, uint64_t *ret_id);

/* The first 6 bytes of SHA-256(label ‖ random), gossip.md "State". Never 0. The caller keeps the
 * random value in the data directory, bound to host name and machine-id. */
uint64_t gossip_id_make(const char *label, const uint8_t *random, size_t random_bytes);
