/* content.h - the answer that carries a blob or a manifest which this node holds. Private to
 * registry/.
 *
 * Each of these answers `c` and takes `fd` over, where there is one. */
#pragma once

#include "io/growing_body.h"
#include "registry/answer.h"

/* The answer to a conditional request is 304: RFC 9110 section 13.1.2, for the one strong ETag a
 * digest has. */
bool content_not_modified(const struct registry_query *q, const struct digest *digest);
void content_answer_not_modified(struct conn *c, const struct registry_query *q,
                                 const struct digest *digest, const char *content_type);

/* The Range header, or NULL where it does not count: not a GET of a blob (RFC 9110 section 14.2),
 * or If-Range names other content than this (section 13.1.5). */
const char *content_range(const struct registry_query *q);

/* From the file: whole or the part asked for. */
void content_answer_blob(struct registry *r, struct conn *c, const struct registry_query *q,
                         const struct digest *digest, int64_t size_bytes, int fd);

/* The same of a file that is still being written: of `size_bytes` in the end, `there_bytes` are
 * there. origin: X-Spegel-Origin, or NULL. *ret_body is NULL when no body was begun; else it lives
 * until `finished`. */
void content_answer_growing(struct registry *r, struct conn *c, const struct registry_query *q,
                            int64_t size_bytes, int fd, int64_t there_bytes, const char *origin,
                            void (*finished)(void *arg, int status, int64_t bytes_sent), void *arg,
                            struct growing_body **ret_body);
/* Where the answer's first byte lies in a blob of this size; negative: nowhere (416). */
int64_t content_first_byte(const struct registry_query *q, int64_t size_bytes);

/* `bytes` from memory, or from `fd` where bytes is NULL and fd >= 0; neither: a HEAD's answer. */
void content_answer_manifest(struct registry *r, struct conn *c, const struct registry_query *q,
                             const struct inventory_blob *blob, const char *bytes, int fd);
