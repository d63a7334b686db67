/* Configuring and cleaning up, on real directories. */
#include "runs.h"

#include <errno.h>

#include "certsd/credentials.h"

static void give_to_somebody(void)
{
    if (geteuid() == 0) {
        assert_int_equal(chown(tree_path("c/docker.io/tls/key.pem"), 1234, 567), 0);
        assert_int_equal(chown(tree_path("c/ghcr.io"), 12, 0), 0);
    }
}

static void a_directory_that_is_not_there_is_made(void **state)
{
    (void)state;
    must_configure(&(struct arguments){.registries = {0}});
    assert_file("c/_default/hosts.toml", OURS, 0644);
    assert_true(is_there("c/_backup"));
    must_clean();
    assert_int_equal(rmdir(tree_path("c")), 0); /* empty again */
    must_clean();                               /* and gone is as clean */
}

static void only_what_is_mirrored_is_replaced_and_all_is_put_back(void **state)
{
    (void)state;
    tree_fill(users);
    give_to_somebody();
    char *before = tree_snapshot("");
    const struct arguments a = {.registries = {"https://docker.io", "http://foo.bar:5000",
                                               "https://linked.io", "https://quay.io"}};
    must_configure(&a);
    assert_file("c/docker.io/hosts.toml", "server = 'https://registry-1.docker.io'\n\n" OURS, 0644);
    assert_file("c/foo.bar:5000/hosts.toml", "server = 'http://foo.bar:5000'\n\n" OURS, 0644);
    assert_file("c/linked.io/hosts.toml", "server = 'https://linked.io'\n\n" OURS, 0644);
    assert_file("c/ghcr.io/hosts.toml", "server = \"https://ghcr.io\"\n", 0644);
    assert_file("elsewhere.toml", "[host.'https://q']\nca = 'q'\n", 0644);
    assert_file("c/docker.io/tls/key.pem", "key", 0400);
    assert_seen(CERTSD_NOT_MIRRORED, "ghcr.io");
    assert_seen(CERTSD_WRITTEN, "docker.io");

    char *once = tree_snapshot("");
    must_configure(&a);
    assert_seen(CERTSD_UNCHANGED, "docker.io");
    assert_same_and_free(once, tree_snapshot(""));

    must_clean();
    assert_same_and_free(before, tree_snapshot(""));
}

/* What the Go implementation's cleanup does, said in shell. */
#define GO_CLEANUP                                                                                 \
    "cd c && find . -mindepth 1 -maxdepth 1 ! -name _backup -exec rm -rf {} + && "                 \
    "find _backup -mindepth 1 -maxdepth 1 -exec mv -t . {} + && rm -rf _backup"

static void the_go_implementation_can_clean_up_after_us(void **state)
{
    (void)state;
    tree_fill(users);
    give_to_somebody();
    char *before = tree_snapshot("");
    must_configure(&(struct arguments){
        .registries = {"https://docker.io", "https://linked.io", "https://new"}});
    tree_run(GO_CLEANUP);
    assert_same_and_free(before, tree_snapshot(""));
}

static void we_can_clean_up_after_the_go_implementation(void **state)
{
    (void)state;
    tree_fill(users);
    give_to_somebody();
    char *before = tree_snapshot("");
    tree_run(GO_CONFIGURE);
    must_clean();
    assert_same_and_free(before, tree_snapshot(""));
}

static void an_upgrade_brings_back_what_was_moved_away(void **state)
{
    (void)state;
    tree_fill(users);
    give_to_somebody();
    char *before = tree_snapshot("");
    tree_run(GO_CONFIGURE " && mkdir gone.io && cp docker.io/hosts.toml gone.io");
    assert_false(is_there("c/ghcr.io"));
    must_configure(&(struct arguments){.registries = {"https://quay.io"}});
    assert_seen(CERTSD_ADOPTED, "");
    assert_true(is_there("c/ghcr.io/hosts.toml")); /* in force again */
    assert_false(is_there("c/gone.io"));           /* theirs, and not mirrored now */
    assert_file("c/docker.io/hosts.toml",
                "# mine\nserver = \"https://x\"\n\n[host.\"https://a\"]\n", 0640);
    must_clean();
    assert_same_and_free(before, tree_snapshot(""));
}

