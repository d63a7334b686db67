/* test_recorded.c - what earlier releases send is read as it was meant, and what is sent to them is
 * what they read: packets.h has the bytes. */
#include "packets.h"
#include "town.h"

#include "gossip/swarm_state.h"

#define ID UINT64_C(0x112233445566)
#define OTHER_ID UINT64_C(0x665544332211)
#define BOOT UINT64_C(0x0a0b0c0d0e0f)
#define SALT UINT32_C(0x99aabbcc)
#define KEY UINT64_C(0x7fffffffffffff01)
#define KEY_1 UINT64_C(0x1111111111111111)
#define KEY_2 UINT64_C(0x2222222222222222)

struct bytes {
    uint8_t at[LIMIT_GOSSIP_PACKET_BYTES];
    size_t n;
};

static struct bytes of_hex(const char *hex)
{
    struct bytes b = {.n = 0};
    for (; *hex; hex += *hex == ' ' ? 1 : 2) {
        if (*hex != ' ') {
            const char pair[3] = {hex[0], hex[1], 0};
            char *end;
            assert_true(b.n < sizeof(b.at));
            b.at[b.n++] = (uint8_t)strtoul(pair, &end, 16);
            assert_true(end == pair + 2);
        }
    }
    return b;
}

static void assert_bytes(const uint8_t *got, size_t n, const char *hex)
{
    struct bytes wanted = of_hex(hex);
    assert_int_equal(n, wanted.n);
    assert_memory_equal(got, wanted.at, n);
}

/* --- messages that can be read by themselves: each asserts the fields, and writes them again ---
 */

typedef int check(uint8_t type, struct gossip_reader *r, struct gossip_writer *w);

static int check_ping(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_ping p;
    int error = gossip_ping_read(r, &p);
    assert_int_equal(type, 1);
    assert_true(p.target == ID && p.nonce == 0x778899aa && p.cluster_hash == 0xbbccddeeff001122 &&
                p.state == GOSSIP_SUSPECT && p.incarnation == 0x3344);
    gossip_ping_write(w, &p);
    return error;
}

static int check_ack(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_ack a;
    int error = gossip_ack_read(r, &a);
    assert_int_equal(type, 2);
    assert_true(a.nonce == 0x01020304 && a.cluster_hash == 0x05060708090a0b0c && a.load == 200 &&
                a.flags == GOSSIP_ACK_RELAYED);
    gossip_ack_write(w, &a);
    return error;
}

static int check_ping_req(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    static const struct gossip_addr at[] = {
        {.family = GOSSIP_IPV4, .ip = {10, 1, 2, 3}, .port = 5001},
        {.family = GOSSIP_IPV6, .ip = {0x20, 1, 0xd, 0xb8, [15] = 7}, .port = 5001}};
    struct gossip_ping_req q;
    int error = gossip_ping_req_read(r, &q);
    assert_int_equal(type, 4);
    assert_true(q.target == ID && q.nonce == 0xa1a2a3a4);
    assert_true(gossip_addr_equal(&q.addr, &at[q.addr.family == GOSSIP_IPV6]));
    gossip_ping_req_write(w, &q);
    return error;
}

static int check_alive(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    static const struct gossip_addr addrs[] = {
        {.family = GOSSIP_IPV4, .ip = {10, 0, 0, 1}},
        {.family = GOSSIP_IPV6, .ip = {0x20, 1, 0xd, 0xb8, [15] = 1}}};
    struct gossip_alive a;
    int error = gossip_alive_read(r, &a);
    assert_int_equal(type, 5);
    assert_true(a.id == ID && a.boot == BOOT && a.salt == SALT && a.incarnation == 3);
    assert_true(a.protocol == 1 && a.flags == GOSSIP_ALIVE_TCP_ONLY);
    assert_true(gossip_addr_equal(&a.addrs[0], &addrs[0]) &&
                gossip_addr_equal(&a.addrs[1], &addrs[1]));
    assert_true(a.gossip_port == 5001 && a.registry_port == 5000);
    assert_string_equal(a.zone, "eu-1a");
    assert_true(a.version == 18 && a.count == 52 && a.hash == 0x1234567890abcdef);
    gossip_alive_write(w, &a);
    return error;
}

static int check_accusation(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_accusation a;
    int error = gossip_accusation_read(r, &a);
    assert_in_range(type, 6, 8); /* SUSPECT, DEAD, LEFT */
    assert_true(a.id == ID && a.boot == BOOT && a.incarnation == 0x0203 &&
                a.from == 0xa0a1a2a3a4a5);
    gossip_accusation_write(w, (enum gossip_message)type, &a);
    return error;
}

