#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "certsd/toml.h"

/* Reads all of it; the statements' kinds as letters (blank, comment, value, table, array), or "!"
 * at the error. Their bytes must be the text's, one after the other. */
static const char *kinds(const char *text, size_t bytes, struct error *err)
{
    static char letters[64];
    struct toml_reader reader;
    struct toml_statement s;
    size_t n = 0;
    int r;
    toml_reader_init(&reader, text, bytes);
    const char *expected = text + reader.at;
    while ((r = toml_next(&reader, &s, err)) > 0 && n < sizeof letters - 2) {
        assert_ptr_equal(s.text, expected);
        expected += s.bytes;
        letters[n++] = "bcvta"[s.kind];
    }
    if (r < 0) {
        assert_int_equal(r, -EINVAL);
        letters[n++] = '!';
    }
    letters[n] = 0;
    return letters;
}

static void statements_end_where_toml_says(void **state)
{
    (void)state;
    static const struct {
        const char *text, *kinds;
    } rows[] = {
        {"", ""},
        {"\n", "b"},
        {"a = 1", "v"},
        {"a = 1 # why\n# c\n\n[t]\n", "vcbt"},
        {"a=[\n1, # one ]\n2]\nb=2\n", "vv"},
        {"a = {x = [1, {y = '}'}]}\nb=1", "vv"},
        {"a = \"\"\"\n[t]\n\"\"\"\nb=1", "vv"},
        {"a = '''\n[t]\\'''\nb=1", "vv"},
        {"a = \"\"\"x\"\"\"\"\"\nb=1", "vv"}, /* two quotes before the closing three */
        {"a = \"\\\"[\"\nb=1", "vv"},
        {"a = '\\'\nb=1", "vv"}, /* no escapes there */
        {"a = \"\"\nb = ''\n", "vv"},
        {"\xef\xbb\xbf[t]\r\na=1\r\n", "tv"},
        {"[[t]]\n[ a . 'b c' . \"d\" ] # x\n", "at"},
        {"host.\"http://x\".ca = 1\n", "v"},
        {"a.b.c.d.e.f = 1\n", "v"},
        {"d = 1979-05-27T07:32:00Z\n", "v"},
        /* no TOML */
        {"a\n", "!"},
        {"a =\n", "!"},
        {"a = \n", "!"},
        {"= 1\n", "!"},
        {"a = [1\n", "!"},
        {"a = [1}\n", "!"},
        {"a = ]\n", "!"},
        {"a = \"x\nb=1\n", "!"},
        {"a = 'x", "!"},
        {"a = \"\"\"x\"\"\n", "!"},
        {"a = \"x\\", "!"},
        {"[t\n", "!"},
        {"[t]]\n", "!"},
        {"[[t]\n", "!"},
        {"[]\n", "!"},
        {"[t] a = 1\n", "!"},
        {"[\"\\q\"]\n", "!"},
        {"[\"\\ud800\"]\n", "!"},
        {"[\"\\u12\"]\n", "!"},
        {"a = 1\rb", "!"},
        {"a b = 1\n", "!"},
        {"# \x01\n", "!"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        const char *got = kinds(rows[i].text, strlen(rows[i].text), &err);
        if (strcmp(got, rows[i].kinds)) {
            fail_msg("row %zu: %s, not %s (%s)", i, got, rows[i].kinds, err.text);
        }
        assert_int_equal(strchr(got, '!') != NULL, !strncmp(err.text, "line ", 5));
    }
}

static void keys_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        size_t i;
    } rows[] = {
        {"[host.'https://a']\n", "https://a", 1},
        {"[host.\"https://a\"]\n", "https://a", 1},
        {"[\"\\u0068ost\".x]\n", "host", 0},
        {"[\"h\\U0000006fst\".x]\n", "host", 0},
        {"'host' . \"a\\\"b\\\\\" = 1\n", "a\"b\\", 1},
        {"\"\\u00e9\\u20ac\\U0001F600\" = 1\n", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0},
        {"[a.b.c.d]\n", "d", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct toml_reader reader;
        struct toml_statement s;
        toml_reader_init(&reader, rows[i].text, strlen(rows[i].text));
        assert_int_equal(toml_next(&reader, &s, NULL), 1);
        assert_true(toml_part_is(&s, rows[i].i, rows[i].part));
        assert_false(toml_part_is(&s, rows[i].i, "other"));
        assert_false(toml_part_is(&s, 9, rows[i].part));
    }
}

static void errors_name_the_line(void **state)
{
    (void)state;
    struct error err;
    const char *text = "a = \"\"\"\n\n\"\"\"\n# x\nb = [\n1\n";
    (void)kinds(text, strlen(text), &err);
    assert_string_equal(err.text, "line 7: a bracket that is not closed");
}

static void nothing_hostile_is_too_much(void **state)
{
    (void)state;
    enum { BYTES = 200000 };
    char *text = malloc(BYTES + 1);
    assert_non_null(text);
    struct error err;
    memset(text, '[', BYTES);
    memcpy(text, "a=", 2);
    assert_string_equal(kinds(text, BYTES, &err), "!");
    assert_non_null(strstr(err.text, "nested"));
    memset(text, 'k', BYTES); /* a key of 200 kB */
    assert_string_equal(kinds(text, BYTES, &err), "!");
    memset(text, '.', BYTES);
    assert_string_equal(kinds(text, BYTES, &err), "!");
    assert_string_equal(kinds("a = \"x\0y\"\n", 10, &err), "!");
    assert_string_equal(kinds("a\0 = 1\n", 7, &err), "!");
    free(text);
}

static void every_prefix_of_a_file_ends(void **state)
{
    (void)state;
    static const char text[] =
        "server = \"https://a\" # s\nca = [\n 'x', # y\n]\n\n[host.'h'] # z\n"
        "a = \"\"\"q\\\n \"\"\"\nb = {c = '''\n'''}\n[[x.\"\\u0041\"]]\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = malloc(n ? n : 1); /* exact, so that reading past it is seen */
        assert_non_null(copy);
        memcpy(copy, text, n);
        (void)kinds(copy, n, NULL);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_end_where_toml_says),
        cmocka_unit_test(keys_are_decoded),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(nothing_hostile_is_too_much),
        cmocka_unit_test(every_prefix_of_a_file_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