static void a_shorter_list_gives_back_the_rest(void **state)
{
    (void)state;
    tree_fill(users);
    must_configure(
        &(struct arguments){.registries = {"https://docker.io", "https://new.io", "_default"}});
    must_configure(&(struct arguments){.registries = {"_default"}});
    assert_file("c/docker.io/hosts.toml",
                "# mine\nserver = \"https://x\"\n\n[host.\"https://a\"]\n", 0640);
    assert_false(is_there("c/new.io"));
    assert_true(is_there("c/_default/hosts.toml"));
}

static void hosts_of_their_own_stay_behind_the_mirror(void **state)
{
    (void)state;
    tree_fill(users);
    char *before = tree_snapshot("");
    const struct arguments a = {.registries = {"https://docker.io", "https://quay.io"},
                                .prepend = true};
    must_configure(&a);
    assert_seen(CERTSD_PREPENDED, "docker.io");
    assert_file("c/docker.io/hosts.toml",
                "server = 'https://registry-1.docker.io'\n# mine\n\n" OURS "\n\n"
                "[host.\"https://a\"]\n",
                0640);
    must_clean();
    assert_same_and_free(before, tree_snapshot(""));
}

static void a_link_is_read_where_it_stood(void **state)
{
    (void)state;
    tree_fill(users);
    const struct arguments a = {.registries = {"https://quay.io", "https://linked.io"},
                                .prepend = true};
    for (int run = 0; run < 2; run++) { /* the second reads the link in _backup */
        must_configure(&a);
        assert_file("c/quay.io/hosts.toml",
                    "server = 'https://quay.io'\n\n" OURS "\n\n[host.'https://q']\nca = 'q'\n",
                    0644);
    }
    assert_file("c/linked.io/hosts.toml", "server = 'https://linked.io'\n\n" OURS, 0644);
}

static void what_the_user_did_since_stays(void **state)
{
    (void)state;
    tree_fill(users);
    must_configure(&(struct arguments){.registries = {"https://docker.io"}});
    tree_run("mkdir c/late.io && echo late > c/late.io/hosts.toml && echo n > c/docker.io/new && "
             "echo edited > c/ghcr.io/hosts.toml && rm -r c/quay.io");
    must_configure(&(struct arguments){.registries = {"https://docker.io"}});
    assert_seen(CERTSD_NOT_MIRRORED, "late.io");
    must_configure(&(struct arguments){.registries = {"https://docker.io", "https://late.io"}});
    assert_file("c/late.io/hosts.toml", "server = 'https://late.io'\n\n" OURS, 0644);
    must_clean();
    assert_file("c/late.io/hosts.toml", "late\n", 0644);
    assert_file("c/ghcr.io/hosts.toml", "edited\n", 0644);
    assert_file("c/docker.io/new", "n\n", 0644);
    assert_false(is_there("c/quay.io"));
    assert_false(is_there("c/_backup"));
}

