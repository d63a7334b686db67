/* Configuring and cleaning up, killed before each change to the disk in turn, then done again. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "certsd/cleanup.h"
#include "certsd/configure.h"

static unsigned calls_left; /* 0: never crash */
static bool few_rights;     /* without capabilities, among files that are not root's */

/* These stand before the C library's, for our own code only. */
static void crash_point(void)
{
    if (calls_left && --calls_left == 0) {
        _exit(77);
    }
}

/* What a process that dies has written the kernel has: a real one would only take time, 30,000
 * times. */
int fsync(int fd)
{
    crash_point();
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    crash_point();
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    crash_point();
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *name, int flags)
{
    crash_point();
    return (int)syscall(SYS_unlinkat, dir, name, flags);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
    crash_point();
    return (int)syscall(SYS_mkdirat, dir, name, mode);
}

int fchmod(int fd, mode_t mode)
{
    crash_point();
    return (int)syscall(SYS_fchmod, fd, mode);
}

#define OURS "[host.'http://m:1']\ncapabilities = ['pull', 'resolve']\ndial_timeout = '200ms'"
#define BOOTSTRAP "# spegel bootstrap\n[host.'http://127.0.0.1:30000']\n"
#define THEIRS "ca = 'x'\n\n[host.'https://a']\n"

/* One of them has by chance the very form in which we write: it must not be lost for that. */
static const struct entry users[] = {
    {"c/", 0755, NULL},
    {"c/docker.io/", 0710, NULL},
    {"c/docker.io/hosts.toml", 0640, THEIRS},
    {"c/docker.io/key.pem", 0400, "key"},
    {"c/ghcr.io/", 0755, NULL},
    {"c/ghcr.io/hosts.toml", 0600, OURS "\n"},
    {"c/linked.io", 0, "ghcr.io"},
    {"c/boot.io/", 0755, NULL},
    {"c/boot.io/hosts.toml", 0644, BOOTSTRAP},
    {"c/new.io/", 0755, NULL},
    {"c/new.io/hosts.toml", 0644, BOOTSTRAP},
    {"c/tls.io/", 0755, NULL},
    {"c/tls.io/hosts.toml", 0644, BOOTSTRAP},
    {"c/tls.io/ca.crt", 0644, "ca"},
    {NULL, 0, NULL},
};

static int do_configure(void)
{
    static char *const registries[] = {"https://docker.io", "https://linked.io", "https://new.io",
                                       "_default"};
    static char *const targets[] = {"http://m:1"};
    const struct configure_spec spec = {.path = tree_path("c"),
                                        .registries = registries,
                                        .registry_count = 4,
                                        .targets = targets,
                                        .target_count = 1,
                                        .resolve_tags = true,
                                        .prepend_existing = true};
    return certsd_configure(&spec, NULL, NULL);
}

static int do_clean(void)
{
    return certsd_cleanup(tree_path("c"), NULL, NULL);
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capset, &header, none) < 0) {
        _exit(1);
    }
}

/* Runs it in a child that dies at the n-th change (0: never); false when it got through. */
static bool crashes(int (*run)(void), unsigned n)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        calls_left = n;
        if (few_rights) {
            drop_capabilities();
        }
        _exit(run() < 0 ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
    return WEXITSTATUS(status) == 77;
}

static void run_whole(int (*run)(void))
{
    if (few_rights) {
        assert_false(crashes(run, 0));
    } else {
        assert_int_equal(run(), 0); /* where a sanitizer sees it */
    }
}

/* A file of ghcr.io that may not be read, a key beside one that may, and a directory that may not
 * be changed. */
static void give_away(void)
{
    tree_run("chown 1000:1000 c/docker.io/* c/ghcr.io/hosts.toml && "
             "chmod 644 c/docker.io/hosts.toml && cp c/docker.io/hosts.toml c/new.io && "
             "chown -R 1000:1000 c/new.io");
}

static void refill(void (*before)(void))
{
    tree_run("rm -rf c");
    tree_fill(users);
    if (few_rights) {
        give_away();
    }
    if (before) {
        before();
    }
}

