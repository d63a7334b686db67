#include "oci/json.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

/* cJSON does not say why it failed; its allocator, which is ours, does. */
static _Thread_local bool out_of_memory;

static void *json_malloc(size_t n)
{
    void *p = malloc(n);
    out_of_memory = out_of_memory || !p;
    return p;
}

static void json_free(void *p)
{
    free(p);
}

__attribute__((constructor)) static void json_hooks(void)
{
    cJSON_Hooks hooks = {.malloc_fn = json_malloc, .free_fn = json_free};
    cJSON_InitHooks(&hooks);
}

/* Returns the index after the closing quote, or 0 when the string has no end or holds U+0000. */
static size_t scan_string(const char *text, size_t n, size_t i)
{
    for (i++; i < n && text[i] != '"'; i++) {
        if (text[i] == 0) {
            return 0;
        }
        if (text[i] != '\\') {
            continue;
        }
        if (n - i > 5 && !memcmp(text + i, "\\u0000", 6)) {
            return 0;
        }
        i++;
    }
    return i < n ? i + 1 : 0;
}

/* Bounds what cJSON will do with the text. It is no parser: what it lets pass may still be wrong,
 * but brackets balance and strings end. */
static int scan(const char *text, size_t n, struct error *err)
{
    size_t depth = 0, values = 1;
    for (size_t i = 0; i < n;) {
        char c = text[i];
        if (c == '"') {
            i = scan_string(text, n, i);
            if (i == 0) {
                return error_set(err, -EPROTO, "not JSON: a string that never ends, or with NUL");
            }
            continue;
        }
        if (c == 0) {
            return error_set(err, -EPROTO, "not JSON: NUL");
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && depth-- == 0) {
            return error_set(err, -EPROTO, "not JSON: unbalanced brackets");
        }
        values += c == '{' || c == '[' || c == ',';
        if (depth > LIMIT_JSON_NESTING || values > LIMIT_JSON_VALUES) {
            return error_set(err, -E2BIG, "JSON nested deeper than %d or of more than %d values",
                             LIMIT_JSON_NESTING, LIMIT_JSON_VALUES);
        }
        i++;
    }
    return depth == 0 ? 0 : error_set(err, -EPROTO, "not JSON: unbalanced brackets");
}

int json_parse(const char *text, size_t text_bytes, size_t max_bytes, cJSON **ret_json,
               struct error *err)
{
    if (text_bytes > max_bytes) {
        return error_set(err, -E2BIG, "JSON of %zu bytes; at most %zu are read", text_bytes,
                         max_bytes);
    }
    int r = scan(text, text_bytes, err);
    if (r < 0) {
        return r;
    }
    /* With a NUL at the end, whatever cJSON peeks at past the text is there. */
    char *copy = malloc(text_bytes + 1);
    if (!copy) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    if (text_bytes) {
        memcpy(copy, text, text_bytes);
    }
    copy[text_bytes] = 0;
    const char *end = NULL;
    out_of_memory = false;
    cJSON *json = cJSON_ParseWithLengthOpts(copy, text_bytes + 1, &end, 0);
    if (json && end[strspn(end, " \t\r\n")]) {
        cJSON_Delete(json);
        json = NULL;
    }
    free(copy);
    if (!json) {
        return out_of_memory ? error_set(err, -ENOMEM, "out of memory")
                             : error_set(err, -EPROTO, "not JSON");
    }
    *ret_json = json;
    return 0;
}

int json_member(const cJSON *object, const char *name, const cJSON **ret_member, struct error *err)
{
    const cJSON *found = NULL, *member;
    if (cJSON_IsObject(object)) {
        cJSON_ArrayForEach(member, object)
        {
            if (!member->string || strcmp(member->string, name) != 0) {
                continue;
            }
            if (found) {
                return error_set(err, -EPROTO, "\"%s\" stands twice", name);
            }
            found = member;
        }
    }
    *ret_member = found;
    return 0;
}

int json_size(const cJSON *number, int64_t *ret_size, struct error *err)
{
    const double most = 9007199254740992.0; /* 2^53 */
    if (!cJSON_IsNumber(number) || !(number->valuedouble >= 0) || number->valuedouble > most ||
        number->valuedouble != floor(number->valuedouble)) {
        return error_set(err, -EPROTO, "a size that is no count of bytes");
    }
    *ret_size = (int64_t)number->valuedouble;
    return 0;
}

/* The length of the well-formed UTF-8 sequence at p (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_bytes(const unsigned char *p)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] > 0xf4 || (p[0] >= 0x80 && p[0] < 0xc2)) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool wrong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
                 (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return wrong ? 0 : n;
}

int json_write_string(struct buf *out, const char *text)
{
    int r = buf_append(out, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)text; *p && r == 0;) {
        size_t n = utf8_bytes(p);
        if (n == 0) {
            r = buf_puts(out, "\xef\xbf\xbd");
            n = 1;
        } else if (*p < 0x20 || *p == 0x7f) {
            r = buf_printf(out, "\\u%04x", *p);
        } else if (*p == '"' || *p == '\\') {
            r = buf_printf(out, "\\%c", *p);
        } else {
            r = buf_append(out, p, n);
        }
        p += n;
    }
    return r < 0 ? r : buf_append(out, "\"", 1);
}
