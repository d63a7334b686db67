/* test_swarm_ask.c - cores that ask one another who fetches what: who is asked, and what becomes of
 * a question when packets or arbiters are lost. */
#include "town.h"

#include "gossip/swarm_state.h"

#define MIB UINT64_C(1048576)

static struct town t;
static uint32_t last_ask;

static void found_town(size_t houses)
{
    town_init(&t);
    for (size_t i = 0; i < houses; i++) {
        town_start(&t, i, 0);
        town_add(&t, i, 90000 + i, 1);
    }
    town_run(&t, 3000);
}

/* A key whose first and second arbiter live there. */
static uint64_t key_for(size_t first, size_t second)
{
    for (uint64_t key = 1;; key++) {
        uint64_t ids[2];
        gossip_swarm_arbiters(t.core[first], key, ids);
        if (ids[0] == house_id(first) && ids[1] == house_id(second)) {
            return key;
        }
    }
}

static uint32_t ask(size_t house, uint64_t key)
{
    struct gossip_event event = {.kind = GOSSIP_WANT, .want = {.key = key, .ask = ++last_ask}};
    town_step(&t, house, &event);
    return last_ask;
}

static const struct gossip_answer *answer_to(uint32_t number)
{
    const struct gossip_answer *found = NULL;
    for (size_t i = 0; i < t.answer_count && i < 64; i++) {
        if (t.answers[i].ask == number) {
            assert_null(found); /* exactly one */
            found = &t.answers[i];
        }
    }
    return found;
}

static enum gossip_swarm_answer_kind kind_of(uint32_t number)
{
    const struct gossip_answer *answer = answer_to(number);
    assert_non_null(answer);
    return answer->kind;
}

static void flies(size_t house, uint64_t key, enum gossip_flight_state state, uint64_t parent,
                  uint64_t bytes)
{
    struct gossip_event event = {
        .kind = GOSSIP_FLIGHT,
        .flight = {.key = key, .state = state, .parent = parent, .bytes = bytes}};
    town_step(&t, house, &event);
}

static bool lease_at(size_t house, uint64_t key, struct gossip_lease_view *ret_view)
{
    size_t cursor = 0;
    while (gossip_leases(t.core[house], &cursor, ret_view)) {
        if (ret_view->key == key) {
            return true;
        }
    }
    return false;
}

static struct gossip_swarm_stats swarm_stats(size_t house)
{
    struct gossip_swarm_stats stats;
    gossip_swarm_stats(t.core[house], &stats);
    return stats;
}

static void a_lone_node_leads_at_once(void **state)
{
    (void)state;
    struct gossip_lease_view view;
    town_init(&t);
    town_start(&t, 0, 0);
    assert_int_equal(kind_of(ask(0, 77)), GOSSIP_SWARM_GRANT); /* before anything is listed, too */
    town_add(&t, 0, 1, 1);
    assert_int_equal(kind_of(ask(0, 77)), GOSSIP_SWARM_GRANT);
    flies(0, 77, GOSSIP_FLIGHT_GROWING, 0, MIB);
    assert_true(lease_at(0, 77, &view) && view.leader == house_id(0) && view.leader_bytes == MIB);
    assert_int_equal(swarm_stats(0).flights, 1);
    flies(0, 77, GOSSIP_FLIGHT_HELD, 0, MIB);
    assert_int_equal(swarm_stats(0).flights, 0);
    town_run(&t, 12000);
    assert_false(lease_at(0, 77, &view));
    town_done(&t);
}

static void all_agree_on_the_arbiter_and_follow_whom_it_says(void **state)
{
    (void)state;
    struct gossip_lease_view view;
    found_town(6);
    uint64_t key = key_for(4, 5), ids[2];
    for (size_t i = 0; i < 6; i++) {
        gossip_swarm_arbiters(t.core[i], key, ids);
        assert_true(ids[0] == house_id(4) && ids[1] == house_id(5));
    }
    uint32_t first = ask(0, key);
    assert_null(answer_to(first));
    town_run(&t, 2);
    assert_int_equal(kind_of(first), GOSSIP_SWARM_GRANT);
    flies(0, key, GOSSIP_FLIGHT_GROWING, 0, MIB);
    uint32_t second = ask(1, key), own = ask(4, key);
    /* The arbiter's own question is answered in the same step, and it was asked first. */
    assert_int_equal(answer_to(own)->offers[0].id, house_id(0));
    town_run(&t, 2);
    assert_int_equal(kind_of(second), GOSSIP_SWARM_OFFER);
    assert_int_equal(answer_to(second)->offers[0].id, house_id(0));
    assert_int_equal(answer_to(second)->offers[1].id, house_id(4));
    assert_int_equal(answer_to(second)->offers[1].depth, 1);
    flies(1, key, GOSSIP_FLIGHT_GROWING, house_id(4), MIB);
    town_run(&t, 2);
    /* Both arbiters know. */
    assert_true(lease_at(4, key, &view) && view.leader == house_id(0));
    assert_true(lease_at(5, key, &view) && view.leader == house_id(0));
    assert_int_equal(view.followers, 1);
    assert_int_equal(swarm_stats(0).asks_granted, 1);
    assert_int_equal(swarm_stats(1).asks_offered, 1);
    town_done(&t);
}

