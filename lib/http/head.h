/* head.h - writing response and request heads (RFC 9110, RFC 9112). */
#pragma once

#include <stdint.h>

#include "base/buf.h"

const char *http_reason(int status);

/* Appends the status line and "Date"-less common fields; then fields; then http_head_end.
 * Values with CR, LF or NUL are refused with -EINVAL, so nothing from outside can split a head. */
int http_head_status(struct buf *out, int status);
int http_head_field(struct buf *out, const char *name, const char *value);
int http_head_field_number(struct buf *out, const char *name, int64_t value);
int http_head_end(struct buf *out);
