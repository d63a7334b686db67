#include "certsd/hosts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "certsd/toml.h"

#define BOOTSTRAP_LINE "# spegel bootstrap"
#define URL_FORMAT "%s://%s"
#define DOCKER_IO "docker.io"
#define DOCKER_IO_SERVER "https://registry-1.docker.io"

static void put_result(int *r, int result)
{
    *r = *r < 0 ? *r : result;
}

static int render_header(const struct hosts_spec *spec, const struct registry_url *target,
                         struct buf *out)
{
    int r = 0;
    if (!spec->authorization && !spec->node_id) {
        return 0;
    }
    put_result(&r,
               buf_printf(out, "[host.'" URL_FORMAT "'.header]\n", target->scheme, target->host));
    if (spec->authorization) {
        put_result(&r, buf_printf(out, "Authorization = '%s'\n", spec->authorization));
    }
    if (spec->node_id) {
        put_result(&r, buf_printf(out, "X-Spegel-Node = '%s'\n", spec->node_id));
    }
    return r;
}

static int render_targets(const struct hosts_spec *spec, struct buf *out)
{
    int r = 0;
    for (size_t i = 0; i < spec->target_count; i++) {
        const struct registry_url *t = &spec->targets[i];
        put_result(&r, buf_printf(out,
                                  "%s[host.'" URL_FORMAT "']\n"
                                  "capabilities = ['pull'%s]\n"
                                  "dial_timeout = '200ms'\n",
                                  out->len ? "\n" : "", t->scheme, t->host,
                                  spec->resolve_tags ? ", 'resolve'" : ""));
        put_result(&r, render_header(spec, t, out));
    }
    return r;
}

/* Where the statement at hand belongs. */
enum section { SECTION_ROOT, SECTION_TABLE, SECTION_HOST_TABLE, SECTION_DROPPED };

/* The user's text being sorted into what goes before our tables and what goes after. A block of
 * comments directly above a table goes where the table goes. */
struct sorter {
    const struct hosts_spec *spec;
    bool replaces_server;
    enum section section;
    const char *comments; /* the pending block; NULL: none */
    size_t comment_bytes;
    struct buf root, tables;
};

/* Whether part `i` of the key is one of our own targets. */
static bool is_our_target(const struct sorter *sorter, const struct toml_statement *s, size_t i)
{
    for (size_t t = 0; t < sorter->spec->target_count; t++) {
        const struct registry_url *target = &sorter->spec->targets[t];
        char url[sizeof target->scheme + sizeof target->host + 4];
        (void)snprintf(url, sizeof url, URL_FORMAT, target->scheme, target->host);
        if (toml_part_is(s, i, url)) {
            return true;
        }
    }
    return false;
}

static int sorter_put(struct sorter *sorter, const char *text, size_t bytes)
{
    switch (sorter->section) {
    case SECTION_ROOT:
        return buf_append(&sorter->root, text, bytes);
    case SECTION_TABLE:
    case SECTION_HOST_TABLE:
        return buf_append(&sorter->tables, text, bytes);
    case SECTION_DROPPED:
        break;
    }
    return 0;
}

static int sorter_flush_comments(struct sorter *sorter)
{
    int r = sorter->comments ? sorter_put(sorter, sorter->comments, sorter->comment_bytes) : 0;
    sorter->comments = NULL;
    sorter->comment_bytes = 0;
    return r;
}

static int sorter_table(struct sorter *sorter, const struct toml_statement *s, struct error *err)
{
    bool host = toml_part_is(s, 0, "host");
    if (host && s->kind == TOML_ARRAY) {
        return error_set(err, -EINVAL, "line %zu: [[host]] is an array, not a table of hosts",
                         s->line);
    }
    sorter->section = host && is_our_target(sorter, s, 1) ? SECTION_DROPPED
                      : host && s->parts == 1             ? SECTION_HOST_TABLE
                                                          : SECTION_TABLE;
    int r = sorter_flush_comments(sorter);
    return r < 0 ? r : sorter_put(sorter, s->text, s->bytes);
}

static int sorter_value(struct sorter *sorter, const struct toml_statement *s, struct error *err)
{
    bool root = sorter->section == SECTION_ROOT;
    if (root && toml_part_is(s, 0, "host")) {
        return error_set(err, -EINVAL,
                         "line %zu: hosts set by a root key cannot have the mirror put before "
                         "them, write each as a [host.'…'] table",
                         s->line);
    }
    int r = sorter_flush_comments(sorter);
    bool replaced =
        root && sorter->replaces_server && s->parts == 1 && toml_part_is(s, 0, "server");
    bool doubled = sorter->section == SECTION_HOST_TABLE && is_our_target(sorter, s, 0);
    return r < 0 || replaced || doubled ? r : sorter_put(sorter, s->text, s->bytes);
}

