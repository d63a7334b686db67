#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/identity.h"

static char directory[] = "/tmp/spegel-identity-XXXXXX";

static void a_node_keeps_its_id_and_never_its_boot(void **state)
{
    (void)state;
    struct identity first, again;
    assert_int_equal(identity_load(directory, "label", 5000, &first), 0);
    assert_true(first.id != 0);
    assert_int_equal(first.boot_ms, 5000);
    assert_int_equal(identity_save(directory, "label", &first, NULL), 0);
    /* The clock went back: the boot still is a later one. */
    assert_int_equal(identity_load(directory, "label", 1000, &again), 0);
    assert_int_equal(again.id, first.id);
    assert_int_equal(again.boot_ms, 5001);
}

static void another_cluster_means_another_node(void **state)
{
    (void)state;
    struct identity first, other;
    assert_int_equal(identity_load(directory, "label", 5000, &first), 0);
    assert_int_equal(identity_save(directory, "label", &first, NULL), 0);
    assert_int_equal(identity_load(directory, "other", 5000, &other), 0);
    assert_true(other.id != first.id);
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
        assert_int_equal(identity_load(directory, "label", 7, &identity), 0);
        assert_true(identity.id != 0);
        assert_int_equal(identity.boot_ms, 7);
    }
}

static void without_a_directory_it_is_new_each_time(void **state)
{
    (void)state;
    struct identity a, b;
    assert_int_equal(identity_load(NULL, "label", 7, &a), 0);
    assert_int_equal(identity_load("/proc/nowhere/dir", "label", 7, &b), 0);
    assert_true(a.id != b.id);
    struct error err;
    assert_int_equal(identity_save(NULL, "label", &a, &err), 0);
    assert_true(identity_save("/proc/nowhere/dir", "label", &a, &err) < 0);
    assert_non_null(strstr(err.text, "/proc/nowhere/dir"));
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
        cmocka_unit_test(a_damaged_file_is_replaced),
        cmocka_unit_test(without_a_directory_it_is_new_each_time),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