static int check_ops(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    static struct gossip_dictionary in, out; /* of the packet, which has two such messages */
    struct gossip_ops ops;
    int error = gossip_ops_read(r, &in, &ops);
    assert_int_equal(type, 9);
    if (ops.owner == ID) {
        assert_true(ops.boot_low == 0xbeef && ops.first == 300 && ops.check == 0xcafef00d);
        assert_true(ops.versions == 3 && ops.count == 3);
        assert_true(ops.ends[0] == 2 && ops.ends[1] == 2 && ops.ends[2] == 3);
        assert_true(ops.ops[2].key == KEY_2 && ops.ops[2].del);
    } else {
        assert_true(ops.owner == OTHER_ID && ops.boot_low == 1 && ops.first == 1 && ops.check == 2);
        assert_true(ops.versions == 1 && ops.count == 2 && ops.ends[0] == 2);
    }
    assert_true(ops.ops[0].key == KEY_1 && !ops.ops[0].del);
    assert_true(ops.ops[1].key == KEY_2 && ops.ops[1].del);
    gossip_ops_write(w, &out, &ops);
    return error;
}

static int check_delta(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_delta_req d;
    int error = gossip_delta_req_read(r, &d);
    assert_in_range(type, 12, 13); /* DELTA_REQ, DELTA_NO */
    assert_true(d.owner == ID && d.boot == BOOT && d.from == 0x10203 && d.to == 0x10207);
    gossip_delta_req_write(w, (enum gossip_message)type, &d);
    return error;
}

static int check_want(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_want a;
    int error = gossip_want_read(r, &a);
    assert_int_equal(type, 16);
    assert_true(a.key == KEY && a.ask == 5 && a.bytes == 1048576 && a.failed_count == 1);
    assert_true(a.failed[0].id == ID && a.failed[0].fault == GOSSIP_FAULT_STALLED);
    gossip_want_write(w, &a);
    return error;
}

static int check_answer(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_answer a;
    int error = gossip_answer_read(r, type, &a);
    assert_true(a.key == KEY && a.ask == 5);
    if (type == 18) {
        assert_true(a.kind == GOSSIP_SWARM_OFFER && a.retry_ms == 250 && a.count == 2);
        assert_true(a.offers[0].id == ID && a.offers[0].depth == 3 && !a.offers[0].holds);
        assert_true(a.offers[1].id == OTHER_ID && a.offers[1].depth == 0 && a.offers[1].holds);
    } else {
        assert_int_equal(type, 17);
        assert_int_equal(a.kind, GOSSIP_SWARM_GRANT);
    }
    gossip_answer_write(w, &a);
    return error;
}

static int check_renew(uint8_t type, struct gossip_reader *r, struct gossip_writer *w)
{
    struct gossip_renew a;
    int error = gossip_renew_read(r, type, &a);
    assert_true(a.key == KEY && a.sequence == 9);
    if (type == 19) {
        assert_true(a.state == GOSSIP_FLIGHT_GROWING && a.parent == ID && a.bytes == 4096 &&
                    a.idle_ms == 20 && a.load == 44);
    } else {
        assert_int_equal(type, 20);
        assert_int_equal(a.state, GOSSIP_FLIGHT_GONE);
    }
    gossip_renew_write(w, &a);
    return error;
}

static const struct {
    const char *hex;
    check *check;
} messages[] = {
    {RECORDED_PING, check_ping},
    {RECORDED_ACK, check_ack},
    {RECORDED_PING_REQ_IPV4, check_ping_req},
    {RECORDED_PING_REQ_IPV6, check_ping_req},
    {RECORDED_ALIVE, check_alive},
    {RECORDED_SUSPECT, check_accusation},
    {RECORDED_DEAD, check_accusation},
    {RECORDED_LEFT, check_accusation},
    {RECORDED_OPS, check_ops},
    {RECORDED_DELTA_REQ, check_delta},
    {RECORDED_DELTA_NO, check_delta},
    {RECORDED_WANT, check_want},
    {RECORDED_GRANT, check_answer},
    {RECORDED_OFFER, check_answer},
    {RECORDED_RENEW, check_renew},
    {RECORDED_GIVE_UP, check_renew},
};

static void messages_mean_what_they_meant_and_are_written_as_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        struct bytes recorded = of_hex(messages[i].hex);
        uint8_t written[LIMIT_GOSSIP_PACKET_BYTES], type;
        struct gossip_reader r, fields;
        struct gossip_writer w;
        gossip_reader_init(&r, recorded.at, recorded.n);
        gossip_writer_init(&w, written, sizeof(written));
        while (gossip_reader_left(&r)) {
            assert_int_equal(gossip_read_message(&r, &type, &fields), 1);
            assert_int_equal(messages[i].check(type, &fields, &w), 0);
            assert_int_equal(gossip_reader_left(&fields), 0);
        }
        assert_bytes(written, w.len, messages[i].hex);
    }
}

/* --- and those that only a core reads and writes --- */

static struct town t;

/* House 0 hears this, from nobody it knows. How many packets it answers with. */
static size_t hear(const char *hex)
{
    struct bytes message = of_hex(hex);
    struct gossip_addr from = house_addr(3);
    t.effects.send_count = 0;
    t.core[0]->effects = &t.effects;
    gossip_receive_messages(t.core[0], NULL, OTHER_ID, &from, message.at, message.n, 100);
    t.core[0]->effects = NULL;
    assert_int_equal(town_stats(&t, 0).drop_malformed, 0);
    assert_int_equal(town_stats(&t, 0).skipped_fields, 0);
    assert_int_equal(town_stats(&t, 0).skipped_messages, 0);
    return t.effects.send_count;
}