static void an_offer_names_only_members_known_here(void **state)
{
    (void)state;
    found_town(4);
    uint64_t key = key_for(2, 3);
    ask(0, key);
    town_run(&t, 2);
    /* House 1 alone believes that house 0 is dead. */
    struct gossip_accusation dead = {.id = house_id(0), .boot = 1001000, .from = house_id(1)};
    struct gossip_effects *effects = &t.effects;
    t.core[1]->effects = effects;
    dead.boot = gossip_members_get(&t.core[1]->members, house_id(0))->boot;
    gossip_hear_accusation(t.core[1], GOSSIP_MSG_DEAD, &dead);
    uint32_t number = ask(1, key);
    town_deliver(&t);
    assert_int_equal(kind_of(number), GOSSIP_SWARM_WAIT);
    assert_true(answer_to(number)->retry_ms > 0);
    town_done(&t);
}

static void an_arbiter_that_is_dead_is_passed_over(void **state)
{
    (void)state;
    found_town(5);
    uint64_t key = key_for(3, 4), other = key_for(3, 2);
    t.cut[3] = true;
    uint64_t start_ms = t.now_ms;
    uint32_t number = ask(0, key);
    uint64_t sent = swarm_stats(0).asks,
             before = town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM];
    assert_int_equal(sent, 1);
    for (; !answer_to(number); town_run(&t, 1)) {
        assert_true(t.now_ms - start_ms < 1000);
    }
    assert_int_equal(kind_of(number), GOSSIP_SWARM_GRANT);
    assert_in_range(t.now_ms - start_ms, LIMIT_SWARM_ANSWER_MS, LIMIT_SWARM_ANSWER_MS + 3);
    /* The first was asked again and again, then both. */
    uint64_t packets = town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM] - before;
    assert_in_range(packets, LIMIT_SWARM_ANSWER_MS / LIMIT_SWARM_RETRY_MS,
                    LIMIT_SWARM_ANSWER_MS / LIMIT_SWARM_RETRY_MS + 3);
    assert_int_equal(swarm_stats(0).second_arbiter, 1);
    /* For a second it is not asked first again, not even for something else. */
    number = ask(0, other);
    town_run(&t, 2);
    assert_int_equal(kind_of(number), GOSSIP_SWARM_GRANT);
    town_done(&t);
}

static void without_any_answer_it_is_upstream(void **state)
{
    (void)state;
    found_town(5);
    uint64_t key = key_for(3, 4);
    t.cut[3] = t.cut[4] = true;
    uint64_t start_ms = t.now_ms;
    uint32_t number = ask(0, key), ended = ask(0, key);
    struct gossip_event end = {.kind = GOSSIP_WANT_END, .ask = ended};
    town_step(&t, 0, &end);
    town_step(&t, 0, &end); /* once more is no harm */
    for (; !answer_to(number); town_run(&t, 1)) {
        assert_true(t.now_ms - start_ms < 1000);
    }
    assert_int_equal(kind_of(number), GOSSIP_SWARM_NONE);
    assert_in_range(t.now_ms - start_ms, 2 * LIMIT_SWARM_ANSWER_MS, 2 * LIMIT_SWARM_ANSWER_MS + 3);
    assert_null(answer_to(ended));
    assert_int_equal(swarm_stats(0).asks_open, 0);
    assert_int_equal(swarm_stats(0).asks_unanswered, 1);
    town_done(&t);
}

static void whoever_hears_nothing_over_udp_neither_asks_nor_is_asked(void **state)
{
    (void)state;
    uint64_t ids[2];
    found_town(3);
    uint64_t key = key_for(1, 2);
    t.core[0]->me->tcp_only = true;
    assert_int_equal(kind_of(ask(0, key)), GOSSIP_SWARM_NONE);
    t.core[0]->me->tcp_only = false;
    gossip_members_get(&t.core[0]->members, house_id(1))->tcp_only = true;
    gossip_swarm_arbiters(t.core[0], key, ids);
    assert_true(ids[0] == house_id(2) && ids[1] == house_id(0));
    town_done(&t);
}

