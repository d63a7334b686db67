#include "certsd/toml.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/limits.h"

/* The end of the text reads as NUL; a NUL inside it is refused like any control character. */
static int peek(const struct toml_reader *r, size_t ahead)
{
    return r->at + ahead < r->bytes ? (unsigned char)r->text[r->at + ahead] : 0;
}

static bool at_end(const struct toml_reader *r)
{
    return r->at >= r->bytes;
}

static bool starts(const struct toml_reader *r, const char *text)
{
    size_t n = strlen(text);
    return r->bytes - r->at >= n && !memcmp(r->text + r->at, text, n);
}

static int fail(const struct toml_reader *r, struct error *err, const char *what)
{
    return error_set(err, -EINVAL, "line %zu: %s", r->line, what);
}

static void skip_spaces(struct toml_reader *r)
{
    while (peek(r, 0) == ' ' || peek(r, 0) == '\t') {
        r->at++;
    }
}

/* How many bytes of line end stand here: 0, 1 for LF, 2 for CRLF. */
static size_t line_end(const struct toml_reader *r)
{
    return peek(r, 0) == '\n' ? 1 : peek(r, 0) == '\r' && peek(r, 1) == '\n' ? 2 : 0;
}

static bool take_line_end(struct toml_reader *r)
{
    size_t n = line_end(r);
    r->at += n;
    r->line += n != 0;
    return n != 0;
}

