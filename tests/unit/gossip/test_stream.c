/* test_stream.c - bodies sealed and opened in pieces: the same envelope as all at once. */
#include "support.h"

#include "gossip/key.h"
#include "gossip/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_BYTES 200000

static const struct gossip_sender alice = {.id = 0xa11ce, .boot = 1000, .salt = 7};
static const struct gossip_binding snapshot = {
    .purpose = GOSSIP_FOR_SNAPSHOT, .bytes = "asked", .len = 5};
static uint8_t body[BODY_BYTES], sealed[BODY_BYTES + GOSSIP_SEAL_OVERHEAD_BYTES], out[BODY_BYTES];

static struct gossip_seal *seal_new(const uint8_t (*keys)[32], size_t count)
{
    struct gossip_seal *s;
    assert_int_equal(gossip_seal_new("label", keys, count, &s), 0);
    assert_int_equal(gossip_seal_set_sender(s, &alice), 0);
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)gossip_mix(i);
    }
    return s;
}

/* In pieces of `piece` bytes; a packet is sealed and opened after each. */
static int pass(struct gossip_seal *s, struct gossip_stream *stream, const uint8_t *in, size_t n,
                size_t piece, uint8_t *to)
{
    static const struct gossip_binding packet = {.purpose = GOSSIP_FOR_PACKET};
    uint8_t between[45], opened[5];
    struct gossip_header h;
    for (size_t at = 0; at < n; at += piece) {
        size_t some = n - at < piece ? n - at : piece;
        assert_int_equal(gossip_stream_pass(stream, in + at, some, to + at), 0);
        assert_int_equal(gossip_seal_write(s, &packet, (const uint8_t *)"hello", 5, between), 0);
        assert_int_equal(gossip_seal_peek(between, sizeof(between), &h), 0);
        assert_int_equal(gossip_seal_open(s, &h, &packet, between, sizeof(between), opened), 0);
    }
    return 0;
}

static void seal_in_pieces(struct gossip_seal *s, size_t n, size_t piece)
{
    struct gossip_stream *stream;
    assert_int_equal(gossip_stream_seal(s, &snapshot, sealed, &stream), 0);
    pass(s, stream, body, n, piece, sealed + GOSSIP_SEAL_HEADER_BYTES);
    assert_int_equal(gossip_stream_tag(stream, sealed + GOSSIP_SEAL_HEADER_BYTES + n), 0);
    gossip_stream_free(stream);
}

/* In place, as take.c does. */
static int open_in_pieces(struct gossip_seal *s, const struct gossip_binding *binding, size_t n,
                          size_t piece)
{
    struct gossip_stream *stream;
    size_t at = 0, len = n + GOSSIP_SEAL_OVERHEAD_BYTES;
    uint8_t *copy = malloc(len);
    int error;
    assert_non_null(copy);
    do {
        memcpy(copy, sealed, len);
        error = gossip_stream_open(s, binding, copy, len, &at, &stream);
        if (error == 0) {
            uint8_t *in = copy + GOSSIP_SEAL_HEADER_BYTES;
            pass(s, stream, in, n, piece, in);
            error = gossip_stream_verify(stream, in + n);
            gossip_stream_free(stream);
        }
    } while (error == -EBADMSG);
    memcpy(out, copy + GOSSIP_SEAL_HEADER_BYTES, n);
    free(copy);
    return error;
}

static void pieces_and_the_whole_open_each_other(void **state)
{
    (void)state;
    struct gossip_seal *a = seal_new(NULL, 0);
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4096, BODY_BYTES};
    static const size_t pieces[] = {7, 16, 1000, GOSSIP_STREAM_PIECE_BYTES};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t k = sizes[i] > 5000; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
            struct gossip_header h;
            size_t n = sizes[i], len = n + GOSSIP_SEAL_OVERHEAD_BYTES;
            seal_in_pieces(a, n, pieces[k]);
            assert_int_equal(gossip_seal_peek(sealed, len, &h), 0);
            assert_int_equal(gossip_seal_open(a, &h, &snapshot, sealed, len, out), 0);
            assert_memory_equal(out, body, n);
            assert_int_equal(gossip_seal_write(a, &snapshot, body, n, sealed), 0);
            assert_int_equal(open_in_pieces(a, &snapshot, n, pieces[k]), 0);
            assert_memory_equal(out, body, n);
        }
    }
    gossip_seal_free(a);
}

static void what_was_changed_or_is_for_something_else_does_not_fit(void **state)
{
    (void)state;
    struct gossip_seal *s = seal_new(NULL, 0);
    struct gossip_binding other = snapshot;
    struct gossip_stream *stream;
    size_t at = 0;
    seal_in_pieces(s, 1000, 300);
    for (size_t i = 1; i < 1000 + GOSSIP_SEAL_OVERHEAD_BYTES; i += 37) {
        sealed[i] ^= 1;
        assert_int_equal(open_in_pieces(s, &snapshot, 1000, 300), -ENOKEY);
        sealed[i] ^= 1;
    }
    other.purpose = GOSSIP_FOR_SET;
    assert_int_equal(open_in_pieces(s, &other, 1000, 300), -ENOKEY);
    other = snapshot;
    other.len = 4;
    assert_int_equal(open_in_pieces(s, &other, 1000, 300), -ENOKEY);
    assert_int_equal(open_in_pieces(s, &snapshot, 1000, 300), 0);
    assert_int_equal(gossip_stream_open(s, &snapshot, sealed, 39, &at, &stream), -EMSGSIZE);
    gossip_seal_free(s);
}

/* An id is one byte, so two keys in 256 share theirs. */
static void two_keys_of_one_id_are_both_tried(void **state)
{
    (void)state;
    uint8_t keys[2][32] = {{1}};
    struct gossip_seal *a = seal_new((const uint8_t(*)[32])keys, 1);
    seal_in_pieces(a, 100, 64);
    for (unsigned i = 0;; i++) {
        uint8_t first[1 + GOSSIP_SEAL_OVERHEAD_BYTES];
        memcpy(&keys[1], &i, sizeof(i));
        keys[1][31] = 9;
        assert_int_equal(gossip_seal_set_keys(a, "label", (const uint8_t(*)[32]) & keys[1], 1), 0);
        assert_int_equal(gossip_seal_write(a, &snapshot, body, 1, first), 0);
        if (first[1] == sealed[1]) {
            break;
        }
    }
    uint8_t ring[2][32];
    memcpy(ring[0], keys[1], 32); /* the wrong one stands first */
    memcpy(ring[1], keys[0], 32);
    assert_int_equal(gossip_seal_set_keys(a, "label", (const uint8_t(*)[32])ring, 2), 0);
    assert_int_equal(open_in_pieces(a, &snapshot, 100, 64), 0);
    assert_memory_equal(out, body, 100);
    gossip_seal_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_and_the_whole_open_each_other),
        cmocka_unit_test(what_was_changed_or_is_for_something_else_does_not_fit),
        cmocka_unit_test(two_keys_of_one_id_are_both_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
