#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_done(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->capacity = 0;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->data) {
        b->data[0] = 0;
    }
}

static int buf_grow(struct buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n) {
        return -ENOBUFS;
    }
    size_t need = b->len + n + 1;
    if (need <= b->capacity) {
        return 0;
    }
    size_t capacity = b->capacity ? b->capacity * 2 : 64;
    while (capacity < need) {
        capacity *= 2;
    }
    if (capacity > b->max + 1) {
        capacity = b->max + 1;
    }
    char *data = realloc(b->data, capacity);
    if (!data) {
        return -ENOMEM;
    }
    b->data = data;
    b->capacity = capacity;
    return 0;
}

char *buf_reserve(struct buf *b, size_t n)
{
    return buf_grow(b, n) < 0 ? NULL : b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    CHECK(b->len + n < b->capacity);
    b->len += n;
    b->data[b->len] = 0;
}

int buf_append(struct buf *b, const void *bytes, size_t n)
{
    int r = buf_grow(b, n);
    if (r < 0) {
        return r;
    }
    if (n) {
        memcpy(b->data + b->len, bytes, n);
    }
    buf_commit(b, n);
    return 0;
}

int buf_puts(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int r = n < 0 ? -EINVAL : buf_grow(b, (size_t)n);
    if (r == 0) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        buf_commit(b, (size_t)n);
    }
    va_end(again);
    return r;
}

void buf_consume(struct buf *b, size_t n)
{
    CHECK(n <= b->len);
    if (n == 0) {
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = 0;
}

char *buf_take(struct buf *b)
{
    char *data = b->data;
    b->data = NULL;
    b->len = b->capacity = 0;
    return data;
}
