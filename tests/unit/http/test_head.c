#include "support.h"

#include <errno.h>
#include <string.h>

#include "http/head.h"

static void a_head_is_written_line_by_line(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(http_head_status(&b, 206), 0);
    assert_int_equal(http_head_field(&b, "Content-Type", "text/plain"), 0);
    assert_int_equal(http_head_field_number(&b, "Content-Length", INT64_MAX), 0);
    assert_int_equal(http_head_end(&b), 0);
    assert_string_equal(b.data, "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\n"
                                "Content-Length: 9223372036854775807\r\n\r\n");
    buf_done(&b);
}

static void values_that_would_split_the_head_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"A", "b\r\nC: d"}, {"A", "b\n"}, {"A", "\r"}, {"A\r\nB", "c"}, {"A:", "b"}, {"", "b"},
    };
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(http_head_field(&b, bad[i][0], bad[i][1]), -EINVAL);
    }
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

static void a_field_that_does_not_fit_leaves_nothing_behind(void **state)
{
    (void)state;
    for (size_t max = 0; max < 12; max++) {
        struct buf b;
        buf_init(&b, max);
        assert_int_equal(http_head_field(&b, "Name", "value"), max < 13 ? -ENOBUFS : 0);
        assert_int_equal(b.len, 0);
        buf_done(&b);
    }
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct buf b;
        buf_init(&b, 1000);
        int r = http_head_field(&b, "A-rather-long-name-for-a-header-field",
                                "and a value that makes the buffer grow a second time");
        assert_true(r == -ENOMEM ? b.len == 0 : r == 0);
        buf_done(&b);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_written_line_by_line),
        cmocka_unit_test(values_that_would_split_the_head_are_refused),
        cmocka_unit_test(a_field_that_does_not_fit_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
