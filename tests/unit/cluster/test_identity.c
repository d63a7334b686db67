#include "support.h"

#include <stdbool.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster/identity.h"

static char directory[] = "/tmp/spegel-identity-XXXXXX";

static void a_node_keeps_its_id_and_never_its_boot(void **state)
{
    (void)state;
    struct identity first, again;
    assert_int_equal(identity_load(directory, "label", NULL, 5000, &first), 0);
    assert_true(first.id != 0);
    assert_int_equal(first.boot_ms, 5000);
    assert_int_equal(identity_save(directory, "label", NULL, &first, NULL), 0);
    /* The clock went back: the boot still is a later one. */
    assert_int_equal(identity_load(directory, "label", NULL, 1000, &again), 0);
    assert_int_equal(again.id, first.id);
    assert_int_equal(again.boot_ms, 5001);
}

static void another_cluster_means_another_node(void **state)
{
    (void)state;
    struct identity first, other;
    assert_int_equal(identity_load(directory, "label", NULL, 5000, &first), 0);
    assert_int_equal(identity_save(directory, "label", NULL, &first, NULL), 0);
    assert_int_equal(identity_load(directory, "other", NULL, 5000, &other), 0);
    assert_true(other.id != first.id);
}

/* Writes what a saved file would be, with one of its fields replaced. */
static void save_with(const struct identity *identity, const char *field, const char *value)
{
    char path[256], text[256] = {0};
    (void)snprintf(path, sizeof path, "%s/gossip-identity", directory);
    assert_int_equal(identity_save(directory, "label", NULL, identity, NULL), 0);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    (void)fclose(f);
    char *at = strstr(text, field);
    assert_non_null(at);
    at += strlen(field);
    assert_true(strlen(at) > strlen(value)); /* as long as what it replaces, a line's end after */
    memcpy(at, value, strlen(value));
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* As a cloned data directory is: whole and readable, and bound to another host and machine-id. */
static void a_file_that_was_made_on_another_machine_is_not_used(void **state)
{
    (void)state;
    static const struct {
        const char *field, *value;
        bool used;
    } cases[] = {
        {"bound ", "", true}, /* as it was saved */
        {"bound ", "000000000001", false},
        {"bound ", "ffffffffffff", false},
        {"id ", "0123456789ab", true}, /* what is bound is not the id */
    };
    struct identity mine = {.id = UINT64_C(0x0123456789ab), .boot_ms = 5000};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct identity loaded;
        save_with(&mine, cases[i].field, cases[i].value);
        assert_int_equal(identity_load(directory, "label", NULL, 1000, &loaded), 0);
        assert_int_equal(loaded.id == mine.id, cases[i].used);
        assert_int_equal(loaded.boot_ms, cases[i].used ? 5001 : 1000);
    }
}

static void a_damaged_file_is_replaced(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "garbage", "id 000000000000\nboot 1\nbound x\n",
                                        "id zz\nboot 1\nbound x\n",
                                        "id 010203040506\nboot 99999999999999999999\nbound x\n"};
    char path[256];
    (void)snprintf(path, sizeof path, "%s/gossip-identity", directory);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        (void)fputs(texts[i], f);
        (void)fclose(f);
        struct identity identity;
        assert_int_equal(identity_load(directory, "label", NULL, 7, &identity), 0);
        assert_true(identity.id != 0);
        assert_int_equal(identity.boot_ms, 7);
    }
}

static void without_a_directory_it_is_new_each_time(void **state)
{
    (void)state;
    struct identity a, b;
    assert_int_equal(identity_load(NULL, "label", NULL, 7, &a), 0);
    assert_int_equal(identity_load("/proc/nowhere/dir", "label", NULL, 7, &b), 0);
    assert_true(a.id != b.id);
    struct error err;
    assert_int_equal(identity_save(NULL, "label", NULL, &a, &err), 0);
    assert_true(identity_save("/proc/nowhere/dir", "label", NULL, &a, &err) < 0);
    assert_non_null(strstr(err.text, "/proc/nowhere/dir"));
}

/* Under another host name, as each pod of a DaemonSet has, in a UTS namespace of its own; exits
 * with 0 if the identity is `want`, 1 if not, 77 where that is not allowed. */
static int identity_is_elsewhere(const char *node_name, uint64_t want)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if ((unshare(CLONE_NEWUTS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWUTS) < 0) ||
            sethostname("spegel-x7k2p", 12) < 0) {
            _exit(77);
        }
        struct identity identity;
        int r = identity_load(directory, "label", node_name, 9000, &identity);
        _exit(r == 0 && identity.id == want ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_node_with_a_name_is_the_same_under_any_host_name(void **state)
{
    (void)state;
    static const struct {
        const char *saved, *loaded;
        int same;
    } rows[] = {
        {"node-1", "node-1", true}, {"node-1", "node-2", false}, {"node-1", "node-10", false},
        {"192.0.2.1", NULL, false}, {NULL, "node-1", false},     {NULL, NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct identity made, here;
        assert_int_equal(identity_load(NULL, "label", rows[i].saved, 5000, &made), 0);
        assert_int_equal(identity_save(directory, "label", rows[i].saved, &made, NULL), 0);
        assert_int_equal(identity_load(directory, "label", rows[i].saved, 5000, &here), 0);
        assert_int_equal(here.id, made.id);
        int elsewhere = identity_is_elsewhere(rows[i].loaded, made.id);
        if (elsewhere == 77) {
            skip();
        }
        assert_int_equal(elsewhere, rows[i].same ? 0 : 1);
    }
}

static void a_name_of_any_length_will_do(void **state)
{
    (void)state;
    static char name[100000];
    memset(name, 'n', sizeof name - 1);
    struct identity made, again, other;
    assert_int_equal(identity_load(NULL, "label", name, 5000, &made), 0);
    assert_int_equal(identity_save(directory, "label", name, &made, NULL), 0);
    assert_int_equal(identity_load(directory, "label", name, 5000, &again), 0);
    assert_int_equal(again.id, made.id);
    name[sizeof name - 2] = 'm';
    assert_int_equal(identity_load(directory, "label", name, 5000, &other), 0);
    assert_true(other.id != made.id);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    char path[256];
    (void)snprintf(path, sizeof path, "%s/gossip-identity", directory);
    (void)unlink(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_keeps_its_id_and_never_its_boot),
        cmocka_unit_test(another_cluster_means_another_node),
        cmocka_unit_test(a_file_that_was_made_on_another_machine_is_not_used),
        cmocka_unit_test(a_damaged_file_is_replaced),
        cmocka_unit_test(without_a_directory_it_is_new_each_time),
        cmocka_unit_test(a_node_with_a_name_is_the_same_under_any_host_name),
        cmocka_unit_test(a_name_of_any_length_will_do),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