static void answers_that_are_late_or_foreign_are_ignored(void **state)
{
    (void)state;
    found_town(4);
    uint64_t key = key_for(2, 3);
    t.cut[2] = t.cut[3] = true;
    uint32_t number = ask(0, key);
    t.core[0]->effects = &t.effects;
    struct gossip_answer grant = {.key = key, .ask = number, .kind = GOSSIP_SWARM_GRANT};
    t.effects.answer_count = 0;
    gossip_ask_answered(t.core[0], &grant, house_id(1)); /* was not asked */
    gossip_ask_answered(t.core[0], &grant, house_id(3)); /* not asked yet */
    grant.key = key + 1;
    gossip_ask_answered(t.core[0], &grant, house_id(2));
    grant.key = key;
    grant.ask = number + 1;
    gossip_ask_answered(t.core[0], &grant, house_id(2));
    assert_int_equal(t.effects.answer_count, 0);
    grant.ask = number;
    gossip_ask_answered(t.core[0], &grant, house_id(2));
    assert_int_equal(t.effects.answer_count, 1);
    gossip_ask_answered(t.core[0], &grant, house_id(2)); /* twice */
    assert_int_equal(t.effects.answer_count, 1);
    town_done(&t);
}

static void a_lease_survives_its_arbiter(void **state)
{
    (void)state;
    struct gossip_lease_view view;
    found_town(6);
    uint64_t key = key_for(4, 5);
    ask(0, key);
    town_run(&t, 2);
    flies(0, key, GOSSIP_FLIGHT_GROWING, 0, MIB);
    town_run(&t, 2);
    t.cut[4] = true;
    uint32_t number = ask(1, key);
    town_run(&t, LIMIT_SWARM_ANSWER_MS + 5);
    assert_int_equal(kind_of(number), GOSSIP_SWARM_OFFER);
    /* Both are lost: whoever is first now was told within moments of everybody's noticing. */
    t.cut[5] = true;
    uint64_t ids[2] = {house_id(4)};
    for (int ms = 0; ids[0] == house_id(4) || ids[0] == house_id(5); ms += 100) {
        assert_true(ms < 20000);
        flies(0, key, GOSSIP_FLIGHT_GROWING, 0, MIB + (uint64_t)ms);
        town_run(&t, 100);
        gossip_swarm_arbiters(t.core[0], key, ids);
    }
    town_run(&t, 2);
    assert_true(lease_at((size_t)(ids[0] - 0x100), key, &view));
    assert_int_equal(view.leader, house_id(0));
    town_done(&t);
}

static void a_new_first_arbiter_is_told_at_once(void **state)
{
    (void)state;
    struct gossip_lease_view view;
    found_town(4);
    uint64_t key = 1;
    /* One that the house to come would arbitrate. */
    for (uint64_t ids[2];
         gossip_swarm_arbiters(t.core[0], key, ids),
         gossip_mix(key ^ gossip_mix(house_id(4))) < gossip_mix(key ^ gossip_mix(ids[0]));
         key++) {
    }
    ask(0, key);
    town_run(&t, 2);
    flies(0, key, GOSSIP_FLIGHT_GROWING, 0, MIB);
    town_start(&t, 4, 0);
    town_add(&t, 4, 5, 1);
    bool told = false;
    for (int ms = 0; ms < 3000 && !told; ms++) {
        town_run(&t, 1); /* the flight itself says nothing meanwhile */
        told = lease_at(4, key, &view);
    }
    assert_true(told && view.leader == house_id(0));
    town_done(&t);
}

static void arbiters_are_told_no_more_often_than_need_be(void **state)
{
    (void)state;
    found_town(4);
    uint64_t key = key_for(2, 3);
    flies(0, key, GOSSIP_FLIGHT_WAITING, house_id(1), 0);
    uint64_t before = town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM];
    for (int i = 1; i <= 100; i++) {
        flies(0, key, GOSSIP_FLIGHT_GROWING, house_id(1), (uint64_t)i * MIB);
        town_run(&t, 100);
    }
    uint64_t packets = town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM] - before;
    assert_in_range(packets, 2 * 10, 2 * 14);
    flies(0, key, GOSSIP_FLIGHT_GROWING, house_id(1), 0); /* settles the count */
    town_run(&t, 1);
    before = town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM];
    flies(0, key, GOSSIP_FLIGHT_GONE, 0, 0);
    assert_int_equal(town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM], before + 2);
    town_run(&t, 500); /* said once more, for packets get lost, and then forgotten */
    assert_int_equal(town_stats(&t, 0).class_packets[GOSSIP_CLASS_SWARM], before + 4);
    assert_int_equal(swarm_stats(0).flights, 0);
    town_done(&t);
}

static void strangers_are_not_answered(void **state)
{
    (void)state;
    found_town(2);
    uint8_t body[128];
    struct gossip_writer w;
    struct gossip_want want = {.key = 5, .ask = 6};
    struct gossip_addr from = house_addr(5);
    gossip_writer_init(&w, body, sizeof(body));
    gossip_want_write(&w, &want);
    t.core[0]->effects = &t.effects;
    t.effects.send_count = 0;
    gossip_receive_messages(t.core[0], NULL, 0x999, &from, body, w.len, w.len + 40);
    assert_int_equal(t.effects.send_count, 0);
    assert_int_equal(swarm_stats(0).leases, 0);
    town_done(&t);
}

