/* test_receive.c - what arrives from strangers, forgers and echoes. */
#include "town.h"

#include "gossip/seal.h"
#include "gossip/wire.h"

#include <errno.h>

static struct town t;

static const struct gossip_sender mallory = {.id = 0xbad, .boot = 1234567, .salt = 5};

/* A packet of somebody who holds the cluster key but is in nobody's view. */
static struct letter written_by(struct gossip_seal *seal, struct gossip_writer *w, size_t from)
{
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct letter l = {.from = house_addr(from)};
    assert_int_equal(gossip_seal_write(seal, &binding, w->bytes, w->len, l.bytes), 0);
    l.len = (uint16_t)(w->len + GOSSIP_SEAL_OVERHEAD_BYTES);
    return l;
}

static void meet(void)
{
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    town_add(&t, 1, 10, 5);
    town_run(&t, 1000);
    t.letter_count = 0;
}

static void a_packet_heard_twice_counts_once(void **state)
{
    (void)state;
    meet();
    while (t.last.to.ip[3] != 1) {
        town_run(&t, 50);
    }
    struct gossip_stats before = town_stats(&t, 0);
    town_hear(&t, 0, &t.last);
    assert_int_equal(town_stats(&t, 0).drop_replay, before.drop_replay + 1);
    assert_int_equal(town_stats(&t, 0).packets_out, before.packets_out);
    town_done(&t);
}

static void noise_is_counted_by_kind_and_never_answered(void **state)
{
    (void)state;
    meet();
    struct letter l = t.last;
    struct gossip_stats before = town_stats(&t, 0);
    l.len = 39;
    town_hear(&t, 0, &l);
    assert_int_equal(town_stats(&t, 0).drop_short, before.drop_short + 1);
    l = t.last;
    l.bytes[0] = 2;
    town_hear(&t, 0, &l);
    assert_int_equal(town_stats(&t, 0).drop_version, before.drop_version + 1);
    l = t.last;
    memset(l.bytes + 2, 0x77, 6); /* a sender nobody knows */
    l.bytes[1] ^= 1;
    town_hear(&t, 0, &l);
    assert_int_equal(town_stats(&t, 0).drop_key, before.drop_key + 1);
    l = t.last;
    memset(l.bytes + 2, 0x77, 22);
    town_hear(&t, 0, &l);
    assert_int_equal(town_stats(&t, 0).drop_seal, before.drop_seal + 1);
    assert_int_equal(t.letter_count, 0);
    town_done(&t);
}

static void a_stranger_is_challenged_with_no_more_than_it_sent(void **state)
{
    (void)state;
    meet();
    struct gossip_seal *seal;
    uint8_t bytes[512];
    struct gossip_writer w;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &mallory), 0);
    gossip_writer_init(&w, bytes, sizeof(bytes));
    struct gossip_ping ping = {.nonce = 1};
    gossip_ping_write(&w, &ping);
    struct letter l = written_by(seal, &w, 5);
    town_hear(&t, 0, &l);
    assert_int_equal(t.letter_count, 1);
    assert_true(t.letters[0].len <= l.len);
    /* An echo of a challenge that was never made is one more challenge, and no membership. */
    t.letter_count = 0;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    size_t mark = gossip_write_begin(&w, GOSSIP_MSG_ECHO);
    gossip_write64(&w, 12345);
    gossip_write_end(&w, mark);
    struct gossip_alive alive = {.id = mallory.id,
                                 .boot = mallory.boot,
                                 .salt = mallory.salt,
                                 .addrs = {house_addr(5)},
                                 .gossip_port = 5001,
                                 .registry_port = 5000};
    gossip_alive_write(&w, &alive);
    l = written_by(seal, &w, 5);
    struct gossip_member_view view;
    town_hear(&t, 0, &l);
    assert_false(town_member(&t, 0, mallory.id, &view));
    assert_int_equal(town_stats(&t, 0).challenged, 3); /* house 1 was the first of them */
    gossip_seal_free(seal);
    town_done(&t);
}

