/* address.h - socket addresses as text, and what may be asked of them. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

union address {
    struct sockaddr sa;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};
#define ADDRESS_TEXT_BYTES 72

/* "[v6]:port" or "v4:port"; v4-mapped IPv6 prints as IPv4. */
void address_format(const struct sockaddr *sa, char ret_text[ADDRESS_TEXT_BYTES]);
/* Numeric only: "1.2.3.4:5", "[::1]:5". 0 or -EINVAL. */
int address_parse(const char *text, union address *ret_address);
/* "host:port", ":port", "[v6]:port", split without resolving. 0 or -EINVAL. */
int address_split(const char *text, char *ret_host, size_t host_bytes, uint16_t *ret_port,
                  struct error *err);
socklen_t address_length(const struct sockaddr *sa);
bool address_is_loopback(const struct sockaddr *sa);
bool address_equal_host(const struct sockaddr *a, const struct sockaddr *b); /* port ignored */
/* Whether one of this host's interfaces has it (cached for 5 s). */
bool address_is_own(const struct sockaddr *sa);
