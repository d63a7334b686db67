/* buf.h - a growable run of bytes with a cap.
 *
 * Whatever a peer can make larger goes through one of these, so its size has a limit that stands
 * beside its declaration. `data` is always NUL-terminated once anything was appended; the NUL does
 * not count. A failed append changes nothing. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data; /* owned; NULL while nothing was appended */
    size_t len, capacity;
    size_t max; /* the most bytes `len` may reach */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b); /* frees; the buffer is then empty and usable again */
void buf_clear(struct buf *b);

/* Make room for `n` more bytes and return where they go, or NULL (over the cap, no memory); after
 * writing, add what was written to b->len with buf_commit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* 0, -ENOBUFS over the cap, -ENOMEM. */
int buf_append(struct buf *b, const void *bytes, size_t n);
int buf_puts(struct buf *b, const char *text);
__attribute__((format(printf, 2, 3))) int buf_printf(struct buf *b, const char *format, ...);

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);

/* Hands the bytes over to the caller, who frees them; the buffer is empty after. */
char *buf_take(struct buf *b);
