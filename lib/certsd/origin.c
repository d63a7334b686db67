#include "certsd/origin.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "certsd/hosts.h"
#include "certsd/toml.h"

#define WILDCARD "_default"

struct span {
    const char *text;
    size_t bytes;
};

/* A text cut around what has our form: `server`, the root keys of the user's, our tables, his. */
struct cut {
    struct span root, own, tables;
    size_t targets; /* tables of ours */
};

static struct span trim(struct span s, const char *what)
{
    while (s.bytes && strchr(what, s.text[0])) {
        s.text++;
        s.bytes--;
    }
    while (s.bytes && strchr(what, s.text[s.bytes - 1])) {
        s.bytes--;
    }
    return s;
}

static bool span_is(struct span a, struct span b)
{
    return a.bytes == b.bytes && (!a.bytes || !memcmp(a.text, b.text, a.bytes));
}

/* The statement's line, without what may stand behind it unseen. */
static struct span line_of(const struct toml_statement *s)
{
    struct span line = {s->text, s->bytes};
    while (line.bytes && strchr(" \t\r\n", line.text[line.bytes - 1])) {
        line.bytes--;
    }
    return line;
}

static bool line_is(const struct toml_statement *s, const char *text)
{
    return span_is(line_of(s), (struct span){text, strlen(text)});
}

/* Whether it is `before`, anything, `after`, where that has no quote in it. */
static bool line_quotes(const struct toml_statement *s, const char *before, const char *after,
                        struct span *ret_between)
{
    struct span line = line_of(s);
    size_t head = strlen(before), tail = strlen(after);
    if (line.bytes < head + tail || memcmp(line.text, before, head) != 0 ||
        memcmp(line.text + line.bytes - tail, after, tail) != 0) {
        return false;
    }
    *ret_between = (struct span){line.text + head, line.bytes - head - tail};
    return !ret_between->bytes || !memchr(ret_between->text, '\'', ret_between->bytes);
}

/* How long the scheme is, or 0; a longer host than a registry_url has room for is not ours. */
static size_t http_scheme(struct span url)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (url.bytes > n && !memcmp(url.text, schemes[i], n) &&
            url.bytes - n < sizeof((struct registry_url *)0)->host) {
            return n - strlen("://");
        }
    }
    return 0;
}

static bool is_table_of(const struct toml_statement *s, struct span *ret_url)
{
    return s->kind == TOML_TABLE && line_quotes(s, "[host.'", "']", ret_url) &&
           http_scheme(*ret_url) != 0;
}

/* The next that is not an empty line. */
static int next(struct toml_reader *r, struct toml_statement *s)
{
    int e;
    while ((e = toml_next(r, s, NULL)) > 0 && s->kind == TOML_BLANK) {
    }
    return e;
}

/* Behind a table's values: perhaps its header, in which is what both implementations write. */
static int take_header(struct toml_reader *r, struct toml_statement *s, struct span url)
{
    struct span other;
    int e = 1;
    if (s->kind != TOML_TABLE || !line_quotes(s, "[host.'", "'.header]", &other) ||
        !span_is(url, other)) {
        return e;
    }
    while ((e = next(r, s)) > 0 && (line_quotes(s, "Authorization = '", "'", &other) ||
                                    line_quotes(s, "X-Spegel-Node = '", "'", &other))) {
    }
    return e;
}

/* Whether the table at hand has our form and nothing else. The statement behind it after, and how
 * the reader came by it. The earliest releases, of Go alone, wrote no dial_timeout: it may be
 * `bare` as long as all before it were. */
static bool take_own(struct toml_reader *r, struct toml_statement *s, bool *bare, int *ret_read)
{
    struct span url;
    if (!is_table_of(s, &url) || (*ret_read = next(r, s)) <= 0 ||
        (!line_is(s, "capabilities = ['pull', 'resolve']") &&
         !line_is(s, "capabilities = ['pull']"))) {
        return false;
    }
    *ret_read = next(r, s);
    bool timeout = *ret_read > 0 && line_is(s, "dial_timeout = '200ms'");
    *ret_read = timeout ? next(r, s) : *ret_read;
    *ret_read = *ret_read > 0 ? take_header(r, s, url) : *ret_read;
    bool wanted = timeout || *bare;
    *bare = !timeout;
    return wanted && *ret_read >= 0 && (*ret_read == 0 || s->kind != TOML_VALUE);
}

