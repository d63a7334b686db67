#include "support.h"

#include "gossip/wire.h"

#include <errno.h>
#include <string.h>

static const struct gossip_alive full = {
    .id = 0x112233445566,
    .boot = 0x0a0b0c0d0e0f,
    .salt = 99,
    .incarnation = 3,
    .protocol = 1,
    .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 0, 0, 1}},
              {.family = GOSSIP_IPV6, .ip = {0x20, 1, [15] = 1}}},
    .gossip_port = 5001,
    .registry_port = 5000,
    .zone = "eu-1a",
    .version = 12,
    .count = 34,
    .hash = 0x1234567890abcdef,
};

/* Reads the first message of what was written. */
static struct gossip_reader first(struct gossip_writer *w, uint8_t wanted)
{
    struct gossip_reader r, body;
    uint8_t type;
    gossip_reader_init(&r, w->bytes, w->len);
    assert_int_equal(gossip_read_message(&r, &type, &body), 1);
    assert_int_equal(type, wanted);
    assert_int_equal(gossip_reader_left(&r), 0);
    return body;
}

static void an_alive_arrives_as_it_was_sent(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct gossip_writer w;
    struct gossip_alive got;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    assert_true(gossip_alive_write(&w, &full));
    struct gossip_reader r = first(&w, GOSSIP_MSG_ALIVE);
    assert_int_equal(gossip_alive_read(&r, &got), 0);
    assert_int_equal(gossip_reader_left(&r), 0);
    assert_memory_equal(&got, &full, sizeof(got));
}

static void every_message_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct gossip_writer w;
    struct gossip_alive alive;
    struct gossip_ping ping = {1, 2, 3, 0, 5};
    struct gossip_ping_req req = {1, full.addrs[1], 3};
    for (size_t cut = 0; cut < 80; cut++) {
        struct gossip_reader r;
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_alive_write(&w, &full);
        if (3 + cut < w.len) {
            gossip_reader_init(&r, bytes + 3, cut);
            assert_int_equal(gossip_alive_read(&r, &alive), -EPROTO);
        }
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_ping_write(&w, &ping);
        if (3 + cut < w.len) {
            gossip_reader_init(&r, bytes + 3, cut);
            assert_int_equal(gossip_ping_read(&r, &ping), -EPROTO);
            ping = (struct gossip_ping){1, 2, 3, 0, 5};
        }
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_ping_req_write(&w, &req);
        if (3 + cut < w.len) {
            struct gossip_ping_req got;
            gossip_reader_init(&r, bytes + 3, cut);
            assert_int_equal(gossip_ping_req_read(&r, &got), -EPROTO);
        }
    }
}

static void fields_of_a_later_release_are_left_over_not_misread(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct gossip_writer w;
    struct gossip_ack ack = {.nonce = 5, .cluster_hash = 6, .load = 7, .flags = 1}, got;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    size_t mark = gossip_write_begin(&w, GOSSIP_MSG_ACK);
    gossip_write32(&w, ack.nonce);
    gossip_write64(&w, ack.cluster_hash);
    gossip_write8(&w, ack.load);
    gossip_write8(&w, ack.flags);
    gossip_write32(&w, 0xdeadbeef);
    assert_true(gossip_write_end(&w, mark));
    struct gossip_reader r = first(&w, GOSSIP_MSG_ACK);
    assert_int_equal(gossip_ack_read(&r, &got), 0);
    assert_int_equal(got.nonce, ack.nonce);
    assert_int_equal(got.cluster_hash, ack.cluster_hash);
    assert_int_equal(got.load, ack.load);
    assert_int_equal(got.flags, ack.flags);
    assert_int_equal(gossip_reader_left(&r), 4);
}

