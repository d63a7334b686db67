/* hex.h - bytes as lower-case hex digits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* ret_text has room for 2 n + 1, the NUL included. */
static inline void hex_write(const uint8_t *bytes, size_t n, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * n] = '\0';
}

static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The 2 n digits at `text`. 0, or -1: they are none; ret_bytes is then garbage. */
static inline int hex_read(const char *text, size_t n, uint8_t *ret_bytes)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return -1;
        }
        ret_bytes[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}
