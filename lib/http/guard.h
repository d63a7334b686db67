/* guard.h - where an HTTP/1.x head ends, and what no head may contain.
 *
 * llhttp forgives line endings and folded lines that another implementation would read differently;
 * such differences are what request smuggling is made of (RFC 9112, section 11.2). The guard runs
 * before it and accepts nothing but lines ended by CRLF that do not start with white space.
 * Internal to lib/http. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct guard {
    bool after_cr;
    bool first_line_over;
    bool line_has_bytes;
};

/* 1: the head ends at *ret_end (behind its empty line); 0: it goes on, all n bytes belong to it;
 * -EPROTO: a bare CR or LF, a folded line, or an empty first line. */
int guard_scan(struct guard *g, const char *bytes, size_t n, size_t *ret_end);
