#include "http/guard.h"

#include <errno.h>
#include <string.h>

int guard_scan(struct guard *g, const char *bytes, size_t n, size_t *ret_end)
{
    for (size_t i = 0; i < n;) {
        if (g->after_cr) {
            if (bytes[i++] != '\n') {
                return -EPROTO;
            }
            g->after_cr = false;
            if (!g->line_has_bytes) {
                *ret_end = i;
                return g->first_line_over ? 1 : -EPROTO;
            }
            g->first_line_over = true;
            g->line_has_bytes = false;
            continue;
        }
        if (!g->line_has_bytes && g->first_line_over && (bytes[i] == ' ' || bytes[i] == '\t')) {
            return -EPROTO;
        }
        const char *cr = memchr(bytes + i, '\r', n - i);
        size_t end = cr ? (size_t)(cr - bytes) : n;
        if (memchr(bytes + i, '\n', end - i)) {
            return -EPROTO;
        }
        g->line_has_bytes = g->line_has_bytes || end > i;
        g->after_cr = cr != NULL;
        i = cr ? end + 1 : end;
    }
    return 0;
}