/* Speaks as a member: introduced by challenge, as anybody is. */
static void introduce(struct gossip_seal *seal)
{
    uint8_t bytes[512], out[LIMIT_GOSSIP_PACKET_BYTES];
    struct gossip_writer w;
    struct gossip_header h;
    struct gossip_reader r, body;
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    uint8_t type;
    struct gossip_ping ping = {.nonce = 1};
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_ping_write(&w, &ping);
    struct letter l = written_by(seal, &w, 5);
    town_hear(&t, 0, &l);
    struct letter *challenge = &t.letters[t.letter_count - 1];
    assert_int_equal(gossip_seal_peek(challenge->bytes, challenge->len, &h), 0);
    assert_int_equal(gossip_seal_open(seal, &h, &binding, challenge->bytes, challenge->len, out),
                     0);
    gossip_reader_init(&r, out, (size_t)challenge->len - GOSSIP_SEAL_OVERHEAD_BYTES);
    assert_int_equal(gossip_read_message(&r, &type, &body), 1);
    assert_int_equal(type, GOSSIP_MSG_CHALLENGE);
    gossip_writer_init(&w, bytes, sizeof(bytes));
    size_t mark = gossip_write_begin(&w, GOSSIP_MSG_ECHO);
    gossip_write64(&w, gossip_read64(&body));
    gossip_write_end(&w, mark);
    struct gossip_alive alive = {.id = mallory.id,
                                 .boot = mallory.boot,
                                 .salt = mallory.salt,
                                 .addrs = {house_addr(5)},
                                 .gossip_port = 5001,
                                 .registry_port = 5000};
    gossip_alive_write(&w, &alive);
    l = written_by(seal, &w, 5);
    town_hear(&t, 0, &l);
    struct gossip_member_view view;
    assert_true(town_member(&t, 0, mallory.id, &view));
    t.letter_count = 0;
}

static void members_with_impossible_addresses_are_not_taken(void **state)
{
    (void)state;
    static const struct gossip_addr rows[] = {
        {.family = GOSSIP_IPV4, .ip = {127, 0, 0, 1}},
        {.family = GOSSIP_IPV4, .ip = {224, 0, 0, 1}},
        {.family = GOSSIP_IPV4, .ip = {0}},
        {.family = GOSSIP_IPV4, .ip = {169, 254, 1}},
        {.family = GOSSIP_IPV6, .ip = {0xfe, 0x80}},
        {.family = GOSSIP_IPV6, .ip = {0xff, 2}},
    };
    meet();
    struct gossip_seal *seal;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &mallory), 0);
    introduce(seal);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t bytes[512];
        struct gossip_writer w;
        struct gossip_member_view view;
        struct gossip_alive alive = {.id = 0x500 + i,
                                     .boot = 77,
                                     .salt = 1,
                                     .addrs = {rows[i]},
                                     .gossip_port = 5001,
                                     .registry_port = 5000};
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_alive_write(&w, &alive);
        struct letter l = written_by(seal, &w, 5);
        town_hear(&t, 0, &l);
        assert_false(town_member(&t, 0, alive.id, &view));
        assert_int_equal(town_stats(&t, 0).drop_address, i + 1);
    }
    gossip_seal_free(seal);
    town_done(&t);
}

static void what_a_later_release_adds_is_skipped_and_counted(void **state)
{
    (void)state;
    meet();
    struct gossip_seal *seal;
    uint8_t bytes[512];
    struct gossip_writer w;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &mallory), 0);
    introduce(seal);
    gossip_writer_init(&w, bytes, sizeof(bytes));
    size_t mark = gossip_write_begin(&w, (enum gossip_message)200);
    gossip_write64(&w, 1);
    gossip_write_end(&w, mark);
    mark = gossip_write_begin(&w, GOSSIP_MSG_PING);
    gossip_write48(&w, 0);
    gossip_write32(&w, 99);
    gossip_write64(&w, 0);
    gossip_write8(&w, 0);
    gossip_write16(&w, 0);
    gossip_write64(&w, 4711); /* a field of later */
    gossip_write_end(&w, mark);
    struct letter l = written_by(seal, &w, 5);
    town_hear(&t, 0, &l);
    assert_int_equal(town_stats(&t, 0).skipped_messages, 1);
    assert_int_equal(town_stats(&t, 0).skipped_fields, 1);
    assert_int_equal(town_stats(&t, 0).drop_malformed, 0);
    assert_true(t.letter_count >= 1); /* the ping was answered all the same */
    gossip_seal_free(seal);
    town_done(&t);
}

