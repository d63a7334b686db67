/* What was added or changed by hand between two runs, on real directories. */
#include "runs.h"

static void assert_unseen(enum certsd_event event, const char *name)
{
    char text[300];
    (void)snprintf(text, sizeof text, "%d:%s ", (int)event, name);
    assert_null(strstr(seen, text));
}

/* By its first lines it might be ours; but for what it has more, `_backup` has no reason. */
static void a_file_added_later_that_begins_as_ours_do_stays(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "# my own file, do not touch\nserver = 'https://mine.io'\n\n[host.'https://cache.lan']\n"
        "capabilities = ['pull']\n\n[host.'https://second.lan']\nca = '/ca.pem'\n",
        "server = 'https://mine.io'\n\n[host.'https://cache.lan']\ncapabilities = ['pull']\n",
        "server = 'https://mine.io'\n\n" OURS "\n\n[host.'https://second.lan']\nca = '/ca.pem'\n",
    };
    const struct arguments a = {.registries = {"https://docker.io"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        must_configure(&a);
        tree_run("mkdir c/mine.io");
        tree_write("c/mine.io/hosts.toml", texts[i], 0604);
        for (int run = 0; run < 3; run++) {
            must_configure(&a);
            assert_seen(CERTSD_NOT_MIRRORED, "mine.io");
            assert_file("c/mine.io/hosts.toml", texts[i], 0604);
            assert_file("c/_backup/mine.io/hosts.toml", texts[i], 0604);
        }
        must_configure(&(struct arguments){.registries = {"https://mine.io"}});
        assert_file("c/mine.io/hosts.toml", "server = 'https://mine.io'\n\n" OURS, 0644);
        must_configure(&a);
        assert_file("c/mine.io/hosts.toml", texts[i], 0604);
        tree_run("echo '# edited' >> c/mine.io/hosts.toml && cp c/mine.io/hosts.toml edited");
        must_configure(&a);
        must_clean();
        tree_run("cmp edited c/mine.io/hosts.toml && rm -r c");
    }
}

/* The Go implementation had moved it away, and its user made it again before we ran. */
static void what_was_made_again_gets_back_what_else_had_been_there(void **state)
{
    (void)state;
    const struct arguments a = {.registries = {"https://docker.io"}};
    static const char mine[] = "server = 'https://mine.io'\nca = 'ca.crt'\n";
    tree_run(
        "mkdir -p c/mine.io/tls && echo old > c/mine.io/hosts.toml && echo ca > c/mine.io/ca.crt "
        "&& echo key > c/mine.io/tls/key && chmod 600 c/mine.io/tls/key");
    tree_run(GO_CONFIGURE);
    tree_run("mkdir c/mine.io");
    tree_write("c/mine.io/hosts.toml", mine, 0640);
    for (int run = 0; run < 2; run++) {
        must_configure(&a);
        for (int saved = 0; saved < 2; saved++) {
            assert_file(saved ? "c/_backup/mine.io/hosts.toml" : "c/mine.io/hosts.toml", mine,
                        0640);
            assert_file(saved ? "c/_backup/mine.io/ca.crt" : "c/mine.io/ca.crt", "ca\n", 0644);
            assert_file(saved ? "c/_backup/mine.io/tls/key" : "c/mine.io/tls/key", "key\n", 0600);
        }
    }
    must_clean();
    assert_file("c/mine.io/hosts.toml", mine, 0640);
    assert_file("c/mine.io/ca.crt", "ca\n", 0644);
    tree_run("rm -r c");
}

static void a_change_of_a_generated_file_is_undone_and_kept(void **state)
{
    (void)state;
    static const struct arguments lists[] = {
        {.registries = {"https://docker.io"}, .prepend = true},
        {.registries = {"https://docker.io"}},
        {.registries = {"https://ghcr.io"}, .prepend = true},
    };
    tree_fill(users);
    char *before = tree_snapshot("");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        must_configure(&lists[0]);
        tree_run("sleep 0.02; echo \"ca = '/new.pem'\" >> c/docker.io/hosts.toml; "
                 "cp c/docker.io/hosts.toml edited");
        must_configure(&lists[i]);
        assert_seen(CERTSD_EDITED, "docker.io");
        tree_run("cmp edited c/docker.io/hosts.toml.edited && rm edited && "
                 "cmp c/docker.io/hosts.toml.edited c/_backup/docker.io/hosts.toml.edited && "
                 "! cmp -s c/docker.io/hosts.toml.edited c/docker.io/hosts.toml");
        must_configure(&lists[i]);
        assert_unseen(CERTSD_EDITED, "docker.io");
        must_clean();
        tree_run("rm c/docker.io/hosts.toml.edited");
        char *after = tree_snapshot("");
        assert_string_equal(before, after);
        free(after);
    }
    /* Cleaning up comes to the same. */
    must_configure(&lists[0]);
    tree_run("sleep 0.02; echo '# new' >> c/docker.io/hosts.toml");
    must_clean();
    assert_seen(CERTSD_EDITED, "docker.io");
    tree_run("grep -q new c/docker.io/hosts.toml.edited && rm c/docker.io/hosts.toml.edited");
    assert_same_and_free(before, tree_snapshot(""));
}

