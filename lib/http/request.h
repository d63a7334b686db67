/* request.h - HTTP/1.x requests from bytes, over llhttp (RFC 9112).
 *
 * Sans-IO: feed bytes, get at most one complete head at a time; a pipelined rest stays with the
 * caller. Limits are those of limits.h. A request that announces a body (Content-Length > 0 or
 * Transfer-Encoding) is marked, never read: the server refuses it and closes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

enum http_method { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_OTHER };

/* One request; all pointers live in the parser until http_parser_next. Header values are NULL when
 * absent; a repeated header keeps its first value. */
struct http_request {
    enum http_method method;
    const char *method_name;
    const char *target; /* as sent, origin form */
    bool http_1_0, keep_alive, has_body, expect_continue;
    const char *host, *range, *if_none_match, *if_range, *accept, *authorization, *user_agent;
    const char *spegel_mirrored; /* X-Spegel-Mirrored */
    const char *spegel_mirror;   /* X-Spegel-Mirror */
    const char *spegel_registry; /* X-Spegel-Registry */
    const char *spegel_node;     /* X-Spegel-Node */
    const char *spegel_follow;   /* X-Spegel-Follow */
    const char *spegel_doubt;    /* X-Spegel-Doubt */
    const char *spegel_auth;     /* X-Spegel-Auth */
    const char *oci_namespace;   /* OCI-Namespace */
};

struct http_parser; /* about 1 KiB while idle; the head's bytes are allocated while one is parsed */

struct http_parser *http_parser_new(void); /* NULL without memory */
void http_parser_free(struct http_parser *p);

/* Takes up to n bytes; *ret_used says how many (all, or up to the end of a head).
 * 1: a head is complete, see http_parser_request; 0: more bytes are needed;
 * -EPROTO garbage (400), -E2BIG head too large (431), -ENAMETOOLONG target (414),
 * -EPROTONOSUPPORT another version than 1.x (505), -ENOMEM. After an error the parser is dead. Any
 * token is taken as a method (RFC 9110, section 9.1). */
int http_parser_feed(struct http_parser *p, const char *bytes, size_t n, size_t *ret_used);
const struct http_request *http_parser_request(const struct http_parser *p);
bool http_parser_started(const struct http_parser *p); /* some byte of a head has come */
void http_parser_next(struct http_parser *p);          /* forget the request, expect another */
