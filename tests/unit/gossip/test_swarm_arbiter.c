/* test_swarm_arbiter.c - who is granted, who is offered whom: the rules at the head of swarm.h. */
#include "desk.h"

#include <stdlib.h>

#define MIB UINT64_C(1048576)

static struct desk d;

static void the_first_leads_and_the_others_follow_one_another(void **state)
{
    (void)state;
    desk_open(&d, 20);
    assert_int_equal(desk_want(&d, 1).kind, GOSSIP_SWARM_GRANT);
    struct gossip_answer answer = desk_want(&d, 2);
    assert_offered_first(answer, 1);
    assert_int_equal(answer.offers[0].depth, 0);
    assert_false(answer.offers[0].holds);
    answer = desk_want(&d, 3);
    assert_offered_first(answer, 1); /* the least deep of those with room at ease */
    assert_true(desk_offers(&answer, 2) && answer.count == 2);
    answer = desk_want(&d, 4);
    assert_true(answer.offers[0].id == 2 || answer.offers[0].id == 3); /* not a third child */
    assert_int_equal(answer.offers[0].depth, 1);
    assert_int_equal(answer.offers[2].id, 1);
    /* The leader is granted it again. */
    assert_int_equal(desk_want(&d, 1).kind, GOSSIP_SWARM_GRANT);
    for (uint64_t id = 5; id <= 20; id++) {
        answer = desk_want(&d, id);
        assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
        assert_true(answer.count <= GOSSIP_SWARM_OFFERS);
        assert_false(desk_offers(&answer, id));
    }
    struct gossip_swarm_stats stats;
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.granted, 2);
    assert_int_equal(stats.offered, 19);
    assert_int_equal(stats.participants, 20);
    desk_close(&d);
}

static void a_question_that_comes_again_gets_the_same_answer(void **state)
{
    (void)state;
    desk_open(&d, 3);
    struct gossip_want want = {.key = d.key, .ask = 7};
    struct gossip_answer first, again;
    desk_want(&d, 1);
    assert_true(gossip_arbiter_want(d.g, 2, &want, &first));
    desk_want(&d, 3); /* things move on */
    desk_wait(&d, 90);
    assert_true(gossip_arbiter_want(d.g, 2, &want, &again));
    assert_memory_equal(&first, &again, sizeof(first));
    /* Another's same number is another question. */
    assert_true(gossip_arbiter_want(d.g, 3, &want, &again));
    assert_int_not_equal(again.offers[0].id, 3);
    struct gossip_swarm_stats stats;
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.wants, 4);
    desk_close(&d);
}

static void the_tree_is_two_wide_and_as_deep_as_need_be(void **state)
{
    (void)state;
    unsigned children[400] = {0}, depth[400] = {0}, deepest = 0;
    uint64_t members = 399;
    desk_open(&d, members);
    assert_int_equal(desk_want(&d, 1).kind, GOSSIP_SWARM_GRANT);
    for (uint64_t id = 2; id <= members; id++) {
        struct gossip_answer answer = desk_want(&d, id);
        assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
        uint64_t parent = answer.offers[0].id;
        depth[id] = depth[parent] + 1;
        deepest = depth[id] > deepest ? depth[id] : deepest;
        assert_int_equal(answer.offers[0].depth, depth[parent]);
        assert_true(++children[parent] <= 2);
    }
    assert_int_equal(deepest, 8); /* 2^8 <= 399 < 2^9 */
    desk_close(&d);
}

static void nobody_is_deeper_than_allowed(void **state)
{
    (void)state;
    desk_open(&d, LIMIT_SWARM_DEPTH + 3);
    desk_want(&d, 1);
    for (uint64_t id = 2; id <= LIMIT_SWARM_DEPTH + 1; id++) {
        desk_want(&d, id);
        desk_grows(&d, id, id - 1, MIB);
    }
    uint64_t last = LIMIT_SWARM_DEPTH + 1;
    struct gossip_answer answer = desk_want(&d, last + 1);
    assert_false(desk_offers(&answer, last));
    /* One with others behind it finds a place, too. */
    answer =
        desk_fault(&d, LIMIT_SWARM_DEPTH - 3, MIB, LIMIT_SWARM_DEPTH - 4, GOSSIP_FAULT_REFUSED);
    assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
    for (size_t i = 0; i < answer.count; i++) {
        assert_true(answer.offers[i].depth < LIMIT_SWARM_DEPTH);
    }
    desk_close(&d);
}