static void a_change_in_the_backup_is_taken_over(void **state)
{
    (void)state;
    tree_fill(users);
    const struct arguments a = {.registries = {"https://docker.io"}, .prepend = true};
    must_configure(&a);
    tree_run("sleep 0.02; echo \"ca = '/new.pem'\" >> c/_backup/docker.io/hosts.toml");
    must_configure(&a);
    assert_file("c/docker.io/hosts.toml",
                "server = 'https://registry-1.docker.io'\n# mine\n\n" OURS "\n\n"
                "[host.\"https://a\"]\nca = '/new.pem'\n",
                0640);
    assert_false(is_there("c/docker.io/hosts.toml.edited"));
}

/* With --prepend-existing it writes the user's hosts anew behind its own. */
#define GO_PREPENDS(name, host)                                                                    \
    " && printf \"\\n\\n[host.'" host "']\\ncapabilities = ['pull']\" >> " name "/hosts.toml"

static void what_the_go_implementation_kept_behind_its_own_is_not_the_users(void **state)
{
    (void)state;
    tree_fill(users);
    char *before = tree_snapshot("");
    tree_run("sed -i '$ a capabilities = [\"pull\"]' c/docker.io/hosts.toml");
    tree_run(GO_CONFIGURE GO_PREPENDS("docker.io", "https://a"));
    must_configure(&(struct arguments){.registries = {"https://ghcr.io"}});
    tree_run("cmp c/docker.io/hosts.toml c/_backup/docker.io/hosts.toml && "
             "sed -i '$ d' c/docker.io/hosts.toml");
    assert_seen(CERTSD_RESTORED, "docker.io");
    must_clean();
    assert_same_and_free(before, tree_snapshot(""));
}

static void what_was_changed_behind_its_own_is_kept(void **state)
{
    (void)state;
    tree_fill(users);
    char *before = tree_snapshot("");
    for (int mirrored = 0; mirrored < 2; mirrored++) {
        tree_run(GO_CONFIGURE GO_PREPENDS("docker.io", "https://new"));
        must_configure(&(struct arguments){
            .registries = {mirrored ? "https://docker.io" : "https://ghcr.io"}, .prepend = true});
        assert_seen(CERTSD_EDITED, "docker.io");
        tree_run("grep -q https://new c/docker.io/hosts.toml.edited && "
                 "grep -q https://new c/_backup/docker.io/hosts.toml.edited");
        must_clean();
        tree_run("rm c/docker.io/hosts.toml.edited");
        char *after = tree_snapshot("");
        assert_string_equal(before, after);
        free(after);
    }
    free(before);
}

static void nor_is_what_it_kept_of_a_bootstrap_file(void **state)
{
    (void)state;
    char *golden = without_bootstraps();
    tree_run("printf \"[host.'http://b']\\ncapabilities = ['pull']\\n\" >> c/docker.io/hosts.toml");
    tree_run(GO_CONFIGURE GO_PREPENDS("docker.io", "http://b"));
    must_configure(&(struct arguments){.registries = {"https://ghcr.io"}});
    assert_false(is_there("c/docker.io"));
    must_clean();
    assert_same_and_free(golden, tree_snapshot(""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_added_later_that_begins_as_ours_do_stays),
        TEST(what_was_made_again_gets_back_what_else_had_been_there),
        TEST(a_change_of_a_generated_file_is_undone_and_kept),
        TEST(a_change_in_the_backup_is_taken_over),
        TEST(what_the_go_implementation_kept_behind_its_own_is_not_the_users),
        TEST(what_was_changed_behind_its_own_is_kept),
        TEST(nor_is_what_it_kept_of_a_bootstrap_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
