#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void what_is_appended_stands_there_nul_terminated(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_puts(&b, "one "), 0);
    assert_int_equal(buf_printf(&b, "%d %s", 2, "three"), 0);
    assert_int_equal(buf_append(&b, "\0x", 2), 0);
    assert_int_equal(b.len, 13);
    assert_memory_equal(b.data, "one 2 three\0x", 14);
    buf_done(&b);
}

static void an_append_over_the_cap_changes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    assert_int_equal(buf_puts(&b, "12345678"), 0);
    assert_int_equal(buf_puts(&b, "9"), -ENOBUFS);
    assert_int_equal(buf_printf(&b, "%s", "9"), -ENOBUFS);
    assert_null(buf_reserve(&b, 1));
    assert_string_equal(b.data, "12345678");
    buf_done(&b);
}

static void consuming_keeps_the_rest(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf_printf(&b, "%02d", i), 0);
    }
    buf_consume(&b, 196);
    assert_string_equal(b.data, "9899");
    buf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

static void reserve_and_commit_write_in_place(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    char *p = buf_reserve(&b, 500);
    assert_non_null(p);
    memset(p, 'x', 500);
    buf_commit(&b, 300);
    assert_int_equal(strlen(b.data), 300);
    char *taken = buf_take(&b);
    assert_null(b.data);
    free(taken);
}

static void grow_until_it_fails(void)
{
    struct buf b;
    buf_init(&b, 4096);
    for (int i = 0; i < 100; i++) {
        size_t before = b.len;
        int r = buf_puts(&b, "0123456789");
        assert_true(r == 0 || (r == -ENOMEM && b.len == before));
    }
    buf_done(&b);
}

static void running_out_of_memory_loses_only_that_append(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP(grow_until_it_fails());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_stands_there_nul_terminated),
        cmocka_unit_test(an_append_over_the_cap_changes_nothing),
        cmocka_unit_test(consuming_keeps_the_rest),
        cmocka_unit_test(reserve_and_commit_write_in_place),
        cmocka_unit_test(running_out_of_memory_loses_only_that_append),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
