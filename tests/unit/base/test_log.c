#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"

/* Runs log_write with stderr on a pipe and returns the line. */
static size_t logged(char *line, size_t bytes, const char *message, const struct log_field *fields)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_write(LOG_WARN, message, fields);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    ssize_t n = read(ends[0], line, bytes - 1);
    assert_true(n > 0);
    line[n] = 0;
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(saved);
    return (size_t)n;
}

static void a_line_is_one_json_object(void **state)
{
    (void)state;
    char line[16384];
    (void)logged(line, sizeof line, "it \"works\"",
                 (struct log_field[]){LOG_STR("name", "a\nb\\\x80"),
                                      LOG_INT("count", -7),
                                      LOG_FLAG("ok", true),
                                      LOG_STR("none", NULL),
                                      {0}});
    assert_non_null(strstr(line, "\"level\":\"WARN\",\"msg\":\"it \\\"works\\\"\""));
    assert_non_null(strstr(line, "\"name\":\"a\\u000ab\\\\\\u0080\",\"count\":-7,\"ok\":true,"
                                 "\"none\":null}\n"));
}

static void a_monstrous_field_is_cut_and_the_line_stays_json(void **state)
{
    (void)state;
    char line[16384];
    char *monster = malloc(100001);
    assert_non_null(monster);
    memset(monster, '"', 100000);
    monster[100000] = 0;
    size_t n = logged(line, sizeof line, "m", (struct log_field[]){LOG_STR("x", monster), {0}});
    assert_true(n < 8192);
    assert_string_equal(line + n - 3, "\"}\n");
    free(monster);
}

static void levels_are_named_in_any_case(void **state)
{
    (void)state;
    enum log_level level = LOG_INFO;
    assert_int_equal(log_parse_level("debug", &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_parse_level("WARN", &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_parse_level("loud", &level), -EINVAL);
    assert_int_equal(level, LOG_WARN);
}

static void errors_are_wrapped_from_the_outside(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(error_set(&err, -ENOENT, "no %s", "file"), -ENOENT);
    assert_int_equal(error_wrap(&err, -ENOENT, "reading %d", 7), -ENOENT);
    assert_string_equal(err.text, "reading 7: no file");
    assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(error_wrap(NULL, -EIO, "x"), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_json_object),
        cmocka_unit_test(a_monstrous_field_is_cut_and_the_line_stays_json),
        cmocka_unit_test(levels_are_named_in_any_case),
        cmocka_unit_test(errors_are_wrapped_from_the_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