static void bootstrap_files_are_ours_if_they_say_so(void **state)
{
    (void)state;
    static const struct entry entries[] = {
        {"c/", 0755, NULL},
        {"c/ghcr.io/", 0755, NULL},
        {"c/ghcr.io/hosts.toml", 0644, BOOTSTRAP},
        {"c/docker.io/", 0755, NULL},
        {"c/docker.io/hosts.toml", 0644, "server = \"https://docker.io\"\n# a template's\n"},
        {"c/certs.io/", 0755, NULL},
        {"c/certs.io/hosts.toml", 0644, BOOTSTRAP},
        {"c/certs.io/ca.crt", 0644, "ca"},
        {NULL, 0, NULL},
    };
    tree_fill(entries);
    must_configure(&(struct arguments){.registries = {"https://docker.io", "https://ghcr.io"},
                                       .prepend = true});
    assert_file("c/ghcr.io/hosts.toml", "server = 'https://ghcr.io'\n\n" OURS, 0644);
    assert_false(is_there("c/_backup/ghcr.io"));
    assert_true(is_there("c/_backup/docker.io/hosts.toml"));
    assert_false(is_there("c/certs.io/hosts.toml")); /* one that nothing replaces goes as well */
    must_clean();
    assert_false(is_there("c/ghcr.io"));
    assert_file("c/docker.io/hosts.toml", entries[4].text, 0644);
    assert_file("c/certs.io/ca.crt", "ca", 0644);

    /* Even where we never ran. */
    tree_run("mkdir c/ghcr.io && printf '# spegel bootstrap\\n' > c/ghcr.io/hosts.toml");
    must_clean();
    assert_false(is_there("c/ghcr.io"));
    assert_true(is_there("c/docker.io/hosts.toml"));
}

static void bootstrap_files_that_the_go_implementation_moved_away_do_not_come_back(void **state)
{
    (void)state;
    char *golden = without_bootstraps();
    tree_run(GO_CONFIGURE);
    assert_true(is_there("c/_backup/ghcr.io/hosts.toml"));
    must_configure(&(struct arguments){.registries = {"https://ghcr.io"}, .prepend = true});
    /* Neither where its host would stay behind the mirror, nor where the mirror is not asked. */
    assert_file("c/ghcr.io/hosts.toml", "server = 'https://ghcr.io'\n\n" OURS, 0644);
    assert_false(is_there("c/docker.io"));
    assert_false(is_there("c/_backup/ghcr.io"));
    assert_false(is_there("c/_backup/docker.io"));
    assert_false(is_there("c/_backup/certs.io/hosts.toml"));
    assert_true(is_there("c/_backup/certs.io/ca.crt"));
    assert_true(is_there("c/mine.io/hosts.toml")); /* the mark is the first line, or none */
    must_clean();
    assert_same_and_free(golden, tree_snapshot(""));
}

static void cleaning_up_after_the_go_implementation_leaves_no_bootstrap_file(void **state)
{
    (void)state;
    char *golden = without_bootstraps();
    tree_run(GO_CONFIGURE);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct error err;
        int r = certsd_cleanup(tree_path("c"), NULL, &err);
        assert_true(r == 0 || r == -ENOMEM);
    });
    must_clean();
    assert_same_and_free(golden, tree_snapshot(""));
}

static void a_password_is_for_its_owner_only(void **state)
{
    (void)state;
    struct buf header;
    struct error err;
    tree_run("mkdir auth && printf 'hello\\n' > auth/username && printf world > auth/password");
    buf_init(&header, 8192);
    assert_int_equal(credentials_read(tree_path("auth"), &header, &err), 0);
    assert_string_equal(header.data, "Basic aGVsbG86d29ybGQ=");
    must_configure(&(struct arguments){.registries = {"_default"}, .authorization = header.data});
    assert_file("c/_default/hosts.toml",
                OURS "\n[host.'" TARGET "'.header]\nAuthorization = 'Basic aGVsbG86d29ybGQ='",
                0600);
    credentials_done(&header);
    must_configure(&(struct arguments){.registries = {"_default"}});
    assert_file("c/_default/hosts.toml", OURS, 0644);

    tree_run("rm auth/username auth/password");
    assert_int_equal(credentials_read(tree_path("auth"), &header, &err), 0);
    assert_int_equal(header.len, 0);
    tree_run("mkdir auth/password");
    assert_true(credentials_read(tree_path("auth"), &header, &err) < 0);
    credentials_done(&header);
}

