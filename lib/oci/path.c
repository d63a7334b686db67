#include "oci/path.h"

#include <errno.h>
#include <string.h>

#define QUERY_N_MAX 1000000000 /* larger ones count as this */

struct span {
    const char *text;
    size_t n;
};

static bool span_is(struct span s, const char *text)
{
    return s.n == strlen(text) && !memcmp(s.text, text, s.n);
}

static void span_copy(struct span s, char *to)
{
    memcpy(to, s.text, s.n);
    to[s.n] = 0;
}

static int fail(const char **ret_code, const char *code, struct error *err, const char *sentence)
{
    *ret_code = code;
    return error_set(err, -EINVAL, "%s", sentence);
}

/* Visible ASCII without percent signs and fragments, and no "." or ".." segment. */
static bool path_is_plain(struct span path)
{
    size_t segment = 0; /* where the current one starts */
    for (size_t i = 0; i <= path.n; i++) {
        if (i == path.n || path.text[i] == '/') {
            size_t n = i - segment;
            if ((n == 1 || n == 2) && !memcmp(path.text + segment, "..", n)) {
                return false;
            }
            segment = i + 1;
        } else if (path.text[i] <= ' ' || path.text[i] > '~' || path.text[i] == '%' ||
                   path.text[i] == '#' || path.text[i] == '\\') {
            return false;
        }
    }
    return true;
}

/* Cuts the last segment off and returns it; "" and nothing cut when there is no slash left. */
static struct span cut_segment(struct span *path)
{
    const char *slash = memrchr(path->text, '/', path->n);
    if (!slash) {
        return (struct span){path->text, 0};
    }
    size_t before = (size_t)(slash - path->text);
    struct span segment = {slash + 1, path->n - before - 1};
    path->n = before;
    return segment;
}

static int read_digest(struct span text, struct path *p, const char **ret_code, struct error *err)
{
    int r = digest_parse(text.text, text.n, &p->digest);
    if (r == -EINVAL) {
        return fail(ret_code, "DIGEST_INVALID", err, "malformed digest");
    }
    p->digest_supported = r == 0;
    return 0;
}

static int read_manifest(struct span reference, struct path *p, const char **ret_code,
                         struct error *err)
{
    if (memchr(reference.text, ':', reference.n)) {
        p->kind = PATH_MANIFEST_DIGEST;
        return read_digest(reference, p, ret_code, err);
    }
    p->kind = PATH_MANIFEST_TAG;
    if (!reference_is_tag(reference.text, reference.n)) {
        return fail(ret_code, "TAG_INVALID", err, "malformed tag");
    }
    span_copy(reference, p->tag);
    return 0;
}

/* `rest` is what follows "/v2/": <name>/<verb>/<reference>. The verb is the last segment but one,
 * so that repositories may have components of the same names. */
static int read_v2(struct span rest, struct path *p, const char **ret_code, struct error *err)
{
    p->kind = PATH_UNKNOWN;
    if (span_is(rest, "_catalog")) {
        p->kind = PATH_CATALOG;
        return 0;
    }
    struct span reference = cut_segment(&rest);
    struct span verb = cut_segment(&rest);
    int r = 0;
    if (span_is(verb, "manifests")) {
        r = read_manifest(reference, p, ret_code, err);
    } else if (span_is(verb, "blobs")) {
        p->kind = PATH_BLOB;
        r = read_digest(reference, p, ret_code, err);
    } else if (span_is(verb, "referrers")) {
        p->kind = PATH_REFERRERS;
        r = read_digest(reference, p, ret_code, err);
    } else if (span_is(verb, "tags") && span_is(reference, "list")) {
        p->kind = PATH_TAGS;
    } else {
        return 0;
    }
    if (r < 0) {
        return r;
    }
    if (!reference_is_repository(rest.text, rest.n)) {
        return fail(ret_code, "NAME_INVALID", err, "malformed repository name");
    }
    span_copy(rest, p->repository);
    return 0;
}

