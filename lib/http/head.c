#include "http/head.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *http_reason(int status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 200:
        return "OK";
    case 206:
        return "Partial Content";
    case 304:
        return "Not Modified";
    case 307:
        return "Temporary Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 416:
        return "Range Not Satisfiable";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Status";
    }
}

/* All or nothing: what is appended after `len` is taken back when the rest does not fit. */
static int undo(struct buf *out, size_t len, int r)
{
    if (r < 0 && out->data) {
        out->len = len;
        out->data[len] = 0;
    }
    return r;
}

int http_head_status(struct buf *out, int status)
{
    return buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
}

int http_head_field(struct buf *out, const char *name, const char *value)
{
    if (!*name || name[strcspn(name, "\r\n: ")] || value[strcspn(value, "\r\n")]) {
        return -EINVAL;
    }
    size_t len = out->len;
    int r = buf_puts(out, name);
    r = r < 0 ? r : buf_append(out, ": ", 2);
    r = r < 0 ? r : buf_puts(out, value);
    r = r < 0 ? r : buf_append(out, "\r\n", 2);
    return undo(out, len, r);
}

int http_head_field_number(struct buf *out, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    return http_head_field(out, name, text);
}

int http_head_end(struct buf *out)
{
    return buf_append(out, "\r\n", 2);
}