static void a_full_tree_makes_askers_wait(void **state)
{
    (void)state;
    desk_open(&d, LIMIT_SWARM_CHILDREN + 3);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    for (uint64_t id = 2; id < 2 + LIMIT_SWARM_CHILDREN; id++) {
        desk_want(&d, id);
        desk_grows(&d, id, 1, MIB);
    }
    /* All but the leader have failed this asker, and the leader is full. */
    struct failed failed[LIMIT_SWARM_CHILDREN];
    for (uint64_t i = 0; i < LIMIT_SWARM_CHILDREN; i++) {
        failed[i] = (struct failed){2 + i, GOSSIP_FAULT_LOST};
    }
    uint64_t late = 2 + LIMIT_SWARM_CHILDREN;
    struct gossip_answer answer = desk_want_failed(&d, late, 0, failed, LIMIT_SWARM_CHILDREN);
    assert_int_equal(answer.kind, GOSSIP_SWARM_WAIT);
    /* One has it all now, and so has room. */
    desk_says(&d, 2, GOSSIP_FLIGHT_HELD);
    answer = desk_want(&d, late);
    assert_true(desk_offers(&answer, 2));
    for (size_t i = 0; i < answer.count; i++) {
        assert_int_equal(answer.offers[i].holds, answer.offers[i].id == 2);
    }
    desk_close(&d);
}

static void same_zone_comes_first_unless_it_is_crowded(void **state)
{
    (void)state;
    desk_open(&d, 2);
    desk_member(&d, 4, "b");
    desk_member(&d, 5, "b");
    desk_member(&d, 6, "b");
    desk_want(&d, 1);
    assert_offered_first(desk_want(&d, 4), 1);
    assert_offered_first(desk_want(&d, 5), 4); /* not the leader, who is less deep but far */
    struct gossip_answer answer = desk_want(&d, 6);
    assert_int_equal(answer.offers[0].id, 4);
    assert_int_equal(answer.offers[1].id, 5);
    assert_int_equal(answer.offers[2].id, 1);
    desk_grows(&d, 6, 1, MIB);
    answer = desk_want(&d, 2);
    assert_int_not_equal(answer.offers[0].id, 1); /* it has two children */
    assert_int_equal(answer.offers[answer.count - 1].id, 1);
    desk_close(&d);
}

static void nobody_is_offered_whoever_receives_from_it(void **state)
{
    (void)state;
    desk_open(&d, 5);
    desk_want(&d, 1);
    for (uint64_t id = 2; id <= 5; id++) {
        desk_want(&d, id);
        desk_grows(&d, id, id - 1, MIB);
    }
    struct gossip_answer answer = desk_fault(&d, 3, MIB, 2, GOSSIP_FAULT_LOST);
    assert_offered_first(answer, 1);
    assert_int_equal(answer.count, 1); /* 4 and 5 receive from 3 */
    answer = desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_REFUSED);
    assert_false(desk_offers(&answer, 2));
    desk_close(&d);
}

