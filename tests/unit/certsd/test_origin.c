#include "support.h"

#include <errno.h>
#include <string.h>

#include "certsd/hosts.h"
#include "certsd/origin.h"

#define TIMEOUT "dial_timeout = '200ms'\n"
#define TABLE(url) "[host.'" url "']\ncapabilities = ['pull', 'resolve']\n"
#define OURS TABLE("http://m:1") TIMEOUT
#define HEADER "[host.'http://m:1'.header]\nAuthorization = 'Basic x'\nX-Spegel-Node = 'n'\n"
#define SERVER "server = 'https://ghcr.io'\n\n"
#define THEIRS "[host.\"https://a\"]\n  ca = \"/a.pem\" # mine\n"
#define SAVED "# first\nserver = \"https://b\"\nca = 'c'\n\n" THEIRS
#define KEPT "server = 'https://ghcr.io'\n# first\nca = 'c'\n\n" OURS "\n" THEIRS

enum { NEWER = 1, MOVED = 2, UNKNOWN = 4 };

struct row {
    const char *name, *text, *saved;
    enum origin origin;
    unsigned how;
};

static void assert_origins(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        const struct origin_file file = {.name = row->name,
                                         .text = row->text,
                                         .bytes = strlen(row->text),
                                         .saved = row->saved,
                                         .saved_bytes = row->saved ? strlen(row->saved) : 0,
                                         .saved_is_unknown = row->how & UNKNOWN,
                                         .saved_is_newer = row->how & NEWER,
                                         .moved = row->how & MOVED};
        enum origin origin;
        assert_int_equal(origin_find(&file, &origin), 0);
        if (origin != row->origin) {
            fail_msg("row %zu: %d, not %d, for\n%s", i, (int)origin, (int)row->origin, row->text);
        }
    }
}

#define ASSERT_ORIGINS(rows) assert_origins(rows, sizeof(rows) / sizeof *(rows))

static void what_has_our_form_and_no_more_is_generated(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"ghcr.io", SERVER OURS, NULL, ORIGIN_GENERATED, 0},
        {"ghcr.io", SERVER OURS, SAVED, ORIGIN_GENERATED, 0}, /* not prepended */
        {"_default", OURS, NULL, ORIGIN_GENERATED, 0},
        {"ghcr.io", SERVER OURS HEADER "\n" TABLE("https://h:2/path") TIMEOUT, NULL,
         ORIGIN_GENERATED, 0},
        {"ghcr.io", "[host.'http://m:1']\r\ncapabilities = ['pull']\r\n" TIMEOUT, NULL,
         ORIGIN_GENERATED, 0},
        /* Of releases that this program never was. */
        {"ghcr.io", SERVER TABLE("http://m:1"), NULL, ORIGIN_GENERATED, MOVED},
        {"ghcr.io", SERVER TABLE("http://m:1"), NULL, ORIGIN_USER, 0},
        /* In force and saved alike, it is not there for us. */
        {"ghcr.io", SERVER OURS, SERVER OURS, ORIGIN_USER, 0},
        {"ghcr.io", "# x\n" SERVER OURS, "# x\n" SERVER OURS, ORIGIN_GENERATED, MOVED},
    };
    ASSERT_ORIGINS(rows);
}

static void what_only_begins_as_ours_do_is_the_users(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"ghcr.io", "# my own file, do not touch\n" SERVER OURS, NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER "# mine\n" OURS, NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "# mine\n", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER "ca = 'c'\n" OURS, NULL, ORIGIN_USER, 0},
        {"ghcr.io", "server = \"https://ghcr.io\"\n" OURS, NULL, ORIGIN_USER, 0},
        {"_default", "server = 'https://b'\n" OURS, NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "ca = 'c'\n", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "\n" TABLE("https://a") TIMEOUT "ca = 'c'\n", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "[host.'http://m:1'.header]\nX-Mine = '1'\n", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "[host.'http://other'.header]\nAuthorization = 'x'\n", NULL,
         ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "\n[[host]]\n", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "\nnot toml", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER OURS "\n" THEIRS, NULL, ORIGIN_USER, MOVED},
        /* Saved by an earlier run, and edited since. */
        {"ghcr.io", SERVER OURS "\n" THEIRS "x = 1\n", SERVER OURS "\n" THEIRS, ORIGIN_USER, 0},
        {"ghcr.io", SERVER TABLE("https://b") TIMEOUT "\n" THEIRS, SERVER OURS "\n" THEIRS,
         ORIGIN_USER, 0},
        {"ghcr.io", "", NULL, ORIGIN_USER, 0},
        {"ghcr.io", SERVER, NULL, ORIGIN_USER, 0},
    };
    ASSERT_ORIGINS(rows);
}

