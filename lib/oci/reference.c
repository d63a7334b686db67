#include "oci/reference.h"

#include <errno.h>
#include <string.h>

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_port(const char *text, size_t n)
{
    unsigned port = 0;
    if (n == 0 || n > 5) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port > 0 && port <= 65535;
}

/* Only the alphabet and the brackets: whether it is an address decides whoever connects to it. */
static bool is_bracketed(const char *text, size_t n)
{
    if (n < 4 || text[0] != '[' || text[n - 1] != ']') {
        return false;
    }
    bool colon = false;
    for (size_t i = 1; i < n - 1; i++) {
        char c = text[i];
        colon = colon || c == ':';
        if (c != ':' && c != '.' && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f') &&
            !(c >= 'A' && c <= 'F')) {
            return false;
        }
    }
    return colon;
}

/* Labels of letters, digits, '-' and '_' between dots. DNS has no '_', but containerd takes it and
 * container networks use it. */
static bool is_host(const char *text, size_t n)
{
    char before = '.';
    if (n == 0 || n > 255) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool inner = c == '-' || c == '_';
        if ((!is_alnum(c) && !inner && c != '.') || (before == '.' && !is_alnum(c)) ||
            (c == '.' && !is_alnum(before))) {
            return false;
        }
        before = c;
    }
    return is_alnum(before);
}

bool reference_is_registry(const char *text, size_t n)
{
    const char *last_colon = memrchr(text, ':', n);
    size_t host_bytes = n;
    if (last_colon && (n == 0 || text[n - 1] != ']')) {
        host_bytes = (size_t)(last_colon - text);
        if (!is_port(last_colon + 1, n - host_bytes - 1)) {
            return false;
        }
    }
    if (n >= REFERENCE_REGISTRY_BYTES) {
        return false;
    }
    return is_host(text, host_bytes) || is_bracketed(text, host_bytes);
}

/* The length of the separator at the start of text: '.', '_', "__", any run of '-'; else 0. */
static size_t separator_bytes(const char *text, size_t n)
{
    size_t run = 0;
    while (run < n && text[run] == text[0]) {
        run++;
    }
    switch (text[0]) {
    case '-':
        return run;
    case '_':
        return run <= 2 ? run : 0;
    case '.':
    case '/':
        return run == 1 ? run : 0;
    default:
        return 0;
    }
}

bool reference_is_repository(const char *text, size_t n)
{
    if (n == 0 || n >= REFERENCE_REPOSITORY_BYTES || !is_lower_alnum(text[0])) {
        return false;
    }
    for (size_t i = 0; i < n;) {
        if (is_lower_alnum(text[i])) {
            i++;
            continue;
        }
        size_t separator = separator_bytes(text + i, n - i);
        i += separator;
        if (separator == 0 || i == n || !is_lower_alnum(text[i])) {
            return false;
        }
    }
    return true;
}

bool reference_is_tag(const char *text, size_t n)
{
    if (n == 0 || n >= REFERENCE_TAG_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool inner = text[i] == '.' || text[i] == '-';
        if (!is_alnum(text[i]) && text[i] != '_' && (!inner || i == 0)) {
            return false;
        }
    }
    return true;
}

bool reference_is_image_id(const char *text)
{
    struct digest ignored;
    return digest_parse(text, strlen(text), &ignored) != -EINVAL;
}

/* Whether the first component of a name can only be a registry: "library/x" has none. */
static bool looks_like_registry(const char *text, size_t n)
{
    return memchr(text, '.', n) || memchr(text, ':', n) ||
           (n == 9 && !memcmp(text, "localhost", 9));
}

static void copy(char *to, const char *from, size_t n)
{
    memcpy(to, from, n);
    to[n] = 0;
}

static int parse_digest(const char *text, struct reference *ref, struct error *err)
{
    int r = digest_parse(text, strlen(text), &ref->digest);
    if (r == -ENOTSUP) {
        return error_set(err, -EINVAL, "digest of an algorithm other than sha256");
    }
    if (r < 0) {
        return error_set(err, -EINVAL, "malformed digest");
    }
    ref->has_digest = true;
    return 0;
}

int reference_parse(const char *text, struct reference *ret_reference, struct error *err)
{
    struct reference ref = {0};
    const char *slash = strchr(text, '/');
    const char *at = strchr(text, '@');
    const char *end = at ? at : text + strlen(text);
    if (!slash || slash > end) {
        return error_set(err, -EINVAL, "no registry in front of the repository");
    }
    size_t registry_bytes = (size_t)(slash - text);
    if (!looks_like_registry(text, registry_bytes)) {
        return error_set(err, -EINVAL, "the first component is not a registry");
    }
    if (!reference_is_registry(text, registry_bytes)) {
        return error_set(err, -EINVAL, "malformed registry");
    }
    copy(ref.registry, text, registry_bytes);

    const char *colon = memrchr(slash, ':', (size_t)(end - slash));
    const char *repository_end = colon ? colon : end;
    size_t repository_bytes = (size_t)(repository_end - slash - 1);
    if (!reference_is_repository(slash + 1, repository_bytes)) {
        return error_set(err, -EINVAL, "malformed repository");
    }
    copy(ref.repository, slash + 1, repository_bytes);
    if (colon) {
        if (!reference_is_tag(colon + 1, (size_t)(end - colon - 1))) {
            return error_set(err, -EINVAL, "malformed tag");
        }
        copy(ref.tag, colon + 1, (size_t)(end - colon - 1));
    }
    int r = at ? parse_digest(at + 1, &ref, err) : 0;
    if (r == 0) {
        *ret_reference = ref;
    }
    return r;
}