static void members_who_say_they_receive_from_one_another_are_not_offered(void **state)
{
    (void)state;
    desk_open(&d, 5);
    desk_grows(&d, 1, 2, MIB);
    desk_grows(&d, 2, 1, MIB);
    desk_grows(&d, 3, 3, MIB);
    desk_wait(&d, LIMIT_SWARM_BEGIN_MS); /* 2 was a name for a moment */
    desk_grows(&d, 1, 2, MIB);
    desk_grows(&d, 2, 1, MIB);
    assert_int_equal(desk_want(&d, 4).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

static void whoever_stalls_below_a_stall_stays(void **state)
{
    (void)state;
    desk_open(&d, 4);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, 5 * MIB);
    for (uint64_t id = 2; id <= 4; id++) {
        desk_want(&d, id);
        desk_grows(&d, id, id - 1, 5 * MIB);
    }
    struct gossip_swarm_stats stats;
    struct gossip_answer answer = desk_fault(&d, 3, 5 * MIB, 2, GOSSIP_FAULT_STALLED);
    assert_offered_first(answer, 2);
    assert_true(desk_offers(&answer, 1));
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.stays, 1);
    /* Another has come much further: its bytes come another way. */
    desk_grows(&d, 1, 0, 50 * MIB);
    assert_offered_first(desk_fault(&d, 3, 5 * MIB, 2, GOSSIP_FAULT_STALLED), 1);
    /* The parent has more than it gives. */
    desk_grows(&d, 4, 3, 5 * MIB);
    desk_grows(&d, 3, 1, 6 * MIB);
    answer = desk_fault(&d, 4, 5 * MIB, 3, GOSSIP_FAULT_STALLED);
    assert_false(desk_offers(&answer, 3));
    /* The parent itself is not heard. */
    desk_wait(&d, LIMIT_SWARM_SILENT_MS);
    desk_grows(&d, 1, 0, 50 * MIB);
    desk_grows(&d, 2, 1, 5 * MIB);
    answer = desk_fault(&d, 4, 6 * MIB, 3, GOSSIP_FAULT_STALLED);
    assert_false(desk_offers(&answer, 3));
    desk_close(&d);
}

static void a_parent_much_slower_than_others_is_left(void **state)
{
    (void)state;
    desk_open(&d, 6);
    desk_want(&d, 1);
    for (uint64_t s = 1; s <= 5; s++) {
        desk_wait(&d, 1000);
        desk_grows(&d, 1, 0, s * 100 * MIB);
        desk_grows(&d, 2, 1, s * 60 * MIB);
        desk_grows(&d, 3, 1, s * 10 * MIB); /* on a bad link; so are those behind it */
        desk_grows(&d, 4, 3, s * 10 * MIB);
    }
    struct gossip_answer answer = desk_fault(&d, 4, 50 * MIB, 3, GOSSIP_FAULT_SLOW);
    assert_offered_first(answer, 2);
    /* Not when the others are not much faster, and not for a third child. */
    desk_grows(&d, 4, 3, 50 * MIB);
    assert_offered_first(desk_fault(&d, 3, 50 * MIB, 1, GOSSIP_FAULT_SLOW), 1);
    assert_offered_first(desk_fault(&d, 2, 300 * MIB, 1, GOSSIP_FAULT_SLOW), 1);
    desk_grows(&d, 5, 2, MIB);
    desk_grows(&d, 6, 2, MIB);
    assert_offered_first(desk_fault(&d, 4, 50 * MIB, 3, GOSSIP_FAULT_SLOW), 3);
    /* Nobody new is sent there. */
    assert_int_not_equal(desk_want(&d, SELF).offers[0].id, 3);
    desk_close(&d);
}

static void whoever_feeds_many_others_is_spared(void **state)
{
    (void)state;
    desk_open(&d, 4);
    desk_want(&d, 1);
    desk_renew_full(&d, 1,
                    (struct gossip_renew){.state = GOSSIP_FLIGHT_GROWING,
                                          .bytes = MIB,
                                          .load = 40}); /* ten streams, of other content */
    assert_offered_first(desk_want(&d, 2), 1);          /* there is nobody else */
    desk_grows(&d, 2, 1, MIB);
    assert_offered_first(desk_want(&d, 3), 2);
    desk_grows(&d, 3, 2, MIB);
    struct gossip_answer answer = desk_want(&d, 4);
    assert_offered_first(answer, 2);
    assert_int_equal(answer.offers[answer.count - 1].id, 1);
    desk_close(&d);
}

