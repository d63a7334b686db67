#include <errno.h>
#include <string.h>

#include "oci/json.h"
#include "oci/problem.h"
#include "support.h"

static void an_error_body_is_what_the_spec_says(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(problem_write(&b, "NAME_INVALID", "no such \"thing\"\n", NULL), 0);
    assert_string_equal(b.data, "{\"errors\":[{\"code\":\"NAME_INVALID\",\"message\":"
                                "\"no such \\\"thing\\\"\\u000a\"}]}");
    buf_clear(&b);
    assert_int_equal(problem_write(&b, "A", "b", "{\"attempts\":[]}"), 0);
    assert_string_equal(
        b.data, "{\"errors\":[{\"code\":\"A\",\"message\":\"b\",\"detail\":{\"attempts\":[]}}]}");
    buf_done(&b);
}

static void whatever_the_text_holds_it_stays_json(void **state)
{
    (void)state;
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"", "\"\""},
        {"\\\"/", "\"\\\\\\\"/\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"\xc3", "\"\xef\xbf\xbd\""},                                 /* cut short */
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
        {"\xe0\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* overlong */
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf b;
        buf_init(&b, 256);
        assert_int_equal(json_write_string(&b, rows[i].text), 0);
        assert_string_equal(b.data, rows[i].json);
        buf_done(&b);
    }
}

static void a_body_over_the_cap_changes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 20);
    assert_int_equal(buf_puts(&b, "before"), 0);
    assert_int_equal(problem_write(&b, "CODE", "message", NULL), -ENOBUFS);
    assert_string_equal(b.data, "before");
    assert_int_equal(b.len, 6);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_body_is_what_the_spec_says),
        cmocka_unit_test(whatever_the_text_holds_it_stays_json),
        cmocka_unit_test(a_body_over_the_cap_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