static void changes_out_of_order_are_put_in_order_and_lies_are_not_taken(void **state)
{
    (void)state;
    meet();
    struct gossip_seal *seal;
    uint8_t bytes[512];
    struct gossip_writer w;
    struct gossip_holder holder;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &mallory), 0);
    introduce(seal);
    uint64_t hash = 0;
    struct letter letters[4];
    for (uint32_t i = 0; i < 4; i++) {
        struct gossip_dictionary d = {0};
        struct gossip_op op = {.key = 900 + i};
        hash ^= gossip_mix(op.key);
        gossip_writer_init(&w, bytes, sizeof(bytes));
        struct gossip_ops ops = {.owner = mallory.id,
                                 .boot_low = (uint16_t)mallory.boot,
                                 .first = i + 1,
                                 .check = (uint32_t)(i == 3 ? hash + 1 : hash)};
        assert_true(gossip_ops_append(&ops, &op, 1) && gossip_ops_write(&w, &d, &ops));
        letters[i] = written_by(seal, &w, 5);
    }
    town_hear(&t, 0, &letters[2]);
    town_hear(&t, 0, &letters[1]);
    assert_int_equal(gossip_lookup(t.core[0], 902, &holder, 1), 0);
    assert_int_equal(town_stats(&t, 0).ops_early, 2);
    town_hear(&t, 0, &letters[0]);
    for (uint64_t key = 900; key < 903; key++) {
        assert_int_equal(gossip_lookup(t.core[0], key, &holder, 1), 1);
        assert_int_equal(holder.id, mallory.id);
    }
    town_hear(&t, 0, &letters[3]); /* its hash is not that of the set it makes */
    assert_int_equal(gossip_lookup(t.core[0], 903, &holder, 1), 0);
    assert_int_equal(town_stats(&t, 0).hash_mismatches, 1);
    gossip_seal_free(seal);
    town_done(&t);
}

/* House 0 has only heard of house 2, that it is there and then that it is gone. Since it counts no
 * packets of it, an old one would be new to it, and what that tells of others would be news. */
static void who_is_said_to_be_gone_is_heard_when_it_proves_to_live_and_not_before(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct gossip_writer w;
    struct gossip_member_view view;
    const struct gossip_alive other = {.id = mallory.id,
                                       .boot = mallory.boot,
                                       .salt = mallory.salt,
                                       .addrs = {house_addr(5)},
                                       .gossip_port = 5001,
                                       .registry_port = 5000};
    meet();
    t.lost[2][0] = true;
    town_start(&t, 2, 1);
    town_run(&t, 5000);
    assert_true(town_member(&t, 0, house_id(2), &view) && view.state == GOSSIP_ALIVE);
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_alive_write(&w, &other);
    struct letter old = written_by(t.core[2]->seal, &w, 2);
    t.cut[2] = true;
    town_run(&t, 20000);
    assert_true(town_member(&t, 0, house_id(2), &view) && view.state == GOSSIP_DEAD);
    uint64_t challenged = town_stats(&t, 0).challenged;
    town_hear(&t, 0, &old);
    assert_int_equal(town_stats(&t, 0).challenged, challenged + 1);
    assert_false(town_member(&t, 0, mallory.id, &view));
    t.cut[2] = t.lost[2][0] = false;
    town_run(&t, 10000);
    assert_true(town_member(&t, 0, house_id(2), &view) && view.state == GOSSIP_ALIVE);
    town_done(&t);
}

