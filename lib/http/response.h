/* response.h - heads of HTTP responses from bytes, over llhttp: the relay's view of a peer.
 *
 * Only the head is parsed here; the body's bytes stay with the caller. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_response {
    int status;
    int64_t content_length; /* -1 when absent */
    bool chunked;           /* any Transfer-Encoding: the relay refuses it */
    bool keep_alive;
    int64_t range_first, range_last, range_total; /* Content-Range; -1 when absent or "*" */
    char content_type[128];
    char docker_content_digest[80];
    char spegel_origin[16]; /* X-Spegel-Origin; registry/proof.h */
    bool content_encoded;   /* Content-Encoding other than identity: refused */
    int64_t retry_after_s;  /* -1 when absent */
};

struct http_response_parser;
struct http_response_parser *http_response_parser_new(void);
void http_response_parser_free(struct http_response_parser *p);

/* As http_parser_feed: 1 when the head (not a 1xx) is complete, *ret_used ends right behind it. */
int http_response_parser_feed(struct http_response_parser *p, const char *bytes, size_t n,
                              size_t *ret_used);
const struct http_response *http_response_parser_get(const struct http_response_parser *p);
