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

static struct gossip_ops ops_of(uint64_t owner, uint32_t first)
{
    return (struct gossip_ops){.owner = owner, .boot_low = 2, .first = first, .check = 4};
}

static void a_packet_spells_each_key_once(void **state)
{
    (void)state;
    uint8_t bytes[1200];
    struct gossip_writer w;
    struct gossip_dictionary out = {0}, in = {0};
    struct gossip_op ops[20];
    struct gossip_ops one = ops_of(1, 3), five = ops_of(5, 7), got;
    for (size_t i = 0; i < 20; i++) {
        ops[i] = (struct gossip_op){.key = 1000 + i, .del = i % 3 == 0};
    }
    assert_true(gossip_ops_append(&one, ops, 20) && gossip_ops_append(&five, ops, 20));
    gossip_writer_init(&w, bytes, sizeof(bytes));
    assert_true(gossip_ops_write(&w, &out, &one));
    size_t spelled = w.len;
    assert_true(gossip_ops_write(&w, &out, &five));
    assert_int_equal(w.len - spelled, spelled - 20 * 8);
    struct gossip_reader r, body;
    uint8_t type;
    gossip_reader_init(&r, bytes, w.len);
    for (uint64_t owner = 1; owner <= 5; owner += 4) {
        assert_int_equal(gossip_read_message(&r, &type, &body), 1);
        assert_int_equal(gossip_ops_read(&body, &in, &got), 0);
        assert_int_equal(got.owner, owner);
        assert_int_equal(got.first, owner + 2);
        assert_int_equal(got.count, 20);
        for (size_t i = 0; i < 20; i++) {
            assert_int_equal(got.ops[i].key, ops[i].key);
            assert_int_equal(got.ops[i].del, ops[i].del);
        }
    }
}

static void versions_in_a_row_keep_their_borders(void **state)
{
    (void)state;
    static const uint8_t counts[] = {1, 0, 3, 0, 0, 2};
    static const uint32_t firsts[] = {1, 127, 128, 16384, UINT32_MAX - 7};
    for (size_t k = 0; k < sizeof(firsts) / sizeof(firsts[0]); k++) {
        uint8_t bytes[256];
        struct gossip_writer w;
        struct gossip_reader r, body;
        struct gossip_dictionary out = {0}, in = {0};
        struct gossip_ops ops = ops_of(9, firsts[k]), got;
        struct gossip_op op[3] = {{.key = 1}, {.key = 2, .del = true}, {.key = 3}};
        uint8_t type;
        for (size_t i = 0; i < sizeof(counts); i++) {
            assert_true(gossip_ops_append(&ops, op, counts[i]));
        }
        gossip_writer_init(&w, bytes, sizeof(bytes));
        assert_true(gossip_ops_write(&w, &out, &ops));
        gossip_reader_init(&r, bytes, w.len);
        assert_int_equal(gossip_read_message(&r, &type, &body), 1);
        assert_int_equal(gossip_ops_read(&body, &in, &got), 0);
        assert_int_equal(gossip_reader_left(&body), 0);
        assert_int_equal(got.first, firsts[k]);
        assert_int_equal(got.versions, 6);
        assert_memory_equal(got.ends, ops.ends, 6);
        assert_int_equal(got.count, 6);
        for (size_t cut = 3; cut < w.len; cut++) { /* a shorter one is never taken for whole */
            gossip_reader_init(&r, bytes + 3, cut - 3);
            assert_int_equal(gossip_ops_read(&r, &in, &got), -EPROTO);
        }
    }
}

static void a_message_holds_a_hundred_changes_and_no_more(void **state)
{
    (void)state;
    struct gossip_ops ops = ops_of(9, 1);
    struct gossip_op op[LIMIT_GOSSIP_OPS] = {{.key = 1}};
    for (size_t i = 0; i < LIMIT_GOSSIP_OPS; i++) {
        assert_true(gossip_ops_append(&ops, op, 1));
    }
    assert_false(gossip_ops_append(&ops, op, 1));
    assert_false(gossip_ops_append(&ops, op, 0));
    ops = ops_of(9, 1);
    assert_true(gossip_ops_append(&ops, op, LIMIT_GOSSIP_OPS));
    assert_false(gossip_ops_append(&ops, op, 1));
    assert_true(gossip_ops_append(&ops, op, 0));
}

static void the_dictionary_may_fill_up(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    struct gossip_writer w;
    struct gossip_dictionary out = {0}, in = {0};
    struct gossip_ops got;
    struct gossip_reader r, body;
    uint8_t type;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    for (uint64_t round = 0; round < 4; round++) { /* 200 different keys, room for 62 */
        struct gossip_ops ops = ops_of(1, 1);
        for (size_t i = 0; i < LIMIT_GOSSIP_OPS; i++) {
            struct gossip_op op = {.key = round % 2 * 100 + i};
            assert_true(gossip_ops_append(&ops, &op, 1));
        }
        assert_true(gossip_ops_write(&w, &out, &ops));
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

static void changes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *first; /* as it travels */
        uint8_t first_bytes, versions, op;
    } cases[] = {
        {"\x01", 1, 1, 0x40},                 /* an index past the dictionary */
        {"\x00", 1, 1, 0x7e},                 /* there is no version 0 */
        {"\x01", 1, 0, 0x7e},                 /* no version at all */
        {"\x01", 1, 101, 0x7e},               /* more than a message may hold */
        {"\x01", 1, 1, 0x3e},                 /* nothing, and it is not the last */
        {"\xff\xff\xff\xff\x0f", 5, 1, 0x7e}, /* the version after it would be 0 */
        {"\xff\xff\xff\xff\x1f", 5, 1, 0x7e}, /* more than 32 bits */
        {"\x80\x80\x80\x80\x80\x01", 6, 1, 0x7e},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[64];
        struct gossip_writer w;
        struct gossip_reader r;
        struct gossip_dictionary in = {0};
        struct gossip_ops got;
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_write48(&w, 1);
        gossip_write16(&w, 1);
        gossip_write_bytes(&w, cases[i].first, cases[i].first_bytes);
        gossip_write32(&w, 1);
        gossip_write8(&w, cases[i].versions);
        gossip_write8(&w, cases[i].op);
        gossip_reader_init(&r, bytes, w.len);
        assert_int_equal(gossip_ops_read(&r, &in, &got), -EPROTO);
    }
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
        cmocka_unit_test(changes_that_make_no_sense_are_refused),
        cmocka_unit_test(versions_in_a_row_keep_their_borders),
        cmocka_unit_test(a_message_holds_a_hundred_changes_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
