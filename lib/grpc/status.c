#include "grpc/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

static const struct {
    const char *name;
    int error;
} codes[] = {
    [GRPC_OK] = {"OK", 0},
    [GRPC_CANCELLED] = {"CANCELLED", -ECANCELED},
    [GRPC_UNKNOWN] = {"UNKNOWN", -EIO},
    [GRPC_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", -EINVAL},
    [GRPC_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", -ETIMEDOUT},
    [GRPC_NOT_FOUND] = {"NOT_FOUND", -ENOENT},
    [GRPC_ALREADY_EXISTS] = {"ALREADY_EXISTS", -EEXIST},
    [GRPC_PERMISSION_DENIED] = {"PERMISSION_DENIED", -EACCES},
    [GRPC_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", -ENOBUFS},
    [GRPC_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", -EPERM},
    [GRPC_ABORTED] = {"ABORTED", -EAGAIN},
    [GRPC_OUT_OF_RANGE] = {"OUT_OF_RANGE", -ERANGE},
    [GRPC_UNIMPLEMENTED] = {"UNIMPLEMENTED", -ENOSYS},
    [GRPC_INTERNAL] = {"INTERNAL", -EPROTO},
    [GRPC_UNAVAILABLE] = {"UNAVAILABLE", -ECONNRESET},
    [GRPC_DATA_LOSS] = {"DATA_LOSS", -EBADMSG},
    [GRPC_UNAUTHENTICATED] = {"UNAUTHENTICATED", -EACCES},
};
#define CODES (sizeof(codes) / sizeof(codes[0]))

int grpc_code_error(enum grpc_code code)
{
    return (size_t)code < CODES ? codes[code].error : -EIO;
}

const char *grpc_code_name(enum grpc_code code)
{
    return (size_t)code < CODES ? codes[code].name : "UNKNOWN";
}

static char printable(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
}

void grpc_status_set(struct grpc_status *ret_status, enum grpc_code code, const char *format, ...)
{
    ret_status->code = code;
    ret_status->error = grpc_code_error(code);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ret_status->text, sizeof(ret_status->text), format, args);
    va_end(args);
    for (char *c = ret_status->text; *c; c++) {
        *c = printable(*c);
    }
}

enum grpc_code grpc_code_parse(const char *value, size_t n)
{
    unsigned code = 0;
    if (n == 0 || n > 2) {
        return GRPC_UNKNOWN;
    }
    for (size_t i = 0; i < n; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return GRPC_UNKNOWN;
        }
        code = code * 10 + (unsigned)(value[i] - '0');
    }
    return code < CODES ? (enum grpc_code)code : GRPC_UNKNOWN;
}

enum grpc_code grpc_code_from_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

enum grpc_code grpc_code_from_reset(unsigned http2_error_code)
{
    switch (http2_error_code) {
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void grpc_message_decode(const char *value, size_t n, char *ret_text, size_t size)
{
    size_t out = 0;
    for (size_t i = 0; i < n && out + 1 < size; i++) {
        char c = value[i];
        if (c == '%' && n - i > 2) {
            int high = hex_digit(value[i + 1]), low = hex_digit(value[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (char)(high << 4 | low);
                i += 2;
            }
        }
        ret_text[out++] = printable(c);
    }
    ret_text[out] = 0;
}