static int read_path(struct span path, struct path *p, const char **ret_code, struct error *err)
{
    bool under_v2 =
        path.n >= 3 && !memcmp(path.text, "/v2", 3) && (path.n == 3 || path.text[3] == '/');
    if (!path_is_plain(path)) {
        return fail(ret_code, under_v2 ? "NAME_INVALID" : "UNSUPPORTED", err,
                    "the path has characters or segments that no name has");
    }
    if (span_is(path, "/v2")) {
        p->kind = PATH_PING_BARE;
        return 0;
    }
    if (span_is(path, "/v2/")) {
        p->kind = PATH_PING;
        return 0;
    }
    if (under_v2) {
        return read_v2((struct span){path.text + 4, path.n - 4}, p, ret_code, err);
    }
    p->kind = PATH_OTHER;
    if (path.n >= sizeof p->plain) {
        return fail(ret_code, "UNSUPPORTED", err, "the path is too long");
    }
    span_copy(path, p->plain);
    return 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* application/x-www-form-urlencoded, as Go's and everyone's clients write queries. */
static bool decode(struct span value, char *ret_text, size_t text_bytes)
{
    size_t out = 0;
    for (size_t i = 0; i < value.n; i++) {
        int c = (unsigned char)value.text[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            bool whole = value.n - i > 2;
            int high = whole ? hex_value(value.text[i + 1]) : -1;
            int low = whole ? hex_value(value.text[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high << 4 | low;
            i += 2;
        }
        if (c == 0 || out + 1 >= text_bytes) {
            return false;
        }
        ret_text[out++] = (char)c;
    }
    ret_text[out] = 0;
    return true;
}

static int read_n(const char *value, struct path *p, const char **ret_code, struct error *err)
{
    int64_t n = 0;
    for (const char *c = value; *c; c++) {
        if (*c < '0' || *c > '9') {
            return fail(ret_code, "PAGINATION_NUMBER_INVALID", err, "n is not a number");
        }
        n = n > QUERY_N_MAX ? QUERY_N_MAX : n * 10 + (*c - '0');
    }
    if (value[0]) {
        p->n = n > QUERY_N_MAX ? QUERY_N_MAX : n;
    }
    return 0;
}

/* One `name=value`; the first of a name counts, unknown names are passed over. */
static int read_parameter(struct span pair, struct path *p, const char **ret_code,
                          struct error *err)
{
    const char *equals = memchr(pair.text, '=', pair.n);
    struct span name = {pair.text, equals ? (size_t)(equals - pair.text) : pair.n};
    struct span value = {pair.text + name.n, 0};
    if (equals) {
        value = (struct span){equals + 1, pair.n - name.n - 1};
    }
    if (span_is(name, "ns") && !p->ns[0]) {
        if (!decode(value, p->ns, sizeof p->ns) ||
            (p->ns[0] && !reference_is_registry(p->ns, strlen(p->ns)))) {
            return fail(ret_code, "NAME_INVALID", err, "ns is not a registry");
        }
    } else if (span_is(name, "artifactType") && !p->artifact_type[0]) {
        if (!decode(value, p->artifact_type, sizeof p->artifact_type)) {
            return fail(ret_code, "UNSUPPORTED", err, "malformed artifactType");
        }
    } else if (span_is(name, "last") && !p->last[0]) {
        if (!decode(value, p->last, sizeof p->last)) {
            return fail(ret_code, "NAME_INVALID", err, "malformed last");
        }
    } else if (span_is(name, "n") && p->n < 0) {
        char text[32];
        if (!decode(value, text, sizeof text)) {
            return fail(ret_code, "PAGINATION_NUMBER_INVALID", err, "n is not a number");
        }
        return read_n(text, p, ret_code, err);
    }
    return 0;
}

static int read_query(const char *query, struct path *p, const char **ret_code, struct error *err)
{
    int r = 0;
    while (r == 0) {
        size_t n = strcspn(query, "&");
        r = read_parameter((struct span){query, n}, p, ret_code, err);
        if (!query[n]) {
            break;
        }
        query += n + 1;
    }
    return r;
}

/* RFC 9112 section 3.2.2: a server accepts the absolute form, too. Returns where the path starts,
 * NULL when there is none. */
static const char *skip_authority(const char *target)
{
    if (target[0] == '/') {
        return target;
    }
    const char *host = !strncmp(target, "http://", 7)    ? target + 7
                       : !strncmp(target, "https://", 8) ? target + 8
                                                         : NULL;
    return host ? strchr(host, '/') : NULL;
}

int path_parse(const char *target, struct path *ret_path, const char **ret_code, struct error *err)
{
    struct path p = {.n = -1};
    const char *start = skip_authority(target);
    if (!start) {
        return fail(ret_code, "UNSUPPORTED", err, "the target is not a path");
    }
    size_t n = strcspn(start, "?");
    int r = read_path((struct span){start, n}, &p, ret_code, err);
    if (r == 0 && start[n]) {
        r = read_query(start + n + 1, &p, ret_code, err);
    }
    if (r == 0) {
        *ret_path = p;
    }
    return r;
}