/* At no moment is a hosts.toml anything but whole: theirs, ours, or the Go implementation's. */
static void assert_whole(void)
{
    struct buf text;
    buf_init(&text, 65536);
    if (access(tree_path("c/docker.io/hosts.toml"), F_OK) == 0) {
        tree_put_file(&text, tree_path("c/docker.io/hosts.toml"));
        assert_true(!strcmp(text.data, THEIRS) || !strcmp(text.data, OURS "\n") ||
                    strstr(text.data, "[host.'https://a']\n"));
    }
    buf_done(&text);
}

static void sweep(int (*run)(void), void (*before)(void), const char *golden)
{
    unsigned n = 1;
    for (bool crashed = true; crashed; n++) {
        refill(before);
        crashed = crashes(run, n);
        assert_whole();
        run_whole(run);
        char *after = tree_snapshot("c");
        if (strcmp(after, golden)) {
            /* cmocka cuts its messages short. */
            fprintf(stderr, "got\n%s\nnot\n%s", after, golden);
            fail_msg("after a crash at change %u", n);
        }
        free(after);
    }
    assert_true(n > 20); /* it really crashed, and often */
}

static void configured(void)
{
    run_whole(do_configure);
}

/* As the Go implementation leaves it: all moved away. */
static void configured_by_go(void)
{
    tree_run(
        "cd c && mkdir _backup && chmod 755 _backup && mv *.io _backup && mkdir docker.io new.io "
        "&& cp _backup/ghcr.io/hosts.toml docker.io && cp docker.io/hosts.toml new.io");
}

static void remove_bootstraps(void)
{
    tree_run("rm -r c/boot.io c/tls.io/hosts.toml");
    if (!few_rights) {
        tree_run("rm -r c/new.io");
    }
}

static char *golden_after(void (*before)(void), int (*run)(void))
{
    refill(before);
    if (run) {
        run_whole(run);
    }
    return tree_snapshot("c");
}

static void configuring_is_finished_by_the_next_run(void **state)
{
    (void)state;
    char *golden = golden_after(NULL, do_configure);
    sweep(do_configure, NULL, golden);
    free(golden);
}

static void cleaning_up_is_finished_by_the_next_run(void **state)
{
    (void)state;
    char *golden = golden_after(remove_bootstraps, NULL);
    sweep(do_clean, configured, golden);
    free(golden);
}

static void taking_over_from_the_go_implementation_is_finished_by_the_next_run(void **state)
{
    (void)state;
    char *golden = golden_after(configured_by_go, do_configure);
    sweep(do_configure, configured_by_go, golden);
    free(golden);
    golden = golden_after(remove_bootstraps, NULL);
    sweep(do_clean, configured_by_go, golden);
    free(golden);
}

static int with_few_rights(void **state)
{
    few_rights = true;
    return tree_begin(state);
}

static int with_all_rights(void **state)
{
    few_rights = false;
    return tree_end(state);
}

/* There a directory that may not be changed is left for its owner, and a copy is in force. */
static void taking_over_with_few_rights_is_finished_by_the_next_run(void **state)
{
    (void)state;
    if (geteuid()) {
        skip();
    }
    char *golden = golden_after(configured_by_go, do_configure);
    sweep(do_configure, configured_by_go, golden);
    free(golden);
    golden = golden_after(configured_by_go, do_clean);
    assert_non_null(strstr(golden, "/_backup.left/new.io/hosts.toml 100644 1000:1000\n" THEIRS));
    sweep(do_clean, configured_by_go, golden);
    free(golden);
}

static void with_few_rights_each_is_finished_by_the_next_run(void **state)
{
    if (geteuid()) {
        skip();
    }
    configuring_is_finished_by_the_next_run(state);
    cleaning_up_is_finished_by_the_next_run(state);
}

#define FEW_RIGHTS(name) cmocka_unit_test_setup_teardown(name, with_few_rights, with_all_rights)
#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(configuring_is_finished_by_the_next_run),
        TEST(cleaning_up_is_finished_by_the_next_run),
        TEST(taking_over_from_the_go_implementation_is_finished_by_the_next_run),
        FEW_RIGHTS(with_few_rights_each_is_finished_by_the_next_run),
        FEW_RIGHTS(taking_over_with_few_rights_is_finished_by_the_next_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