/* Whether the text begins as ours do, and the rest of it is TOML. Tables beyond so many are not
 * taken for ours. */
static bool cut(const struct origin_file *f, const char *text, size_t bytes, size_t targets_max,
                struct cut *ret_cut)
{
    struct toml_reader reader;
    struct toml_statement s;
    struct span url;
    struct cut c = {.root = {text, 0}};
    bool bare = f->moved;
    toml_reader_init(&reader, text, bytes);
    int r = next(&reader, &s);
    if (r > 0 && strcmp(f->name, WILDCARD) != 0 && line_quotes(&s, "server = '", "'", &url) &&
        http_scheme(url)) {
        c.root.text = s.text + s.bytes;
        r = next(&reader, &s);
    }
    while (r > 0 && s.kind != TOML_TABLE && s.kind != TOML_ARRAY) {
        r = next(&reader, &s);
    }
    if (r <= 0) {
        return false;
    }
    c.root.bytes = (size_t)(s.text - c.root.text);
    c.own.text = c.tables.text = s.text;
    while (r > 0 && c.targets < targets_max && take_own(&reader, &s, &bare, &r)) {
        c.tables.text = r > 0 ? s.text : text + bytes;
        c.targets++;
    }
    while (r > 0) {
        r = next(&reader, &s);
    }
    c.own.bytes = (size_t)(c.tables.text - c.own.text);
    c.tables.bytes = bytes - (size_t)(c.tables.text - text);
    c.root = trim(c.root, "\r\n");
    c.tables = trim(c.tables, "\r\n");
    *ret_cut = c;
    return r == 0 && c.targets;
}

/* The tables of ours, as targets for rendering again. */
static void put_targets(const struct cut *c, struct registry_url *targets)
{
    struct toml_reader reader;
    struct toml_statement s;
    struct span url;
    toml_reader_init(&reader, c->own.text, c->own.bytes);
    while (next(&reader, &s) > 0) {
        if (is_table_of(&s, &url)) {
            size_t scheme = http_scheme(url), host = scheme + strlen("://");
            memcpy(targets->scheme, url.text, scheme);
            memcpy(targets->host, url.text + host, url.bytes - host);
            targets++;
        }
    }
}

/* Whether the file is what we make of the saved text with its first tables for our targets. */
static int is_as_rendered_with(const struct origin_file *f, size_t targets_max, bool *ret_is)
{
    const struct registry_url registry = {
        .wildcard = !strcmp(f->name, WILDCARD), .scheme = "https", .host = "any"};
    struct registry_url *targets = calloc(targets_max, sizeof *targets);
    struct buf out;
    struct cut c, again;
    if (!targets) {
        return -ENOMEM;
    }
    buf_init(&out, LIMIT_HOSTS_TOML_BYTES * 2);
    int r = cut(f, f->text, f->bytes, targets_max, &c) ? 0 : -EINVAL;
    if (r == 0) {
        put_targets(&c, targets);
        const struct hosts_spec spec = {.targets = targets, .target_count = c.targets};
        r = hosts_render(&spec, &registry, f->saved, f->saved_bytes, &out, NULL);
    }
    *ret_is = r == 0 && cut(f, out.data, out.len, targets_max, &again) &&
              span_is(c.root, again.root) && span_is(c.tables, again.tables);
    buf_done(&out);
    free(targets);
    return r == -ENOMEM ? r : 0;
}

/* The user may have hosts in our own form directly behind ours: where those begin is tried. */
static int is_as_rendered(const struct origin_file *f, const struct cut *c, bool *ret_is)
{
    int r = 0;
    *ret_is = false;
    for (size_t n = 1; r == 0 && !*ret_is && n <= c->targets && n <= LIMIT_CERTSD_TARGETS; n++) {
        r = is_as_rendered_with(f, n, ret_is);
    }
    return r;
}