static void what_the_user_had_stays_behind_ours_in_a_generated_file(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"ghcr.io", KEPT, SAVED, ORIGIN_GENERATED, 0},
        {"ghcr.io", SERVER OURS "\n" THEIRS, THEIRS, ORIGIN_GENERATED, 0},
        {"_default", "server = \"https://b\"\n\n" OURS "\n" THEIRS,
         "server = \"https://b\"\n" THEIRS, ORIGIN_GENERATED, 0},
        /* A host of the user's in our own form, and one of our targets. */
        {"ghcr.io", SERVER OURS "\n" TABLE("https://b") TIMEOUT "\n" THEIRS,
         TABLE("https://b") TIMEOUT "\n" THEIRS, ORIGIN_GENERATED, 0},
        {"ghcr.io", SERVER OURS "\n" THEIRS, "[host.\"http://m:1\"]\n" THEIRS, ORIGIN_GENERATED, 0},
        /* Changed on either side; where nobody can look, it stays with what it begins with. */
        {"ghcr.io", KEPT "x = 1\n", SAVED, ORIGIN_EDITED, 0},
        {"ghcr.io", "# more\n" KEPT, SAVED, ORIGIN_EDITED, 0},
        {"ghcr.io", SERVER OURS "# gone\n", SAVED, ORIGIN_EDITED, 0},
        {"ghcr.io", KEPT, SAVED "x = 1\n", ORIGIN_GENERATED, NEWER},
        {"ghcr.io", KEPT, NULL, ORIGIN_GENERATED, UNKNOWN},
    };
    ASSERT_ORIGINS(rows);
}

static void the_go_implementation_writes_hosts_anew(void **state)
{
    (void)state;
    static const char saved[] =
        "# mine\nserver = \"https://b\"\n[host.\"https://a\"]\n  skip_verify = false\n"
        "  ca = \"/a.pem\" # ca\n  header = {x-y = [\"1\", '2']}\n[host]\n"
        "[host.\"https://b/v2\"]\n  capabilities = [\n    \"pull\"]\n";
#define GO                                                                                         \
    SERVER OURS                                                                                    \
        "\n[host.'https://a']\nca = '/a.pem'\nskip_verify = false\n[host.'https://a'.header]\n"    \
        "x-y = ['1', '2']\n\n[host.'https://b/v2']\ncapabilities = ['pull']"
    static const struct row rows[] = {
        {"ghcr.io", GO, saved, ORIGIN_GENERATED, MOVED},
        {"ghcr.io", GO "\nca = '/b.pem'\n", saved, ORIGIN_EDITED, MOVED},
        {"ghcr.io", GO "\nzz = 1\n", saved, ORIGIN_EDITED, MOVED},
        {"ghcr.io", GO "\n[host.'https://c']\n", saved, ORIGIN_EDITED, MOVED},
        {"ghcr.io", GO "\n# mine\n", saved, ORIGIN_EDITED, MOVED},
        {"ghcr.io", GO "\n[plugin]\n", saved, ORIGIN_EDITED, MOVED},
        /* What a link leads to may be another now. */
        {"ghcr.io", GO "\nzz = 1\n", saved, ORIGIN_GENERATED, MOVED | NEWER},
        /* The same string may have been written with escapes. */
        {"ghcr.io", SERVER OURS "\n[host.'https://a']\nca = '/a.pem'\n",
         "[host.\"https://a\"]\nca = \"\\u002fa.pem\"\n", ORIGIN_GENERATED, MOVED},
    };
    ASSERT_ORIGINS(rows);
}

static void ours_end_where_the_users_begin(void **state)
{
    (void)state;
    const struct origin_file file = {
        .name = "ghcr.io", .text = SERVER OURS HEADER "\n" THEIRS, .bytes = strlen(file.text)};
    size_t own = origin_own_bytes(&file);
    assert_string_equal(file.text + own, THEIRS);
}

static void without_memory_nothing_is_said(void **state)
{
    (void)state;
    const struct origin_file file = {.name = "ghcr.io",
                                     .text = KEPT,
                                     .bytes = strlen(KEPT),
                                     .saved = SAVED,
                                     .saved_bytes = strlen(SAVED)};
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        enum origin origin = ORIGIN_USER;
        int r = origin_find(&file, &origin);
        assert_true(r == 0 ? origin == ORIGIN_GENERATED : r == -ENOMEM);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_our_form_and_no_more_is_generated),
        cmocka_unit_test(what_only_begins_as_ours_do_is_the_users),
        cmocka_unit_test(what_the_user_had_stays_behind_ours_in_a_generated_file),
        cmocka_unit_test(the_go_implementation_writes_hosts_anew),
        cmocka_unit_test(ours_end_where_the_users_begin),
        cmocka_unit_test(without_memory_nothing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
