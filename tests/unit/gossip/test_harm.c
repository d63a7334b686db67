/* test_harm.c - what a member can do to others, and to bystanders, that it should not. */
#include "town.h"

#include "gossip/state.h"

static struct town t;

/* House 1 knows house 0, and has told it what it has. */
static void meet(void)
{
    town_init(&t);
    for (size_t i = 0; i < 4; i++) {
        town_start(&t, i, 0);
        town_add(&t, i, 10 * (i + 1), 5);
        town_run(&t, 1000);
    }
    town_run(&t, 2000);
    t.letter_count = 0;
}

/* Something house 1 seals, as if it came from `from`. */
static void say(struct gossip_packet *p, size_t from)
{
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
    struct letter l = {.from = house_addr(from),
                       .len = (uint16_t)(p->w.len + GOSSIP_SEAL_OVERHEAD_BYTES)};
    assert_int_equal(gossip_seal_write(t.core[1]->seal, &binding, p->body, p->w.len, l.bytes), 0);
    town_hear(&t, 0, &l);
}

/* The record house 0 would be told of house 1, by house 1. */
static struct gossip_alive own_record(void)
{
    struct gossip_alive alive;
    gossip_alive_of(t.core[1], t.core[1]->me, &alive);
    return alive;
}

static void tell(const struct gossip_alive *alive)
{
    struct gossip_packet p;
    gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
    assert_true(gossip_alive_write(&p.w, alive));
    say(&p, 1);
}

static void what_may_be_large_is_answered_to_where_its_sender_is_known_to_be(void **state)
{
    (void)state;
    meet();
    struct gossip_packet p;
    struct gossip_delta_req req = {.owner = 0x100, .boot = t.core[0]->me->boot};
    gossip_packet_begin(&p, GOSSIP_CLASS_SYNC);
    size_t mark = gossip_write_begin(&p.w, GOSSIP_MSG_SUM);
    gossip_write8(&p.w, GOSSIP_BUCKET_BITS_MIN);
    for (uint64_t i = 0; i < 1 << GOSSIP_BUCKET_BITS_MIN; i++) {
        gossip_write64(&p.w, i + 1);
    }
    assert_true(gossip_write_end(&p.w, mark));
    assert_true(gossip_delta_req_write(&p.w, GOSSIP_MSG_DELTA_REQ, &req));
    say(&p, 5); /* a bystander, by the datagram's source */
    size_t answers = 0;
    for (size_t i = 0; i < t.letter_count; i++) {
        assert_int_not_equal(t.letters[i].to.ip[3], 6);
        answers += t.letters[i].to.ip[3] == 2;
    }
    assert_true(answers >= 2);
    town_done(&t);
}

static void a_record_of_the_same_life_under_another_salt_changes_nothing(void **state)
{
    (void)state;
    meet();
    struct gossip_member_view before, after;
    struct gossip_alive stolen = own_record();
    stolen.salt ^= 1;
    stolen.incarnation += 7;
    stolen.addrs[0].ip[3] = 99;
    assert_true(town_member(&t, 0, 0x101, &before));
    tell(&stolen);
    assert_true(town_member(&t, 0, 0x101, &after));
    assert_int_equal(after.addrs[0].ip[3], before.addrs[0].ip[3]);
    assert_int_equal(after.incarnation, before.incarnation);
    assert_int_equal(town_stats(&t, 0).drop_collision, 1);
    town_done(&t);
}

static void a_set_larger_than_any_that_is_taken_is_not_asked_for(void **state)
{
    (void)state;
    meet();
    struct gossip_alive huge = own_record();
    uint64_t fetches = town_stats(&t, 0).fetches;
    huge.version++;
    huge.count = 10000000;
    huge.hash = 1;
    tell(&huge);
    assert_int_equal(town_stats(&t, 0).drop_set_size, 1);
    assert_int_equal(town_stats(&t, 0).behind, 0);
    assert_true(gossip_is_settled(t.core[0]));
    town_run(&t, 3000);
    assert_int_equal(town_stats(&t, 0).fetches, fetches);
    assert_true(town_finds(&t, 0, 20, 1)); /* what it had said before */
    town_done(&t);
}

static void a_set_that_is_nowhere_to_be_had_is_not_waited_for(void **state)
{
    (void)state;
    meet();
    struct gossip_alive promised = own_record();
    promised.version += 60; /* no changes are kept for so long: the set is fetched */
    promised.count = 5;
    promised.hash = 1;
    tell(&promised);
    assert_int_equal(town_stats(&t, 0).behind, 1);
    assert_false(gossip_is_settled(t.core[0]));
    town_run(&t, 10000);
    assert_int_equal(town_stats(&t, 0).behind, 1);
    assert_true(gossip_is_settled(t.core[0]));
    town_done(&t);
}

static void a_joiner_does_not_tell_everybody_of_everybody(void **state)
{
    (void)state;
    meet();
    town_start(&t, 4, 0);
    town_add(&t, 4, 90, 5);
    while (town_stats(&t, 4).snapshots_applied == 0) {
        town_run(&t, 1);
    }
    assert_int_equal(town_stats(&t, 4).alive, 4);
    assert_in_range(town_stats(&t, 4).rumours, 0, 2); /* of itself */
    town_run(&t, 1000);
    for (size_t i = 0; i < 4; i++) {
        assert_true(town_finds(&t, i, 90, 4));
        assert_true(town_finds(&t, 4, 10 * (i + 1), i));
    }
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_large_is_answered_to_where_its_sender_is_known_to_be),
        cmocka_unit_test(a_record_of_the_same_life_under_another_salt_changes_nothing),
        cmocka_unit_test(a_set_larger_than_any_that_is_taken_is_not_asked_for),
        cmocka_unit_test(a_set_that_is_nowhere_to_be_had_is_not_waited_for),
        cmocka_unit_test(a_joiner_does_not_tell_everybody_of_everybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
