/* status.h - how a gRPC call ended.
 *
 * The codes are those of gRPC's doc/statuscodes.md; each maps to an errno, so that a caller who
 * only asks "is it there?" compares with -ENOENT and never learns about gRPC. */
#pragma once

#include <stddef.h>

#include "base/limits.h"

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

struct grpc_status {
    enum grpc_code code;
    int error;                               /* 0 or grpc_code_error(code) */
    char text[LIMIT_GRPC_STATUS_TEXT_BYTES]; /* for people; cut to fit; "" when nothing was said */
};

/* 0 for GRPC_OK, -ENOENT for NOT_FOUND, -ECANCELED for CANCELLED, -ETIMEDOUT for DEADLINE_EXCEEDED,
 * -ECONNRESET for UNAVAILABLE, -EPROTO for INTERNAL, and so on (the table in status.c). */
int grpc_code_error(enum grpc_code code);
const char *grpc_code_name(enum grpc_code code); /* "NOT_FOUND" */

/* Writes code, error and the sentence, which is cut to fit. Control characters become '?'. */
__attribute__((format(printf, 3, 4))) void
grpc_status_set(struct grpc_status *ret_status, enum grpc_code code, const char *format, ...);

/* The value of a grpc-status header. Anything that is not a known code in decimal is
 * GRPC_UNKNOWN. */
enum grpc_code grpc_code_parse(const char *value, size_t n);

/* When there is no grpc-status: gRPC's doc/http-grpc-status-mapping.md for the HTTP status of a
 * response, and doc/PROTOCOL-HTTP2.md ("HTTP2 Transport Mapping") for the error code of an
 * RST_STREAM. */
enum grpc_code grpc_code_from_http(unsigned http_status);
enum grpc_code grpc_code_from_reset(unsigned http2_error_code);

/* Decodes the percent-encoding of grpc-message (doc/PROTOCOL-HTTP2.md, "Responses") into `ret_text`
 * of `size` bytes, cut to fit, always terminated. A broken escape is kept as it stands; control
 * characters become question marks. */
void grpc_message_decode(const char *value, size_t n, char *ret_text, size_t size);
