#include "oci/problem.h"

#include <string.h>

#include "oci/json.h"

int problem_write(struct buf *out, const char *code, const char *message, const char *detail_json)
{
    size_t before = out->len;
    int r = buf_puts(out, "{\"errors\":[{\"code\":");
    r = r < 0 ? r : json_write_string(out, code);
    r = r < 0 ? r : buf_puts(out, ",\"message\":");
    r = r < 0 ? r : json_write_string(out, message);
    if (detail_json) {
        r = r < 0 ? r : buf_puts(out, ",\"detail\":");
        r = r < 0 ? r : buf_puts(out, detail_json);
    }
    r = r < 0 ? r : buf_puts(out, "}]}");
    if (r < 0 && out->data) {
        out->len = before;
        out->data[before] = 0;
    }
    return r;
}