static void containerds_other_name_for_a_port_is_respected(void **state)
{
    (void)state;
    tree_run("mkdir -p c/foo.bar_5000_ && echo 'ca = \"x\"' > c/foo.bar_5000_/hosts.toml");
    must_configure(&(struct arguments){.registries = {"http://foo.bar:5000"}});
    assert_file("c/foo.bar_5000_/hosts.toml", "server = 'http://foo.bar:5000'\n\n" OURS, 0644);
    assert_false(is_there("c/foo.bar:5000"));
}

static void nothing_is_written_when_anything_is_wrong(void **state)
{
    (void)state;
    tree_fill(users);
    tree_run("mkdir c/bad.io && printf 'a = [\\n' > c/bad.io/hosts.toml && chmod 644 "
             "c/bad.io/hosts.toml");
    char *before = tree_snapshot("");
    static const struct {
        struct arguments arguments;
        const char *says;
    } rows[] = {
        {{.registries = {"https://docker.io", "ghcr.io"}}, "\"ghcr.io\""},
        {{.registries = {"https://docker.io", "http://docker.io"}}, "docker.io"},
        {{.registries = {"https://docker.io", "https://bad.io"}, .prepend = true},
         "bad.io/hosts.toml: line 2"},
        {{.registries = {"https://docker.io"}, .authorization = "Basic '"}, "header"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        assert_int_equal(configure(&rows[i].arguments, &err), -EINVAL);
        assert_non_null(strstr(err.text, rows[i].says));
        char *after = tree_snapshot("");
        assert_string_equal(before, after);
        free(after);
    }
    const struct configure_spec none = {.path = tree_path("other")};
    struct error err = {0};
    assert_int_equal(certsd_configure(&none, NULL, &err), -EINVAL);
    assert_false(is_there("other"));
    free(before);
}

static void what_is_in_the_way_is_one_clear_sentence(void **state)
{
    (void)state;
    struct error err = {0};
    tree_run("echo x > c");
    assert_true(configure(&(struct arguments){.registries = {"_default"}}, &err) < 0);
    assert_non_null(strstr(err.text, tree_path("c")));
    assert_true(certsd_cleanup(tree_path("c"), NULL, &err) < 0);
}

static void without_memory_a_second_run_still_ends_the_same(void **state)
{
    (void)state;
    tree_fill(users);
    char *before = tree_snapshot("");
    const struct arguments a = {.registries = {"https://docker.io", "https://linked.io"},
                                .prepend = true};
    must_configure(&a);
    char *golden = tree_snapshot("");
    must_clean();
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct error err;
        int r = configure(&a, &err);
        assert_true(r == 0 || r == -ENOMEM || r == -ENOBUFS);
    });
    must_configure(&a);
    assert_same_and_free(golden, tree_snapshot(""));
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct error err;
        int r = certsd_cleanup(tree_path("c"), NULL, &err);
        assert_true(r == 0 || r == -ENOMEM);
    });
    must_clean();
    assert_same_and_free(before, tree_snapshot(""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_directory_that_is_not_there_is_made),
        TEST(only_what_is_mirrored_is_replaced_and_all_is_put_back),
        TEST(the_go_implementation_can_clean_up_after_us),
        TEST(we_can_clean_up_after_the_go_implementation),
        TEST(an_upgrade_brings_back_what_was_moved_away),
        TEST(a_shorter_list_gives_back_the_rest),
        TEST(hosts_of_their_own_stay_behind_the_mirror),
        TEST(a_link_is_read_where_it_stood),
        TEST(what_the_user_did_since_stays),
        TEST(bootstrap_files_are_ours_if_they_say_so),
        TEST(bootstrap_files_that_the_go_implementation_moved_away_do_not_come_back),
        TEST(cleaning_up_after_the_go_implementation_leaves_no_bootstrap_file),
        TEST(a_password_is_for_its_owner_only),
        TEST(containerds_other_name_for_a_port_is_respected),
        TEST(nothing_is_written_when_anything_is_wrong),
        TEST(what_is_in_the_way_is_one_clear_sentence),
        TEST(without_memory_a_second_run_still_ends_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