static void a_stand_in_offers_only_what_it_was_told(void **state)
{
    (void)state;
    desk_open(&d, 3);
    uint64_t ids[2], key = 1;
    for (gossip_swarm_arbiters(d.g, key, ids); ids[0] == SELF;) {
        gossip_swarm_arbiters(d.g, ++key, ids);
    }
    struct gossip_want want = {.key = key, .ask = 1};
    struct gossip_answer answer;
    assert_true(gossip_arbiter_want(d.g, 1, &want, &answer));
    assert_int_equal(answer.kind, GOSSIP_SWARM_GRANT);
    want.ask++;
    assert_true(gossip_arbiter_want(d.g, 2, &want, &answer));
    assert_offered_first(answer, 1);
    /* The first arbiter may have sent 2 elsewhere, to 3 for one. */
    want.ask++;
    assert_true(gossip_arbiter_want(d.g, 3, &want, &answer));
    assert_true(answer.count == 1 && answer.offers[0].id == 1);
    struct gossip_renew renew = {.key = key, .sequence = 1, .parent = 1};
    gossip_arbiter_renew(d.g, 2, &renew);
    want.ask++;
    assert_true(gossip_arbiter_want(d.g, 3, &want, &answer));
    assert_int_equal(answer.count, 2);
    desk_close(&d);
}

static void whoever_is_refused_by_all_waits_a_while_and_then_leads(void **state)
{
    (void)state;
    desk_open(&d, 2);
    desk_want(&d, 1);
    uint64_t waited_ms = 0;
    for (;; waited_ms += 250) {
        desk_grows(&d, 1, 0, waited_ms * 1000);
        struct gossip_answer answer = desk_fault(&d, 2, 0, 1, GOSSIP_FAULT_REFUSED);
        if (answer.kind == GOSSIP_SWARM_GRANT) {
            break;
        }
        assert_int_equal(answer.kind, GOSSIP_SWARM_WAIT);
        desk_wait(&d, 250);
    }
    assert_int_equal(waited_ms, LIMIT_SWARM_BEGIN_MS);
    desk_close(&d);
}

/* What is wrong came to all below it, and whoever goes upstream now is not below. */
static void nobody_is_offered_what_comes_from_whom_he_found_wrong(void **state)
{
    (void)state;
    desk_open(&d, 6);
    desk_want(&d, 1);
    desk_want(&d, 2);
    desk_want(&d, 3);
    desk_grows(&d, 1, 0, MIB);
    desk_grows(&d, 2, 1, MIB);
    desk_grows(&d, 3, 2, MIB);
    assert_int_equal(desk_fault(&d, 4, 0, 1, GOSSIP_FAULT_WRONG).kind, GOSSIP_SWARM_GRANT);
    desk_grows(&d, 4, 0, MIB);
    struct gossip_answer answer = desk_fault(&d, 5, 0, 1, GOSSIP_FAULT_WRONG);
    assert_offered_first(answer, 4);
    assert_int_equal(answer.count, 1);
    /* Others may yet be sent there, and its being held changes nothing for those who know. */
    assert_true(desk_want(&d, 6).count > 1);
    desk_says(&d, 1, GOSSIP_FLIGHT_HELD);
    answer = desk_fault(&d, 5, 0, 1, GOSSIP_FAULT_WRONG);
    assert_offered_first(answer, 4);
    assert_false(desk_offers(&answer, 1) || desk_offers(&answer, 2) || desk_offers(&answer, 3));
    desk_close(&d);
}

