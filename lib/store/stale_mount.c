#include "store/stale_mount.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELETED "//deleted"

/* The next field of a line, up to a space; false at the line's end. */
static bool next_field(const char **at, const char *end, const char **ret_field, size_t *ret_bytes)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    if (!space) {
        return false;
    }
    *ret_field = *at;
    *ret_bytes = (size_t)(space - *at);
    *at = space + 1;
    return true;
}

static bool is_octal(const char *digits)
{
    return digits[0] >= '0' && digits[0] <= '3' && digits[1] >= '0' && digits[1] <= '7' &&
           digits[2] >= '0' && digits[2] <= '7';
}

/* Spaces, tabs, newlines and backslashes are written as a backslash and three octal digits. */
static bool field_is(const char *field, size_t bytes, const char *path)
{
    size_t i = 0;
    for (; i < bytes && *path; path++) {
        char c = field[i++];
        if (c == '\\' && bytes - i >= 3 && is_octal(field + i)) {
            c = (char)((field[i] - '0') << 6 | (field[i + 1] - '0') << 3 | (field[i + 2] - '0'));
            i += 3;
        }
        if (c != *path) {
            return false;
        }
    }
    return i == bytes && !*path;
}

/* "36 35 98:0 /root /mounted/at rw,noatime ..." */
static void read_line(const char *line, const char *end, const char *path, bool *ret_stale)
{
    const char *field, *root = NULL;
    size_t bytes, root_bytes = 0;
    for (int i = 0; i < 5; i++) {
        if (!next_field(&line, end, &field, &bytes)) {
            return;
        }
        if (i == 3) {
            root = field;
            root_bytes = bytes;
        }
    }
    if (field_is(field, bytes, path)) {
        size_t n = strlen(DELETED);
        *ret_stale = root_bytes >= n && !memcmp(root + root_bytes - n, DELETED, n);
    }
}

bool stale_mount_in(const char *text, size_t bytes, const char *path)
{
    bool stale = false;
    for (const char *end = text + bytes; text < end;) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        read_line(text, line_end, path, &stale);
        text = newline ? newline + 1 : end;
    }
    return stale;
}

bool stale_mount_at(const char *path)
{
    char real[PATH_MAX];
    FILE *f = realpath(path, real) ? fopen("/proc/self/mountinfo", "re") : NULL;
    if (!f) {
        return false;
    }
    bool stale = false;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    while ((n = getline(&line, &capacity, f)) > 0) {
        read_line(line, line + n, real, &stale);
    }
    free(line);
    (void)fclose(f);
    return stale;
}