static void a_message_that_does_not_fit_is_taken_back_whole(void **state)
{
    (void)state;
    uint8_t bytes[100];
    struct gossip_writer w;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    assert_true(gossip_alive_write(&w, &full));
    size_t len = w.len;
    assert_false(gossip_alive_write(&w, &full));
    assert_int_equal(w.len, len);
    struct gossip_ack ack = {0};
    assert_true(gossip_ack_write(&w, &ack));
}

static void a_packet_spells_each_key_once(void **state)
{
    (void)state;
    uint8_t bytes[1200];
    struct gossip_writer w;
    struct gossip_dictionary out = {0}, in = {0};
    struct gossip_op ops[20];
    struct gossip_ops got;
    for (size_t i = 0; i < 20; i++) {
        ops[i] = (struct gossip_op){.key = 1000 + i, .del = i % 3 == 0};
    }
    gossip_writer_init(&w, bytes, sizeof(bytes));
    assert_true(gossip_ops_write(&w, &out, 1, 2, 3, 4, ops, 20));
    size_t spelled = w.len;
    assert_true(gossip_ops_write(&w, &out, 5, 6, 7, 8, ops, 20));
    assert_int_equal(w.len - spelled, spelled - 20 * 8);
    struct gossip_reader r, body;
    uint8_t type;
    gossip_reader_init(&r, bytes, w.len);
    for (uint64_t owner = 1; owner <= 5; owner += 4) {
        assert_int_equal(gossip_read_message(&r, &type, &body), 1);
        assert_int_equal(gossip_ops_read(&body, &in, &got), 0);
        assert_int_equal(got.owner, owner);
        assert_int_equal(got.version, owner + 2);
        assert_int_equal(got.count, 20);
        for (size_t i = 0; i < 20; i++) {
            assert_int_equal(got.ops[i].key, ops[i].key);
            assert_int_equal(got.ops[i].del, ops[i].del);
        }
    }
}

static void the_dictionary_may_fill_up(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    struct gossip_writer w;
    struct gossip_dictionary out = {0}, in = {0};
    struct gossip_op ops[LIMIT_GOSSIP_OPS];
    struct gossip_ops got;
    struct gossip_reader r, body;
    uint8_t type;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    for (uint64_t round = 0; round < 4; round++) { /* 200 different keys, room for 127 */
        for (size_t i = 0; i < LIMIT_GOSSIP_OPS; i++) {
            ops[i] = (struct gossip_op){.key = round % 2 * 100 + i};
        }
        assert_true(gossip_ops_write(&w, &out, 1, 1, 1, 1, ops, LIMIT_GOSSIP_OPS));
    }
    gossip_reader_init(&r, bytes, w.len);
    for (uint64_t round = 0; round < 4; round++) {
        assert_int_equal(gossip_read_message(&r, &type, &body), 1);
        assert_int_equal(gossip_ops_read(&body, &in, &got), 0);
        for (size_t i = 0; i < LIMIT_GOSSIP_OPS; i++) {
            assert_int_equal(got.ops[i].key, round % 2 * 100 + i);
        }
    }
}

static void an_index_past_the_dictionary_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct gossip_writer w;
    struct gossip_reader r;
    struct gossip_dictionary in = {0};
    struct gossip_ops got;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_write48(&w, 1);
    gossip_write32(&w, 1);
    gossip_write32(&w, 1);
    gossip_write64(&w, 1);
    gossip_write16(&w, 1);
    gossip_write8(&w, 0);
    gossip_reader_init(&r, bytes, w.len);
    assert_int_equal(gossip_ops_read(&r, &in, &got), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alive_arrives_as_it_was_sent),
        cmocka_unit_test(every_message_cut_short_anywhere_is_refused),
        cmocka_unit_test(fields_of_a_later_release_are_left_over_not_misread),
        cmocka_unit_test(a_message_that_does_not_fit_is_taken_back_whole),
        cmocka_unit_test(a_packet_spells_each_key_once),
        cmocka_unit_test(the_dictionary_may_fill_up),
        cmocka_unit_test(an_index_past_the_dictionary_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