static void holders_that_the_index_knows_are_offered(void **state)
{
    (void)state;
    desk_open(&d, 6);
    desk_holds(&d, 1);
    struct gossip_answer answer = desk_want(&d, 2);
    assert_offered_first(answer, 1);
    assert_true(answer.offers[0].holds && answer.count == 1);
    /* It has as many children as were sent there. */
    assert_offered_first(desk_want(&d, 3), 1);
    answer = desk_want(&d, 4);
    assert_true(answer.offers[0].id != 1 && desk_offers(&answer, 1));
    desk_close(&d);
    /* Nobody but a holder that is of no use to this one: upstream. */
    desk_open(&d, 2);
    desk_holds(&d, 1);
    assert_int_equal(desk_fault(&d, 2, 0, 1, GOSSIP_FAULT_REFUSED).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
    desk_open(&d, 2);
    desk_holds(&d, 1);
    desk_gone(&d, 1);
    assert_int_equal(desk_want(&d, 2).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

static void a_node_may_be_its_own_arbiters_leader_and_parent(void **state)
{
    (void)state;
    desk_open(&d, 2);
    assert_int_equal(desk_want(&d, SELF).kind, GOSSIP_SWARM_GRANT);
    desk_grows(&d, SELF, 0, MIB);
    assert_offered_first(desk_want(&d, 1), SELF);
    assert_offered_first(desk_want(&d, 2), SELF);
    desk_close(&d);
}

static void leases_and_participants_are_capped(void **state)
{
    (void)state;
    desk_open(&d, 2);
    struct gossip_answer answer;
    struct gossip_swarm_stats stats;
    for (uint32_t k = 0; k < LIMIT_SWARM_LEASES + 3; k++) {
        struct gossip_want want = {.key = 10 + k, .ask = 1 + k};
        assert_int_equal(gossip_arbiter_want(d.g, 1, &want, &answer), k < LIMIT_SWARM_LEASES);
    }
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.leases, LIMIT_SWARM_LEASES);
    assert_int_equal(stats.drop_cap, 3);
    /* Somebody with the key names ever new parents. */
    for (uint32_t k = 0; k < LIMIT_SWARM_PARTICIPANTS; k++) {
        struct gossip_renew renew = {.key = 10,
                                     .sequence = ++d.sequence,
                                     .state = GOSSIP_FLIGHT_GROWING,
                                     .parent = 0x10000 + k};
        gossip_arbiter_renew(d.g, 2, &renew);
    }
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.participants, LIMIT_SWARM_PARTICIPANTS);
    desk_wait(&d, 4000);
    desk_wait(&d, 8000);
    desk_wait(&d, 8000);
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.participants, 0);
    desk_close(&d);
}

static void without_memory_there_is_no_answer_and_no_harm(void **state)
{
    (void)state;
    desk_open(&d, 6);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        for (uint64_t id = 1; id <= 4; id++) {
            struct gossip_answer answer = desk_want(&d, id);
            assert_true(answer.kind != GOSSIP_SWARM_OFFER || answer.count > 0);
            desk_grows(&d, id, id - 1, MIB * id);
        }
        desk_says(&d, 1, GOSSIP_FLIGHT_GONE);
        gossip_swarm_free(d.g);
    });
    assert_int_equal(desk_want(&d, 5).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_leads_and_the_others_follow_one_another),
        cmocka_unit_test(a_question_that_comes_again_gets_the_same_answer),
        cmocka_unit_test(the_tree_is_two_wide_and_as_deep_as_need_be),
        cmocka_unit_test(nobody_is_deeper_than_allowed),
        cmocka_unit_test(a_full_tree_makes_askers_wait),
        cmocka_unit_test(same_zone_comes_first_unless_it_is_crowded),
        cmocka_unit_test(nobody_is_offered_whoever_receives_from_it),
        cmocka_unit_test(members_who_say_they_receive_from_one_another_are_not_offered),
        cmocka_unit_test(whoever_stalls_below_a_stall_stays),
        cmocka_unit_test(a_parent_much_slower_than_others_is_left),
        cmocka_unit_test(whoever_feeds_many_others_is_spared),
        cmocka_unit_test(a_stand_in_offers_only_what_it_was_told),
        cmocka_unit_test(whoever_is_refused_by_all_waits_a_while_and_then_leads),
        cmocka_unit_test(nobody_is_offered_what_comes_from_whom_he_found_wrong),
        cmocka_unit_test(holders_that_the_index_knows_are_offered),
        cmocka_unit_test(a_node_may_be_its_own_arbiters_leader_and_parent),
        cmocka_unit_test(leases_and_participants_are_capped),
        cmocka_unit_test(without_memory_there_is_no_answer_and_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