static bool mentions(const struct origin_file *f, const char *text, size_t bytes)
{
    return !bytes || memmem(f->saved, f->saved_bytes, text, bytes);
}

/* Whether every string in the value is one that is saved, or was written there in another way. */
static bool mentions_strings(const struct origin_file *f, const struct toml_statement *s)
{
    const char *at = memchr(s->text, '=', s->bytes), *end = s->text + s->bytes;
    while (at && at < end) {
        if (*at != '\'' && *at != '"') {
            at++;
            continue;
        }
        const char *close = memchr(at + 1, *at, (size_t)(end - at - 1));
        size_t n = close ? (size_t)(close - at - 1) : 0;
        if (!close || memchr(at, '\\', n + 1)) {
            return true;
        }
        if (!mentions(f, at + 1, n)) {
            return false;
        }
        at = close + 1;
    }
    return true;
}

/* The Go implementation passes on hosts alone, without comments, each written anew: the keys in
 * another order, the values the same in other words. */
static bool is_as_go_writes(const struct origin_file *f, const struct cut *c)
{
    struct toml_reader reader;
    struct toml_statement s;
    bool escaped = memchr(f->saved, '\\', f->saved_bytes) != NULL;
    bool is = !c->root.bytes;
    toml_reader_init(&reader, c->tables.text, c->tables.bytes);
    while (is && next(&reader, &s) > 0) {
        is = s.kind == TOML_VALUE || (s.kind == TOML_TABLE && toml_part_is(&s, 0, "host"));
        for (size_t i = 0; is && !escaped && i < s.parts && i < TOML_KEY_PARTS; i++) {
            is = mentions(f, s.key + s.part_at[i], s.part_bytes[i]);
        }
        is = is && (escaped || s.kind != TOML_VALUE || mentions_strings(f, &s));
    }
    return is;
}

/* Whether the saved text begins as ours do, or has a host of those at hand: then what is in force
 * is no file of ours that was edited, but the user's own, of which an earlier state is saved. */
static bool saved_is_alike(const struct origin_file *f, const struct cut *c)
{
    struct toml_reader reader;
    struct toml_statement s;
    struct span url;
    struct cut saved;
    bool alike = cut(f, f->saved, f->saved_bytes, SIZE_MAX, &saved);
    toml_reader_init(&reader, c->own.text, c->own.bytes);
    while (!alike && next(&reader, &s) > 0) {
        alike = is_table_of(&s, &url) && mentions(f, url.text, url.bytes);
    }
    return alike;
}

int origin_find(const struct origin_file *f, enum origin *ret_origin)
{
    struct cut c;
    bool is = false;
    bool alike = f->saved && f->saved_bytes == f->bytes && !memcmp(f->saved, f->text, f->bytes);
    /* Whatever it looks like, what is in force and saved alike is not ours to take back; but after
     * the Go implementation what else is saved of the directory comes back with it. */
    if ((alike && !f->moved) || !cut(f, f->text, f->bytes, SIZE_MAX, &c)) {
        *ret_origin = ORIGIN_USER;
        return 0;
    }
    if (alike || (!c.root.bytes && !c.tables.bytes) || f->saved_is_unknown) {
        *ret_origin = ORIGIN_GENERATED;
        return 0;
    }
    int r = f->saved ? is_as_rendered(f, &c, &is) : 0;
    if (r == 0) {
        is = is || (f->saved && f->moved && is_as_go_writes(f, &c));
        bool users = !f->saved || (!f->moved && saved_is_alike(f, &c));
        *ret_origin = is                  ? ORIGIN_GENERATED
                      : users             ? ORIGIN_USER
                      : f->saved_is_newer ? ORIGIN_GENERATED
                                          : ORIGIN_EDITED;
    }
    return r;
}

size_t origin_own_bytes(const struct origin_file *f)
{
    struct cut c;
    return cut(f, f->text, f->bytes, SIZE_MAX, &c) ? (size_t)(c.own.text + c.own.bytes - f->text)
                                                   : f->bytes;
}
