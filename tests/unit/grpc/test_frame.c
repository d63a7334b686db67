#include "grpc/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "support.h"

#define MAX_BYTES 1000

/* Feeds n bytes in pieces; returns how many messages came out, or the error. The lengths of the
 * messages are added up in *ret_bytes. */
static int feed(const void *stream, size_t n, size_t step, size_t *ret_bytes)
{
    struct grpc_decoder d;
    grpc_decoder_init(&d, MAX_BYTES);
    int messages = 0, r = 0;
    *ret_bytes = 0;
    for (size_t at = 0; at < n && r >= 0; at += step) {
        const uint8_t *bytes = (const uint8_t *)stream + at;
        size_t left = n - at < step ? n - at : step;
        while (left > 0 && (r = grpc_decoder_read(&d, &bytes, &left)) > 0) {
            messages++;
            *ret_bytes += d.message.len;
            assert_false(grpc_decoder_midway(&d));
        }
        assert_true(r < 0 || left == 0);
    }
    grpc_decoder_done(&d);
    return r < 0 ? r : messages;
}

static void test_messages_come_out_whole_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const char stream[] = "\0\0\0\0\0"
                                 "\0\0\0\0\3abc"
                                 "\0\0\0\0\0"
                                 "\0\0\0\0\1d"
                                 "\0\0\0\0\7half of";
    for (size_t step = 1; step <= sizeof(stream); step++) {
        size_t bytes;
        assert_int_equal(feed(stream, sizeof(stream) - 1, step, &bytes), 5);
        assert_int_equal(bytes, 11);
        assert_int_equal(feed(stream, sizeof(stream) - 2, step, &bytes), 4);
    }
}

static void test_a_message_may_be_as_long_as_the_cap_and_no_longer(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t flag;
        uint32_t announced;
        int expected;
    } table[] = {
        {"at the cap", 0, MAX_BYTES, 1},
        {"one over it", 0, MAX_BYTES + 1, -EMSGSIZE},
        {"the longest there is", 0, UINT32_MAX, -EMSGSIZE},
        {"compressed", 1, 3, -EPROTO},
        {"a flag nobody knows", 0x80, 3, -EPROTO},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t stream[GRPC_PREFIX_BYTES + MAX_BYTES] = {0};
        size_t bytes;
        grpc_prefix_write(stream, table[i].announced);
        stream[0] = table[i].flag;
        for (size_t step = 1; step <= sizeof(stream); step += 251) {
            int r = feed(stream, sizeof(stream), step, &bytes);
            if (r != table[i].expected) {
                fail_msg("%s, %zu bytes at a time: %d", table[i].name, step, r);
            }
        }
    }
}

static void test_memory_grows_with_what_arrived_and_not_with_what_was_announced(void **state)
{
    (void)state;
    struct grpc_decoder d;
    grpc_decoder_init(&d, LIMIT_GRPC_MESSAGE_BYTES);
    uint8_t stream[GRPC_PREFIX_BYTES + 10] = {0};
    grpc_prefix_write(stream, LIMIT_GRPC_MESSAGE_BYTES);
    const uint8_t *bytes = stream;
    size_t n = sizeof(stream);
    assert_int_equal(grpc_decoder_read(&d, &bytes, &n), 0);
    assert_true(grpc_decoder_midway(&d));
    assert_true(d.message.capacity < 1024);
    grpc_decoder_done(&d);
}

static void test_without_memory_the_stream_ends_in_enomem(void **state)
{
    (void)state;
    static const char stream[] = "\0\0\0\0\3abc\0\0\0\0\2de";
    int enomem = 0;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        size_t bytes;
        int r = feed(stream, sizeof(stream) - 1, 4, &bytes);
        assert_true(r == 2 || r == -ENOMEM);
        enomem += r == -ENOMEM;
    });
    assert_true(enomem > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_out_whole_in_pieces_of_any_size),
        cmocka_unit_test(test_a_message_may_be_as_long_as_the_cap_and_no_longer),
        cmocka_unit_test(test_memory_grows_with_what_arrived_and_not_with_what_was_announced),
        cmocka_unit_test(test_without_memory_the_stream_ends_in_enomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
