/* test_replayed.c - what somebody without the key can do with what he has read: send it again,
 * later, to others, from elsewhere. Over HTTP: test_exchange.c. */
#include "town.h"

#include "gossip/seal.h"
#include "gossip/wire.h"

static struct town t;

static const struct gossip_sender mallory = {.id = 0xbad, .boot = 1234567, .salt = 5};

static struct letter sealed(struct gossip_seal *seal, const struct gossip_writer *w, size_t from)
{
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct letter l = {.from = house_addr(from)};
    assert_int_equal(gossip_seal_write(seal, &binding, w->bytes, w->len, l.bytes), 0);
    l.len = (uint16_t)(w->len + GOSSIP_SEAL_OVERHEAD_BYTES);
    return l;
}

static struct gossip_seal *meet(void)
{
    struct gossip_seal *seal;
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    town_run(&t, 1000);
    t.letter_count = 0;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &seal), 0);
    assert_int_equal(gossip_seal_set_sender(seal, &mallory), 0);
    return seal;
}

static struct letter challenge(struct gossip_seal *seal)
{
    uint8_t bytes[64];
    struct gossip_writer w;
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_cookie_write(&w, GOSSIP_MSG_CHALLENGE, 4711);
    return sealed(seal, &w, 5);
}

static void a_challenge_sent_again_and_again_silences_nothing(void **state)
{
    (void)state;
    struct gossip_seal *seal = meet();
    struct letter l = challenge(seal);
    int64_t tokens = t.core[0]->tokens;
    uint64_t strangers = town_stats(&t, 0).drop_strangers;
    for (size_t i = 0; i < 3000; i++) {
        town_hear(&t, 0, &l);
    }
    assert_int_equal(t.letter_count, LIMIT_GOSSIP_ECHOES_PER_S);
    assert_int_equal(town_stats(&t, 0).drop_strangers - strangers, 3000 - t.letter_count);
    assert_true(t.core[0]->tokens >= tokens);
    t.letter_count = 0;
    t.now_ms += 1000;
    town_hear(&t, 0, &l);
    assert_true(t.letter_count > 0);
    gossip_seal_free(seal);
    town_done(&t);
}

static void no_answer_to_a_challenge_is_more_than_three_times_as_long(void **state)
{
    (void)state;
    struct gossip_seal *seal = meet();
    struct letter l = challenge(seal);
    struct gossip_event self = {
        .kind = GOSSIP_SELF,
        .self = {.addrs = {house_addr(0), {.family = GOSSIP_IPV6, .ip = {0x20, 1, [15] = 1}}},
                 .gossip_port = 5001,
                 .registry_port = 5000}};
    memset(self.self.zone, 'z', GOSSIP_ZONE_BYTES - 1);
    town_step(&t, 0, &self);
    t.letter_count = 0;
    town_hear(&t, 0, &l);
    assert_int_equal(t.letter_count, 1);
    assert_in_range(t.letters[0].len, l.len, 3 * l.len);
    gossip_seal_free(seal);
    town_done(&t);
}

/* What house 0 asks a stranger, and the answer that brings in whoever gives it. */
static struct letter answer(struct gossip_seal *seal)
{
    struct gossip *g = t.core[0];
    uint8_t bytes[512];
    struct gossip_writer w;
    struct gossip_header h;
    struct gossip_reader r, fields;
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct gossip_ping ping;
    uint8_t type;
    const struct gossip_addr to = house_addr(5);
    const struct gossip_send *sent = t.effects.sends;
    g->effects = &t.effects;
    t.effects.send_count = 0;
    gossip_ping_stranger(g, &to);
    g->effects = NULL;
    assert_int_equal(gossip_seal_peek(sent->bytes, sent->len, &h), 0);
    assert_int_equal(gossip_seal_open(seal, &h, &binding, sent->bytes, sent->len, bytes), 0);
    gossip_reader_init(&r, bytes, (size_t)sent->len - GOSSIP_SEAL_OVERHEAD_BYTES);
    assert_int_equal(gossip_read_message(&r, &type, &fields), 1);
    assert_int_equal(type, GOSSIP_MSG_PING);
    assert_int_equal(gossip_ping_read(&fields, &ping), 0);
    struct gossip_ack ack = {.nonce = ping.nonce};
    const struct gossip_alive alive = {.id = mallory.id,
                                       .boot = mallory.boot,
                                       .salt = mallory.salt,
                                       .addrs = {to},
                                       .gossip_port = 5001,
                                       .registry_port = 5000};
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_ack_write(&w, &ack);
    gossip_alive_write(&w, &alive);
    return sealed(seal, &w, 5);
}

static void an_answer_kept_for_a_while_proves_no_life(void **state)
{
    (void)state;
    struct gossip_member_view view;
    struct gossip_seal *seal = meet();
    struct letter l = answer(seal);
    uint64_t challenged = town_stats(&t, 0).challenged;
    t.now_ms += 20000;
    town_hear(&t, 0, &l);
    assert_false(town_member(&t, 0, mallory.id, &view));
    assert_int_equal(town_stats(&t, 0).challenged, challenged + 1);
    l = answer(seal); /* at once, it does */
    town_hear(&t, 0, &l);
    assert_true(town_member(&t, 0, mallory.id, &view));
    gossip_seal_free(seal);
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_challenge_sent_again_and_again_silences_nothing),
        cmocka_unit_test(no_answer_to_a_challenge_is_more_than_three_times_as_long),
        cmocka_unit_test(an_answer_kept_for_a_while_proves_no_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