static void questions_packets_and_flights_are_capped(void **state)
{
    (void)state;
    found_town(3);
    uint64_t key = key_for(1, 2);
    t.cut[0] = true;
    size_t none = 0;
    struct gossip_effects *e = &t.effects;
    for (uint32_t i = 0; i < LIMIT_SWARM_ASKS + 5; i++) {
        ask(0, key);
        none += e->answer_count == 1 && e->answers[0].kind == GOSSIP_SWARM_NONE;
        t.letter_count = 0;
    }
    assert_int_equal(none, 5);
    assert_int_equal(swarm_stats(0).asks_open, LIMIT_SWARM_ASKS);
    /* They all end, a few each step. */
    size_t answered = 0;
    for (uint64_t end_ms = t.now_ms + 500; t.now_ms < end_ms; t.now_ms++) {
        struct gossip_event tick = {.kind = GOSSIP_TICK};
        town_step(&t, 0, &tick);
        answered += e->answer_count;
        t.letter_count = 0;
    }
    assert_int_equal(answered, LIMIT_SWARM_ASKS);
    assert_true(town_stats(&t, 0).drop_rate > 0); /* more packets than may be sent in a second */
    for (uint64_t i = 0; i < LIMIT_SWARM_FLIGHTS + 5; i++) {
        flies(0, 1000 + i, GOSSIP_FLIGHT_GROWING, 0, 1);
        t.letter_count = 0;
    }
    assert_int_equal(swarm_stats(0).flights, LIMIT_SWARM_FLIGHTS);
    town_done(&t);
}

/* At the cap, and with effects that have no memory: the answer has its room all the same. */
static void over_the_cap_and_without_memory_the_answer_is_none(void **state)
{
    (void)state;
    found_town(3);
    uint64_t key = key_for(1, 2);
    for (uint32_t i = 0; i < LIMIT_SWARM_ASKS; i++) {
        ask(0, key);
        t.letter_count = 0;
    }
    gossip_effects_done(&t.effects);
    support_fail_allocation(1);
    for (unsigned i = 0; i < 3; i++) {
        t.answer_count = 0;
        assert_int_equal(kind_of(ask(0, key)), GOSSIP_SWARM_NONE);
    }
    support_fail_allocation(0);
    t.answer_count = 0;
    assert_int_equal(kind_of(ask(0, key)), GOSSIP_SWARM_NONE); /* with memory again */
    assert_int_equal(swarm_stats(0).asks_unanswered, 4);
    town_done(&t);
}

static void without_memory_every_question_is_still_answered_once(void **state)
{
    (void)state;
    found_town(3);
    uint64_t remote = key_for(1, 2), own = key_for(0, 1);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        uint32_t numbers[2];
        t.answer_count = 0;
        gossip_effects_done(&t.effects); /* these, too, are made anew */
        numbers[0] = ask(0, remote);
        numbers[1] = ask(0, own);
        flies(0, own, GOSSIP_FLIGHT_GROWING, 0, MIB);
        for (int ms = 0; ms < 250; ms++) {
            town_run(&t, 1);
        }
        assert_non_null(answer_to(numbers[0]));
        assert_non_null(answer_to(numbers[1]));
        flies(0, own, GOSSIP_FLIGHT_GONE, 0, MIB);
        town_run(&t, 150);
        for (size_t i = 0; i < 3; i++) {
            gossip_swarm_free(t.core[i]);
        }
    });
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_node_leads_at_once),
        cmocka_unit_test(all_agree_on_the_arbiter_and_follow_whom_it_says),
        cmocka_unit_test(an_offer_names_only_members_known_here),
        cmocka_unit_test(an_arbiter_that_is_dead_is_passed_over),
        cmocka_unit_test(without_any_answer_it_is_upstream),
        cmocka_unit_test(whoever_hears_nothing_over_udp_neither_asks_nor_is_asked),
        cmocka_unit_test(answers_that_are_late_or_foreign_are_ignored),
        cmocka_unit_test(a_lease_survives_its_arbiter),
        cmocka_unit_test(a_new_first_arbiter_is_told_at_once),
        cmocka_unit_test(arbiters_are_told_no_more_often_than_need_be),
        cmocka_unit_test(strangers_are_not_answered),
        cmocka_unit_test(questions_packets_and_flights_are_capped),
        cmocka_unit_test(over_the_cap_and_without_memory_the_answer_is_none),
        cmocka_unit_test(without_memory_every_question_is_still_answered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
