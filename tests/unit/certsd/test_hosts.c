#include "support.h"

#include <errno.h>
#include <string.h>

#include "certsd/hosts.h"

static const struct registry_url targets[] = {
    {.scheme = "http", .host = "127.0.0.1:30020"},
    {.scheme = "http", .host = "[fd00::1]:30021"},
};

static struct registry_url registry(const char *text)
{
    struct registry_url url;
    assert_int_equal(registry_url_parse(text, &url, NULL), 0);
    return url;
}

static int render(const struct hosts_spec *spec, const char *name, const char *existing,
                  struct buf *out, struct error *err)
{
    struct registry_url url = registry(name);
    buf_init(out, 65536);
    return hosts_render(spec, &url, existing, existing ? strlen(existing) : 0, out, err);
}

static void the_text_is_the_one_users_have(void **state)
{
    (void)state;
    static const struct {
        const char *registry;
        struct hosts_spec spec;
        const char *text;
    } rows[] = {
        {"https://docker.io",
         {targets, 1, true, NULL, NULL},
         "server = 'https://registry-1.docker.io'\n\n"
         "[host.'http://127.0.0.1:30020']\n"
         "capabilities = ['pull', 'resolve']\n"
         "dial_timeout = '200ms'"},
        {"_default",
         {targets, 1, false, NULL, NULL},
         "[host.'http://127.0.0.1:30020']\n"
         "capabilities = ['pull']\n"
         "dial_timeout = '200ms'"},
        {"http://foo.bar:5000",
         {targets, 2, true, "Basic aGVsbG86d29ybGQ=", NULL},
         "server = 'http://foo.bar:5000'\n\n"
         "[host.'http://127.0.0.1:30020']\n"
         "capabilities = ['pull', 'resolve']\n"
         "dial_timeout = '200ms'\n"
         "[host.'http://127.0.0.1:30020'.header]\n"
         "Authorization = 'Basic aGVsbG86d29ybGQ='\n\n"
         "[host.'http://[fd00::1]:30021']\n"
         "capabilities = ['pull', 'resolve']\n"
         "dial_timeout = '200ms'\n"
         "[host.'http://[fd00::1]:30021'.header]\n"
         "Authorization = 'Basic aGVsbG86d29ybGQ='"},
        {"*",
         {targets, 1, true, NULL, "n1"},
         "[host.'http://127.0.0.1:30020']\n"
         "capabilities = ['pull', 'resolve']\n"
         "dial_timeout = '200ms'\n"
         "[host.'http://127.0.0.1:30020'.header]\n"
         "X-Spegel-Node = 'n1'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out;
        assert_int_equal(render(&rows[i].spec, rows[i].registry, NULL, &out, NULL), 0);
        assert_string_equal(out.data, rows[i].text);
        assert_true(hosts_is_generated(out.data, out.len));
        buf_done(&out);
    }
}

#define OURS                                                                                       \
    "[host.'http://127.0.0.1:30020']\n"                                                            \
    "capabilities = ['pull', 'resolve']\n"                                                         \
    "dial_timeout = '200ms'\n"
#define SERVER "server = 'https://ghcr.io'\n"

static void what_its_owner_wrote_stays_behind_ours(void **state)
{
    (void)state;
    static const struct hosts_spec spec = {targets, 1, true, NULL, NULL};
    static const struct {
        const char *registry, *existing, *text; /* NULL: refused */
    } rows[] = {
        /* Root keys at the top with their comments, tables verbatim with theirs. */
        {"https://ghcr.io",
         "# mine\nserver = \"https://ghcr.io\" # s\nca = [\n  'a', # ]\n]\n\n# first\n"
         "[host.\"https://a\"]\n  capabilities = [\"pull\"]\n  [host.\"https://a\".header]\n"
         "    x = ['1']\n\n# end\n",
         SERVER "# mine\nca = [\n  'a', # ]\n]\n\n" OURS "\n# first\n[host.\"https://a\"]\n"
                "  capabilities = [\"pull\"]\n  [host.\"https://a\".header]\n    x = ['1']\n\n"
                "# end\n"},
        /* A server of their own stays where ours has none. */
        {"_default", "server = 'https://x'\n[host.'https://a']\n",
         "server = 'https://x'\n\n" OURS "\n[host.'https://a']\n"},
        /* A table of our own target would be there twice, and containerd would refuse it all. */
        {"https://ghcr.io",
         "# old\n[host.\"http://127.0.0.1:30020\"]\ncapabilities = ['pull']\n"
         "[host.\"http://127.0.0.1:30020\".header]\nx = ['1']\n[host.'https://a']\nca='c'",
         SERVER "\n" OURS "\n[host.'https://a']\nca='c'"},
        {"https://ghcr.io",
         "[host]\n[host.'https://a']\n[host]\n'http://127.0.0.1:30020' = {}\n'https://b'={}\n",
         SERVER "\n" OURS "\n[host]\n[host.'https://a']\n[host]\n'https://b'={}\n"},
        /* Nothing but root keys, a comment, or nothing. */
        {"https://ghcr.io", "skip_verify = true", SERVER "skip_verify = true\n\n" OURS},
        {"https://ghcr.io", "# only this\n", SERVER "# only this\n\n" OURS},
        {"https://ghcr.io", "\n\n", SERVER "\n" OURS},
        {"https://ghcr.io", "[header]\nx = '1'\r\n", SERVER "\n" OURS "\n[header]\nx = '1'\r\n"},
        /* What nothing can be put before, and what is no TOML. */
        {"https://ghcr.io", "host.'https://a'.ca = 'c'\n", NULL},
        {"https://ghcr.io", "a = 1\n\nhost = {}\n", NULL},
        {"https://ghcr.io", "[[host]]\n", NULL},
        {"https://ghcr.io", "a = [\n", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out;
        struct error err = {0};
        int r = render(&spec, rows[i].registry, rows[i].existing, &out, &err);
        if (!rows[i].text) {
            assert_int_equal(r, -EINVAL);
            assert_int_equal(strncmp(err.text, "line ", 5), 0);
        } else {
            assert_int_equal(r, 0);
            /* Generated text ends without a line end where nothing of theirs follows. */
            size_t n = strlen(rows[i].text);
            n -= n > strlen(OURS) && !strcmp(rows[i].text + n - strlen(OURS), OURS);
            if (out.len != n || memcmp(out.data, rows[i].text, n)) {
                fail_msg("row %zu:\n%s\nis not\n%s", i, out.data, rows[i].text);
            }
            assert_true(hosts_is_generated(out.data, out.len));
        }
        buf_done(&out);
    }
}

static void a_file_of_anybody_else_is_not_taken_for_ours(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool generated, bootstrap;
    } rows[] = {
        {"", false, false},
        {"server = 'https://ghcr.io'\n", false, false},
        {"[host.\"http://127.0.0.1:30020\"]\ncapabilities = ['pull', 'resolve']\n", false, false},
        {"[host.'http://m']\ncapabilities = ['pull', 'resolve', 'push']\n", false, false},
        {"[host.'http://m']\ncapabilities = ['pull']\nca = 'x'\n", false, false},
        {"[host.'http://m']\n  capabilities = ['pull']\n", false, false},
        {"[host.'http://m']\ncapabilities = ['pull']\ndial_timeout = '3s'\n", false, false},
        {"not toml", false, false},
        /* The oldest releases, and the newest with Windows line ends. */
        {"server = 'https://a'\n\n[host.'http://m']\ncapabilities = ['pull', 'resolve']", true,
         false},
        {"[host.'http://m']\r\ncapabilities = ['pull']\r\ndial_timeout = '200ms'\r\n", true, false},
        {"# spegel bootstrap\nserver = \"https://ghcr.io\"\n", false, true},
        {"# spegel bootstrap \r\n", false, true},
        {"# spegel bootstrap", false, true},
        {" # spegel bootstrap\n", false, false},
        {"\n# spegel bootstrap\n", false, false},
        {"# spegel bootstrapped\n", false, false},
        {"server = \"https://ghcr.io\"\n# spegel bootstrap\n", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        assert_int_equal(hosts_is_generated(rows[i].text, n), rows[i].generated);
        assert_int_equal(hosts_is_bootstrap(rows[i].text, n), rows[i].bootstrap);
    }
}

static void registries_are_urls_and_targets_take_bare_ipv6(void **state)
{
    (void)state;
    static const struct {
        const char *text, *registry, *target; /* the host; NULL: refused */
    } rows[] = {
        {"https://docker.io", "docker.io", "docker.io"},
        {"http://foo.bar:5000", "foo.bar:5000", "foo.bar:5000"},
        {"HTTPS://ghcr.io", "ghcr.io", "ghcr.io"},
        {"http://127.0.0.1:30020", "127.0.0.1:30020", "127.0.0.1:30020"},
        {"http://[::1]:5000", "[::1]:5000", "[::1]:5000"},
        {"http://[::1]", "[::1]", "[::1]"},
        {"_default", "_default", NULL},
        {"*", "_default", NULL},
        {"http://fd00::1:30020", NULL, "[fd00::1]:30020"},
        {"http://::1:30020", NULL, "[::1]:30020"},
        {"http://fd00::abcd", NULL, "[fd00::abcd]"},
        {"docker.io", NULL, NULL}, /* which scheme? */
        {"", NULL, NULL},
        {"https://", NULL, NULL},
        {"https:///", NULL, NULL},
        {"https://docker.io/", NULL, NULL},
        {"https://docker.io/x", NULL, NULL},
        {"https://docker.io?x", NULL, NULL},
        {"https://docker.io#x", NULL, NULL},
        {"https://u:p@docker.io", NULL, NULL},
        {"ftp://docker.io", NULL, NULL},
        {"https://docker.io:", NULL, NULL},
        {"https://docker.io:0", NULL, NULL},
        {"https://docker.io:65536", NULL, NULL},
        {"https://docker.io:5000x", NULL, NULL},
        {"https://a:b:5000", NULL, NULL},
        {"https://[::1", NULL, NULL},
        {"https://[::1]x", NULL, NULL},
        {"https://[127.0.0.1]:1", NULL, NULL},
        {"https://a'b", NULL, NULL},
        {"https://a b", NULL, NULL},
        /* It becomes the name of a directory. */
        {"https://..", NULL, NULL},
        {"https://_backup", NULL, NULL},
        {"https://_default", NULL, NULL},
        {"https://.spegel-staged", NULL, NULL},
        {"https://*", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct registry_url url;
        struct error err = {0};
        int r = registry_url_parse(rows[i].text, &url, &err);
        assert_int_equal(r, rows[i].registry ? 0 : -EINVAL);
        if (r == 0) {
            assert_string_equal(url.host, rows[i].registry);
        } else {
            assert_non_null(strstr(err.text, rows[i].text));
        }
        r = registry_url_parse_target(rows[i].text, &url, &err);
        assert_int_equal(r, rows[i].target ? 0 : -EINVAL);
        if (r == 0) {
            assert_string_equal(url.host, rows[i].target);
        }
    }
}

static void without_memory_nothing_is_half_rendered_for_good(void **state)
{
    (void)state;
    static const struct hosts_spec spec = {targets, 2, true, "Basic x", "n"};
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct buf out;
        int r =
            render(&spec, "https://ghcr.io", "# c\nca='x'\n# d\n[host.'https://a']\n", &out, NULL);
        assert_true(r == 0 || r == -ENOMEM);
        buf_done(&out);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_the_one_users_have),
        cmocka_unit_test(what_its_owner_wrote_stays_behind_ours),
        cmocka_unit_test(a_file_of_anybody_else_is_not_taken_for_ours),
        cmocka_unit_test(registries_are_urls_and_targets_take_bare_ipv6),
        cmocka_unit_test(without_memory_nothing_is_half_rendered_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
