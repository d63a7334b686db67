#include "grpc/status.h"

#include <errno.h>
#include <string.h>

#include "support.h"

static void test_a_status_header_is_a_known_code_or_unknown(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        enum grpc_code code;
    } table[] = {{"0", GRPC_OK},       {"5", GRPC_NOT_FOUND}, {"16", GRPC_UNAUTHENTICATED},
                 {"17", GRPC_UNKNOWN}, {"99", GRPC_UNKNOWN},  {"", GRPC_UNKNOWN},
                 {"-1", GRPC_UNKNOWN}, {"0x", GRPC_UNKNOWN},  {"000", GRPC_UNKNOWN},
                 {" 0", GRPC_UNKNOWN}, {"05", GRPC_NOT_FOUND}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(grpc_code_parse(table[i].value, strlen(table[i].value)), table[i].code);
    }
}

static void test_every_code_but_ok_has_an_error(void **state)
{
    (void)state;
    assert_int_equal(grpc_code_error(GRPC_OK), 0);
    for (int code = 1; code < 64; code++) {
        assert_true(grpc_code_error((enum grpc_code)code) < 0);
        assert_non_null(grpc_code_name((enum grpc_code)code));
    }
    assert_int_equal(grpc_code_error(GRPC_NOT_FOUND), -ENOENT);
    assert_int_equal(grpc_code_error(GRPC_CANCELLED), -ECANCELED);
    assert_int_equal(grpc_code_error(GRPC_DEADLINE_EXCEEDED), -ETIMEDOUT);
    assert_string_equal(grpc_code_name(GRPC_DATA_LOSS), "DATA_LOSS");
}

static void test_messages_are_decoded_cut_and_printable(void **state)
{
    (void)state;
    static const struct {
        const char *value, *text;
    } table[] = {
        {"plain words", "plain words"},
        {"not%20found%3a x", "not found: x"},
        {"caf%C3%A9", "caf\xc3\xa9"},
        {"100%", "100%"},
        {"%4", "%4"},
        {"%zz%41", "%zzA"},
        {"%%41", "%A"},
        {"a%00b%0Ac%7f", "a?b?c?"},
        {"0123456789012345678901234567890123456789", "0123456789012345678901234567890"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char text[32];
        grpc_message_decode(table[i].value, strlen(table[i].value), text, sizeof(text));
        assert_string_equal(text, table[i].text);
    }
}

static void test_a_status_that_is_set_is_cut_to_fit(void **state)
{
    (void)state;
    char text[2 * LIMIT_GRPC_STATUS_TEXT_BYTES];
    memset(text, 'x', sizeof(text) - 1);
    text[0] = '\n';
    text[sizeof(text) - 1] = 0;
    struct grpc_status status;
    grpc_status_set(&status, GRPC_ABORTED, "%s", text);
    assert_int_equal(status.code, GRPC_ABORTED);
    assert_int_equal(status.error, -EAGAIN);
    assert_int_equal(strlen(status.text), LIMIT_GRPC_STATUS_TEXT_BYTES - 1);
    assert_int_equal(status.text[0], '?');
}

static void test_http_and_reset_codes_follow_the_published_tables(void **state)
{
    (void)state;
    static const struct {
        unsigned http;
        enum grpc_code code;
    } http[] = {{400, GRPC_INTERNAL},          {401, GRPC_UNAUTHENTICATED},
                {403, GRPC_PERMISSION_DENIED}, {404, GRPC_UNIMPLEMENTED},
                {429, GRPC_UNAVAILABLE},       {502, GRPC_UNAVAILABLE},
                {503, GRPC_UNAVAILABLE},       {504, GRPC_UNAVAILABLE},
                {500, GRPC_UNKNOWN},           {204, GRPC_UNKNOWN}};
    for (size_t i = 0; i < sizeof(http) / sizeof(http[0]); i++) {
        assert_int_equal(grpc_code_from_http(http[i].http), http[i].code);
    }
    static const enum grpc_code reset[] = {
        /* by RFC 9113's error code, from NO_ERROR */
        GRPC_INTERNAL,         GRPC_INTERNAL, GRPC_INTERNAL, GRPC_INTERNAL,
        GRPC_INTERNAL,         GRPC_INTERNAL, GRPC_INTERNAL, GRPC_UNAVAILABLE,
        GRPC_CANCELLED,        GRPC_INTERNAL, GRPC_INTERNAL, GRPC_RESOURCE_EXHAUSTED,
        GRPC_PERMISSION_DENIED};
    for (unsigned i = 0; i < sizeof(reset) / sizeof(reset[0]); i++) {
        assert_int_equal(grpc_code_from_reset(i), reset[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_status_header_is_a_known_code_or_unknown),
        cmocka_unit_test(test_every_code_but_ok_has_an_error),
        cmocka_unit_test(test_messages_are_decoded_cut_and_printable),
        cmocka_unit_test(test_a_status_that_is_set_is_cut_to_fit),
        cmocka_unit_test(test_http_and_reset_codes_follow_the_published_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