/* A byte that may stand in strings and comments of one line. */
static bool is_plain(int c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static int skip_comment(struct toml_reader *r, struct error *err)
{
    while (!at_end(r) && !line_end(r)) {
        if (!is_plain(peek(r, 0))) {
            return fail(r, err, "a control character in a comment");
        }
        r->at++;
    }
    return 0;
}

/* Spaces, perhaps a comment, and the end of the line or of the text. */
static int finish_line(struct toml_reader *r, struct error *err)
{
    skip_spaces(r);
    if (peek(r, 0) == '#') {
        int e = skip_comment(r, err);
        if (e < 0) {
            return e;
        }
    }
    return at_end(r) || take_line_end(r) ? 0 : fail(r, err, "more than one statement on a line");
}

/* A """ or ''' string; the reader stands behind its opening quotes. Up to two quotes may stand
 * directly before the closing three. */
static int skip_multiline(struct toml_reader *r, char quote, struct error *err)
{
    const char closing[] = {quote, quote, quote, 0};
    while (!at_end(r)) {
        if (starts(r, closing)) {
            r->at += 3;
            for (int extra = 0; extra < 2 && peek(r, 0) == quote; extra++) {
                r->at++;
            }
            return 0;
        }
        if (take_line_end(r)) {
            continue;
        }
        if (!is_plain(peek(r, 0))) {
            return fail(r, err, "a control character in a string");
        }
        r->at++;
        if (quote == '"' && r->text[r->at - 1] == '\\' && !at_end(r) && !take_line_end(r)) {
            r->at++;
        }
    }
    return fail(r, err, "a string that does not end");
}

/* A string on one line; the reader stands behind its opening quote. Behind the closing one after,
 * with the string's end in *ret_end. */
static int skip_string(struct toml_reader *r, char quote, size_t *ret_end, struct error *err)
{
    for (; !at_end(r) && is_plain(peek(r, 0)); r->at++) {
        if (peek(r, 0) == quote) {
            *ret_end = r->at++;
            return 0;
        }
        if (quote == '"' && peek(r, 0) == '\\') {
            r->at++;
            if (!is_plain(peek(r, 0))) {
                break;
            }
        }
    }
    return fail(r, err, "a string that does not end on its line");
}

static int skip_any_string(struct toml_reader *r, struct error *err)
{
    char quote = r->text[r->at];
    size_t end;
    if (starts(r, quote == '"' ? "\"\"\"" : "'''")) {
        r->at += 3;
        return skip_multiline(r, quote, err);
    }
    r->at++;
    return skip_string(r, quote, &end, err);
}

/* Brackets that are open, innermost last. */
struct nesting {
    char open[LIMIT_TOML_NESTING];
    size_t depth;
};

static int take_bracket(struct toml_reader *r, struct nesting *n, struct error *err)
{
    char c = r->text[r->at++];
    if (c == '[' || c == '{') {
        if (n->depth == sizeof n->open) {
            return fail(r, err, "nested too deeply");
        }
        n->open[n->depth++] = c;
        return 0;
    }
    if (n->depth == 0 || n->open[n->depth - 1] != (c == ']' ? '[' : '{')) {
        return fail(r, err, "a closing bracket that nothing opened");
    }
    n->depth--;
    return 0;
}

/* From behind the '=' to the end of the value; at depth 0 it ends with its line. */
static int skip_value(struct toml_reader *r, struct error *err)
{
    struct nesting nesting = {0};
    size_t begin = r->at;
    while (!at_end(r)) {
        int c = peek(r, 0), e = 0;
        if (nesting.depth == 0 && (c == '#' || line_end(r))) {
            break;
        }
        if (c == '"' || c == '\'') {
            e = skip_any_string(r, err);
        } else if (c && strchr("[]{}", c)) {
            e = take_bracket(r, &nesting, err);
        } else if (c == '#') {
            e = skip_comment(r, err);
        } else if (is_plain(c)) {
            r->at++;
        } else if (!take_line_end(r)) {
            e = fail(r, err, "a control character in a value");
        }
        if (e < 0) {
            return e;
        }
    }
    if (nesting.depth) {
        return fail(r, err, "a bracket that is not closed");
    }
    return r->at == begin ? fail(r, err, "a key without a value") : 0;
}

static int key_put(struct toml_statement *s, unsigned char c)
{
    if (s->key_bytes == sizeof s->key) {
        return -ENOBUFS;
    }
    s->key[s->key_bytes++] = (char)c;
    return 0;
}

static int key_put_utf8(struct toml_statement *s, uint32_t c)
{
    if (c < 0x80) {
        return key_put(s, (unsigned char)c);
    }
    int extra = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    int e = key_put(s, (unsigned char)(lead[extra] | c >> 6 * extra));
    while (e == 0 && extra-- > 0) {
        e = key_put(s, (unsigned char)(0x80 | (c >> 6 * extra & 0x3f)));
    }
    return e;
}

/* The escape behind a backslash at text[*i]; TOML 1.0, "String". */
static int key_put_escape(struct toml_statement *s, const char *text, size_t end, size_t *i)
{
    static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
    char c = text[(*i)++];
    const char *simple = strchr(names, c);
    if (c && simple) {
        return key_put(s, (unsigned char)values[simple - names]);
    }
    size_t digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t value = 0;
    if (!digits || end - *i < digits) {
        return -EINVAL;
    }
    for (; digits; digits--, (*i)++) {
        int d = (unsigned char)text[*i];
        if (!isxdigit(d)) {
            return -EINVAL;
        }
        value = value << 4 | (uint32_t)(isdigit(d) ? d - '0' : (d | 0x20) - 'a' + 10);
    }
    bool scalar = value < 0xd800 || (value > 0xdfff && value <= 0x10ffff);
    return scalar ? key_put_utf8(s, value) : -EINVAL;
}

static int key_decode(struct toml_statement *s, const char *text, size_t end, bool escapes)
{
    for (size_t i = 0; i < end;) {
        char c = text[i++];
        int e =
            escapes && c == '\\' ? key_put_escape(s, text, end, &i) : key_put(s, (unsigned char)c);
        if (e < 0) {
            return e;
        }
    }
    return 0;
}

static bool is_bare(int c)
{
    return (c < 0x80 && isalnum(c)) || c == '_' || c == '-';
}

static int take_key_part(struct toml_reader *r, struct toml_statement *s, struct error *err)
{
    size_t begin = s->key_bytes, at = r->at, end = at;
    int quote = peek(r, 0);
    if (quote == '"' || quote == '\'') {
        r->at++;
        at++;
        int e = skip_string(r, (char)quote, &end, err);
        if (e < 0) {
            return e;
        }
    } else {
        while (is_bare(peek(r, 0))) {
            r->at++;
        }
        end = r->at;
        if (end == at) {
            return fail(r, err, "a key is missing or has characters that need quotes");
        }
    }
    if (s->parts >= TOML_KEY_PARTS) {
        s->parts++;
        return 0;
    }
    if (key_decode(s, r->text + at, end - at, quote == '"') < 0) {
        return fail(r, err, "a key that is too long or has a wrong escape");
    }
    s->part_at[s->parts] = begin;
    s->part_bytes[s->parts++] = s->key_bytes - begin;
    return 0;
}

static int take_key(struct toml_reader *r, struct toml_statement *s, struct error *err)
{
    for (;;) {
        skip_spaces(r);
        int e = take_key_part(r, s, err);
        if (e < 0) {
            return e;
        }
        skip_spaces(r);
        if (peek(r, 0) != '.') {
            return 0;
        }
        r->at++;
    }
}

static int take_table(struct toml_reader *r, struct toml_statement *s, struct error *err)
{
    bool array = starts(r, "[[");
    s->kind = array ? TOML_ARRAY : TOML_TABLE;
    r->at += array ? 2 : 1;
    int e = take_key(r, s, err);
    if (e < 0) {
        return e;
    }
    if (!starts(r, array ? "]]" : "]")) {
        return fail(r, err, "a table's name that is not closed");
    }
    r->at += array ? 2 : 1;
    return finish_line(r, err);
}

static int take_value(struct toml_reader *r, struct toml_statement *s, struct error *err)
{
    s->kind = TOML_VALUE;
    int e = take_key(r, s, err);
    if (e < 0) {
        return e;
    }
    if (peek(r, 0) != '=') {
        return fail(r, err, "a key without a value");
    }
    r->at++;
    skip_spaces(r);
    e = skip_value(r, err);
    return e < 0 ? e : finish_line(r, err);
}

void toml_reader_init(struct toml_reader *r, const char *text, size_t bytes)
{
    *r = (struct toml_reader){.text = text, .bytes = bytes, .line = 1};
    if (bytes && starts(r, "\xef\xbb\xbf")) {
        r->at = 3;
    }
}

int toml_next(struct toml_reader *r, struct toml_statement *ret_statement, struct error *err)
{
    struct toml_statement *s = ret_statement;
    if (at_end(r)) {
        return 0;
    }
    size_t begin = r->at;
    s->line = r->line;
    s->parts = s->key_bytes = 0;
    skip_spaces(r);
    int e;
    if (at_end(r) || peek(r, 0) == '#' || line_end(r)) {
        s->kind = peek(r, 0) == '#' ? TOML_COMMENT : TOML_BLANK;
        e = finish_line(r, err);
    } else {
        e = peek(r, 0) == '[' ? take_table(r, s, err) : take_value(r, s, err);
    }
    if (e < 0) {
        return e;
    }
    s->text = r->text + begin;
    s->bytes = r->at - begin;
    return 1;
}

bool toml_part_is(const struct toml_statement *s, size_t i, const char *text)
{
    size_t n = strlen(text);
    return i < s->parts && i < TOML_KEY_PARTS && s->part_bytes[i] == n &&
           !memcmp(s->key + s->part_at[i], text, n);
}