/* Whether the last packet begins so. */
static void assert_says(const char *hex)
{
    const struct gossip_send *sent = &t.effects.sends[t.effects.send_count - 1];
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct gossip_header header;
    uint8_t body[LIMIT_GOSSIP_PACKET_BYTES];
    assert_int_equal(gossip_seal_peek(sent->bytes, sent->len, &header), 0);
    assert_int_equal(
        gossip_seal_open(t.core[0]->seal, &header, &binding, sent->bytes, sent->len, body), 0);
    struct bytes wanted = of_hex(hex);
    assert_true(sent->len >= wanted.n + GOSSIP_SEAL_OVERHEAD_BYTES);
    assert_memory_equal(body, wanted.at, wanted.n);
}

static void what_a_core_reads_and_says_itself_is_as_it_was(void **state)
{
    (void)state;
    town_init(&t);
    town_start(&t, 0, 0);
    town_add(&t, 0, 7000, 3);
    /* Every node must come to the same hash of the same view. */
    assert_true(t.core[0]->me->set_hash == RECORDED_SET_HASH);
    assert_true(t.core[0]->cluster_hash == RECORDED_CLUSTER_HASH);
    t.core[0]->me->incarnation = 0x0203;
    assert_int_equal(hear(RECORDED_SUM), 1);
    assert_says(RECORDED_ENT);
    assert_int_equal(hear(RECORDED_ENT_OF_OTHER), 1);
    assert_says(RECORDED_DELTA_REQ_OF_OTHER);
    assert_int_equal(hear(RECORDED_CHALLENGE), 1);
    assert_says(RECORDED_ECHO);
    assert_int_equal(hear(RECORDED_ECHO), 0);

    t.core[0]->probes[0] = (struct gossip_probe){.target = 1, .nonce = 0xa1a2a3a4};
    assert_int_equal(hear(RECORDED_NACK), 0);
    assert_int_equal(t.core[0]->probes[0].nacks, 1);
    t.core[0]->probes[0].target = 0;

    /* Asked to ask a member that does not answer, it says no. */
    t.core[0]->effects = &t.effects;
    struct gossip_alive silent = {.id = ID,
                                  .boot = BOOT,
                                  .salt = SALT,
                                  .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 1, 2, 3}}},
                                  .gossip_port = 5001};
    gossip_hear_alive(t.core[0], &silent, ID);
    assert_int_equal(hear(RECORDED_PING_REQ_IPV4), 1);
    t.now_ms += 600;
    t.effects.send_count = 0;
    t.core[0]->now_ms = t.now_ms;
    t.core[0]->effects = &t.effects;
    t.core[0]->next_probe_ms = GOSSIP_NEVER_MS;
    gossip_probe_tick(t.core[0]);
    assert_int_equal(t.effects.send_count, 1);
    assert_says(RECORDED_NACK);
    town_done(&t);
}

static void sealed_packets_open_and_are_sealed_as_they_were(void **state)
{
    (void)state;
    static const char *const packets[] = {RECORDED_BY_LABEL, RECORDED_BY_KEY};
    uint8_t key[1][32];
    struct bytes ack = of_hex(RECORDED_ACK);
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct gossip_sender sender = {.id = ID, .boot = BOOT, .salt = SALT};
    struct gossip_seal *seal;
    for (size_t i = 0; i < sizeof(key[0]); i++) {
        key[0][i] = (uint8_t)i;
    }
    assert_int_equal(gossip_seal_new("recorded", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &sender), 0);
    for (size_t i = 0; i < 2; i++) {
        struct bytes recorded = of_hex(packets[i]);
        struct gossip_header header;
        uint8_t body[LIMIT_GOSSIP_PACKET_BYTES], sealed[LIMIT_GOSSIP_PACKET_BYTES];
        if (i == 1) {
            assert_int_equal(gossip_seal_set_keys(seal, "recorded", key, 1), 0);
        }
        assert_int_equal(gossip_seal_peek(recorded.at, recorded.n, &header), 0);
        assert_true(header.sender.id == ID && header.sender.boot == BOOT &&
                    header.sender.salt == SALT && header.counter == i + 1);
        assert_int_equal(gossip_seal_open(seal, &header, &binding, recorded.at, recorded.n, body),
                         0);
        assert_bytes(body, recorded.n - GOSSIP_SEAL_OVERHEAD_BYTES, RECORDED_ACK);
        assert_int_equal(gossip_seal_write(seal, &binding, ack.at, ack.n, sealed), 0);
        assert_bytes(sealed, ack.n + GOSSIP_SEAL_OVERHEAD_BYTES, packets[i]);
    }
    gossip_seal_free(seal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_mean_what_they_meant_and_are_written_as_they_were),
        cmocka_unit_test(what_a_core_reads_and_says_itself_is_as_it_was),
        cmocka_unit_test(sealed_packets_open_and_are_sealed_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