static size_t bytes_to(const struct gossip_addr *to)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t.letter_count; i++) {
        bytes += gossip_addr_equal(&t.letters[i].to, to) ? t.letters[i].len : 0;
    }
    return bytes;
}

/* A packet of a member whose source is somebody else's address: all that goes there together, the
 * answer, news along with it and an accusation, is at most three times as much. */
static void whoever_a_members_packet_seems_to_come_from_is_not_flooded(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct gossip_writer w;
    struct gossip_ping ping = {.target = house_id(0), .nonce = 3};
    meet();
    struct gossip *g = t.core[0];
    g->effects = &t.effects;
    for (size_t i = 0; i < 20; i++) {
        town_introduce(g, i);
    }
    gossip_suspect(g, gossip_members_get(&g->members, house_id(1)), house_id(0));
    for (size_t kind = 0; kind < 2; kind++) {
        gossip_writer_init(&w, bytes, sizeof(bytes));
        if (kind == 1) { /* which accuses it, so that it has something to say to that, too */
            gossip_accusation_write(&w, GOSSIP_MSG_SUSPECT,
                                    &(struct gossip_accusation){.id = house_id(0),
                                                                .boot = g->me->boot,
                                                                .incarnation = g->me->incarnation,
                                                                .from = house_id(1)});
        }
        gossip_ping_write(&w, &ping);
        struct letter l = written_by(t.core[1]->seal, &w, 77);
        t.letter_count = 0;
        t.now_ms += 2000; /* accusations are repeated by then */
        town_hear(&t, 0, &l);
        assert_int_equal(town_stats(&t, 0).elsewhere, kind + 1);
        assert_in_range(bytes_to(&l.from), 1, 3 * (size_t)l.len);
    }
    /* From its own address it gets all of it. */
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_ping_write(&w, &ping);
    struct letter l = written_by(t.core[1]->seal, &w, 1);
    t.letter_count = 0;
    t.now_ms += 2000;
    town_hear(&t, 0, &l);
    assert_true(bytes_to(&l.from) > 3 * (size_t)l.len);
    assert_int_equal(town_stats(&t, 0).elsewhere, 2);
    town_done(&t);
}

static void so_many_strangers_a_second_are_challenged_and_the_bucket_does_not_pay(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct gossip_writer w;
    struct gossip_ping ping = {.nonce = 1};
    struct gossip_seal *seal;
    meet();
    struct gossip_stats before = town_stats(&t, 0);
    int64_t tokens = t.core[0]->tokens;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &seal), 0);
    for (unsigned i = 0; i < LIMIT_GOSSIP_CHALLENGES_PER_S + 500; i++) {
        struct gossip_sender sender = mallory;
        sender.id += i;
        assert_int_equal(gossip_seal_set_sender(seal, &sender), 0);
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_ping_write(&w, &ping);
        struct letter l = written_by(seal, &w, 5);
        t.letter_count = 0;
        town_hear(&t, 0, &l);
    }
    struct gossip_stats after = town_stats(&t, 0);
    assert_int_equal(after.challenged - before.challenged, LIMIT_GOSSIP_CHALLENGES_PER_S);
    assert_int_equal(after.drop_strangers - before.drop_strangers, 500);
    assert_int_equal(t.core[0]->tokens, tokens);
    gossip_seal_free(seal);
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_a_members_packet_seems_to_come_from_is_not_flooded),
        cmocka_unit_test(so_many_strangers_a_second_are_challenged_and_the_bucket_does_not_pay),
        cmocka_unit_test(who_is_said_to_be_gone_is_heard_when_it_proves_to_live_and_not_before),
        cmocka_unit_test(a_packet_heard_twice_counts_once),
        cmocka_unit_test(noise_is_counted_by_kind_and_never_answered),
        cmocka_unit_test(a_stranger_is_challenged_with_no_more_than_it_sent),
        cmocka_unit_test(members_with_impossible_addresses_are_not_taken),
        cmocka_unit_test(what_a_later_release_adds_is_skipped_and_counted),
        cmocka_unit_test(changes_out_of_order_are_put_in_order_and_lies_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