static int sorter_run(struct sorter *sorter, const char *text, size_t bytes, struct error *err)
{
    struct toml_reader reader;
    struct toml_statement s;
    int r;
    toml_reader_init(&reader, text, bytes);
    while ((r = toml_next(&reader, &s, err)) > 0) {
        if (s.kind == TOML_COMMENT) {
            sorter->comments = sorter->comments ? sorter->comments : s.text;
            sorter->comment_bytes += s.bytes;
            continue;
        }
        if (s.kind == TOML_BLANK) {
            r = sorter_flush_comments(sorter);
            r = r < 0 ? r : sorter_put(sorter, s.text, s.bytes);
        } else if (s.kind == TOML_VALUE) {
            r = sorter_value(sorter, &s, err);
        } else {
            r = sorter_table(sorter, &s, err);
        }
        if (r < 0) {
            return r;
        }
    }
    return r < 0 ? r : sorter_flush_comments(sorter);
}

static void trim_end(struct buf *b)
{
    while (b->len && strchr("\r\n", b->data[b->len - 1])) {
        b->data[--b->len] = 0;
    }
}

static void trim_start(struct buf *b)
{
    buf_consume(b, b->len ? strspn(b->data, "\r\n") : 0);
}

static int render(const struct sorter *sorter, const struct registry_url *registry, struct buf *out)
{
    int r = 0;
    if (sorter->replaces_server) {
        bool docker = !strcmp(registry->host, DOCKER_IO) && !strcmp(registry->scheme, "https");
        put_result(&r, docker ? buf_puts(out, "server = '" DOCKER_IO_SERVER "'\n")
                              : buf_printf(out, "server = '" URL_FORMAT "'\n", registry->scheme,
                                           registry->host));
    }
    if (sorter->root.len) {
        put_result(&r, buf_append(out, sorter->root.data, sorter->root.len));
        put_result(&r, buf_puts(out, "\n"));
    }
    put_result(&r, render_targets(sorter->spec, out));
    if (sorter->tables.len) {
        put_result(&r, buf_puts(out, "\n"));
        put_result(&r, buf_append(out, sorter->tables.data, sorter->tables.len));
    } else if (r == 0) {
        trim_end(out); /* the Go implementation ends without one, and so do we */
    }
    return r;
}

int hosts_render(const struct hosts_spec *spec, const struct registry_url *registry,
                 const char *existing, size_t existing_bytes, struct buf *out, struct error *err)
{
    struct sorter sorter = {.spec = spec, .replaces_server = !registry->wildcard};
    struct error inner = {0};
    buf_init(&sorter.root, out->max);
    buf_init(&sorter.tables, out->max);
    int r = existing ? sorter_run(&sorter, existing, existing_bytes, &inner) : 0;
    if (r == 0) {
        trim_start(&sorter.root);
        trim_end(&sorter.root);
        trim_start(&sorter.tables);
        r = render(&sorter, registry, out);
    }
    buf_done(&sorter.root);
    buf_done(&sorter.tables);
    return r == -EINVAL ? error_set(err, r, "%s", inner.text)
           : r < 0      ? error_set(err, r, r == -ENOMEM ? "out of memory" : "too long")
                        : 0;
}

static void trim_line(const char **text, size_t *bytes)
{
    while (*bytes && strchr(" \t\r\n", (*text)[*bytes - 1])) {
        (*bytes)--;
    }
}

static bool statement_is(const struct toml_statement *s, const char *text)
{
    const char *line = s->text;
    size_t n = s->bytes;
    trim_line(&line, &n);
    return n == strlen(text) && !memcmp(line, text, n);
}

bool hosts_is_generated(const char *text, size_t bytes)
{
    static const char table[] = "[host.'http";
    struct toml_reader reader;
    struct toml_statement s = {0};
    int r;
    toml_reader_init(&reader, text, bytes);
    while ((r = toml_next(&reader, &s, NULL)) > 0 && s.kind != TOML_TABLE) {
    }
    if (r <= 0 || s.bytes < strlen(table) || memcmp(s.text, table, strlen(table)) != 0 ||
        toml_next(&reader, &s, NULL) <= 0 ||
        (!statement_is(&s, "capabilities = ['pull', 'resolve']") &&
         !statement_is(&s, "capabilities = ['pull']"))) {
        return false;
    }
    /* The earliest releases wrote no dial_timeout. */
    return toml_next(&reader, &s, NULL) <= 0 || s.kind != TOML_VALUE ||
           statement_is(&s, "dial_timeout = '200ms'");
}

bool hosts_is_bootstrap(const char *text, size_t bytes)
{
    const char *end = bytes ? memchr(text, '\n', bytes) : NULL;
    size_t n = end ? (size_t)(end - text) : bytes;
    trim_line(&text, &n);
    return n == strlen(BOOTSTRAP_LINE) && !memcmp(text, BOOTSTRAP_LINE, n);
}
