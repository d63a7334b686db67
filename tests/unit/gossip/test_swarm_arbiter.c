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
    assert_offered_first(answer,
                         2); /* which has no children yet, although it has no bytes either */
    assert_int_equal(answer.offers[0].depth, 1);
    assert_true(desk_offers(&answer, 1) && answer.count == 2);
    /* The leader is granted it again. */
    assert_int_equal(desk_want(&d, 1).kind, GOSSIP_SWARM_GRANT);
    for (uint64_t id = 4; id <= 20; id++) {
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
    struct gossip_want want = {.key = KEY, .ask = 7};
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

static void nobody_gets_more_children_or_depth_than_allowed_until_all_must_wait(void **state)
{
    (void)state;
    unsigned children[400] = {0}, depth[400] = {0};
    uint64_t members = 399, waiting = 0;
    desk_open(&d, members);
    assert_int_equal(desk_want(&d, 1).kind, GOSSIP_SWARM_GRANT);
    for (uint64_t id = 2; id <= members; id++) {
        struct gossip_answer answer = desk_want(&d, id);
        if (answer.kind == GOSSIP_SWARM_WAIT) {
            assert_true(answer.retry_ms >= LIMIT_SWARM_WAIT_MS / 2 && answer.retry_ms <= 3000);
            waiting++;
            continue;
        }
        assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
        uint64_t parent = answer.offers[0].id;
        depth[id] = depth[parent] + 1;
        assert_int_equal(answer.offers[0].depth, depth[parent]);
        assert_true(++children[parent] <= LIMIT_SWARM_CHILDREN);
        assert_true(depth[id] <= LIMIT_SWARM_DEPTH);
    }
    /* As wide as need be, no wider. */
    unsigned widest = 0;
    uint64_t room = 1, level = 1;
    for (uint64_t id = 1; id <= members; id++) {
        widest = children[id] > widest ? children[id] : widest;
    }
    for (unsigned k = 0; k < LIMIT_SWARM_DEPTH && room < members; k++) {
        level *= widest;
        room += level;
    }
    assert_true(room >= members - waiting);
    assert_true(waiting == 0 || room < members);
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

static void same_zone_comes_first(void **state)
{
    (void)state;
    desk_open(&d, 3);
    desk_member(&d, 4, "b");
    desk_member(&d, 5, "b");
    desk_member(&d, 6, "b");
    desk_want(&d, 1);
    desk_want(&d, 2);
    desk_want(&d, 3);
    /* From another zone: the least deep, since a zone may grow from there. */
    assert_offered_first(desk_want(&d, 4), 1);
    assert_offered_first(desk_want(&d, 5), 4);
    struct gossip_answer answer = desk_want(&d, 6);
    assert_int_equal(answer.offers[0].id, 5);
    assert_int_equal(answer.offers[1].id, 4);
    assert_int_equal(answer.offers[2].id, 1);
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

static void a_slow_upstream_takes_nobodys_lease(void **state)
{
    (void)state;
    desk_open(&d, 2);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    desk_want(&d, 2);
    for (int s = 1; s < LIMIT_SWARM_LEASE_MS / 1000; s++) {
        desk_wait(&d, 1000);
        desk_grows(&d, 1, 0, MIB);
        desk_grows(&d, 2, 1, MIB);
        assert_offered_first(desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_STALLED), 1);
    }
    /* Until nothing came for a whole lease. */
    desk_wait(&d, 1000);
    desk_grows(&d, 1, 0, MIB);
    assert_int_equal(desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_STALLED).kind, GOSSIP_SWARM_GRANT);
    struct gossip_swarm_stats stats;
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.revoked, 1);
    desk_close(&d);
}

static void a_leader_that_is_dead_has_lost_its_lease(void **state)
{
    (void)state;
    desk_open(&d, 4);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    desk_want(&d, 2);
    desk_grows(&d, 2, 1, MIB);
    desk_gone(&d, 1);
    assert_int_equal(desk_want(&d, 3).kind, GOSSIP_SWARM_GRANT);
    assert_offered_first(desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_LOST), 3);
    struct gossip_answer answer = desk_want(&d, 4);
    assert_offered_first(answer, 2);
    assert_false(desk_offers(&answer, 1));
    desk_close(&d);
}

static void a_leader_that_does_not_begin_loses_its_lease(void **state)
{
    (void)state;
    desk_open(&d, 3);
    desk_want(&d, 1);
    desk_wait(&d, LIMIT_SWARM_BEGIN_MS - 1);
    assert_offered_first(desk_want(&d, 2), 1);
    desk_wait(&d, 1);
    assert_int_equal(desk_fault(&d, 2, 0, 1, GOSSIP_FAULT_STALLED).kind, GOSSIP_SWARM_GRANT);
    /* One that fetches other parts of the same image meanwhile keeps it, if not for ever. */
    for (int s = 0; s < LIMIT_SWARM_LEASE_MS / 1000 - 1; s++) {
        desk_wait(&d, 1000);
        desk_renew_full(&d, 2, (struct gossip_renew){.state = GOSSIP_FLIGHT_WAITING, .idle_ms = 9});
        assert_offered_first(desk_want(&d, 3), 2);
    }
    desk_wait(&d, 1000);
    desk_renew_full(&d, 2, (struct gossip_renew){.state = GOSSIP_FLIGHT_WAITING, .idle_ms = 9});
    assert_int_equal(desk_want(&d, 3).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

static void a_leader_not_heard_loses_its_lease_when_somebody_stalls_on_it(void **state)
{
    (void)state;
    desk_open(&d, 3);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    desk_want(&d, 2);
    desk_grows(&d, 2, 1, MIB);
    desk_wait(&d, LIMIT_SWARM_SILENT_MS);
    assert_offered_first(desk_want(&d, 3), 2); /* nobody stalls */
    assert_int_equal(desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_STALLED).kind, GOSSIP_SWARM_GRANT);
    /* It was taken for lost wrongly: a second leader, who serves as well as any. */
    desk_grows(&d, 1, 0, 9 * MIB);
    struct gossip_answer answer = desk_want(&d, 3);
    assert_true(answer.kind == GOSSIP_SWARM_OFFER && desk_offers(&answer, 1));
    desk_close(&d);
}

static void a_leader_is_lost_when_two_say_so_or_one_without_a_choice(void **state)
{
    (void)state;
    desk_open(&d, 5);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    for (uint64_t id = 2; id <= 4; id++) {
        desk_want(&d, id);
        desk_grows(&d, id, 1, MIB);
    }
    struct gossip_answer answer = desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_LOST);
    assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
    assert_false(desk_offers(&answer, 1));
    uint64_t next = answer.offers[0].id, last = next == 3 ? 4 : 3;
    assert_int_equal(desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_LOST).kind, GOSSIP_SWARM_OFFER);
    assert_int_equal(desk_fault(&d, next, MIB, 1, GOSSIP_FAULT_LOST).kind, GOSSIP_SWARM_GRANT);
    answer = desk_fault(&d, last, MIB, 1, GOSSIP_FAULT_LOST);
    assert_int_equal(answer.kind, GOSSIP_SWARM_OFFER);
    desk_close(&d);

    desk_open(&d, 5);
    desk_want(&d, 1);
    for (uint64_t id = 2; id <= 4; id++) {
        desk_want(&d, id);
        desk_grows(&d, id, id - 1, MIB);
    }
    assert_int_equal(desk_fault(&d, 2, MIB, 1, GOSSIP_FAULT_LOST).kind, GOSSIP_SWARM_GRANT);
    assert_offered_first(desk_want(&d, 5), 4);
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

static void holders_that_the_index_knows_are_offered(void **state)
{
    (void)state;
    desk_open(&d, 6);
    desk_holds(&d, 1);
    struct gossip_answer answer = desk_want(&d, 2);
    assert_offered_first(answer, 1);
    assert_true(answer.offers[0].holds && answer.count == 1);
    /* A holder's children are those who say so; with some it comes after others. */
    answer = desk_want(&d, 3);
    assert_offered_first(answer, 2);
    assert_true(desk_offers(&answer, 1));
    /* Nobody but a holder that is of no use to this one: upstream. */
    assert_int_equal(desk_fault(&d, 2, 0, 1, GOSSIP_FAULT_REFUSED).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
    desk_open(&d, 2);
    desk_holds(&d, 1);
    desk_gone(&d, 1);
    assert_int_equal(desk_want(&d, 2).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

static void what_is_held_serves_before_the_index_knows_and_what_is_given_up_does_not(void **state)
{
    (void)state;
    desk_open(&d, 4);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    desk_says(&d, 1, GOSSIP_FLIGHT_HELD);
    struct gossip_answer answer = desk_want(&d, 2);
    assert_offered_first(answer, 1);
    assert_true(answer.offers[0].holds);
    desk_says(&d, 1, GOSSIP_FLIGHT_GONE);
    assert_int_equal(desk_want(&d, 3).kind, GOSSIP_SWARM_GRANT);
    /* A packet from before that comes after it changes nothing. */
    desk_says(&d, 3, GOSSIP_FLIGHT_GONE);
    d.sequence -= 2;
    desk_grows(&d, 3, 0, MIB);
    d.sequence += 2;
    assert_int_equal(desk_want(&d, 4).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

static void an_offer_that_is_not_taken_lapses(void **state)
{
    (void)state;
    desk_open(&d, 2 + LIMIT_SWARM_CHILDREN);
    desk_holds(&d, 1);
    for (uint64_t id = 2; id < 2 + LIMIT_SWARM_CHILDREN; id++) {
        desk_fault(&d, id, 0, 2, GOSSIP_FAULT_REFUSED);
    }
    desk_wait(&d, 3000);
    desk_wait(&d, 1000);
    struct gossip_swarm_stats stats;
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.participants, 0);
    assert_int_equal(stats.leases, 0);
    desk_close(&d);
}

static void what_is_not_renewed_is_forgotten(void **state)
{
    (void)state;
    desk_open(&d, 3);
    desk_want(&d, 1);
    desk_grows(&d, 1, 0, MIB);
    desk_grows(&d, 2, 1, MIB);
    struct gossip_swarm_stats stats;
    for (int s = 0; s < 30; s++) {
        desk_wait(&d, 1000);
        gossip_swarm_stats(d.g, &stats);
        if (s < LIMIT_SWARM_LEASE_MS / 1000 - 1) {
            assert_int_equal(stats.participants, 2);
        }
    }
    assert_int_equal(stats.leases, 0);
    assert_int_equal(stats.participants, 0);
    desk_close(&d);
}

static void a_lease_learnt_from_its_participants_is_adopted(void **state)
{
    (void)state;
    desk_open(&d, 4);
    /* The follower is heard first: somebody fetches it, even if nobody knows yet who. */
    desk_grows(&d, 2, 1, MIB);
    assert_int_equal(desk_want(&d, 3).kind, GOSSIP_SWARM_OFFER);
    desk_grows(&d, 1, 0, 2 * MIB);
    size_t cursor = 0;
    struct gossip_lease_view view;
    assert_true(gossip_leases(d.g, &cursor, &view));
    assert_true(view.key == KEY && view.leader == 1 && view.leader_bytes == 2 * MIB);
    assert_int_equal(view.followers, 2);
    assert_int_equal(view.depths[0], 1);
    assert_int_equal(view.depths[1] + view.depths[2], 2);
    assert_false(gossip_leases(d.g, &cursor, &view));
    struct gossip_swarm_stats stats;
    gossip_swarm_stats(d.g, &stats);
    assert_int_equal(stats.adopted, 1);
    assert_int_equal(stats.renewed, 2);
    /* A leader that nobody ever hears of does not hold others up for long. */
    desk_close(&d);
    desk_open(&d, 4);
    desk_grows(&d, 2, 1, MIB);
    desk_wait(&d, LIMIT_SWARM_BEGIN_MS);
    desk_grows(&d, 2, 1, MIB);
    assert_int_equal(desk_want(&d, 3).kind, GOSSIP_SWARM_GRANT);
    desk_close(&d);
}

static void a_node_may_be_its_own_arbiters_leader_and_parent(void **state)
{
    (void)state;
    desk_open(&d, 2);
    assert_int_equal(desk_want(&d, SELF).kind, GOSSIP_SWARM_GRANT);
    desk_grows(&d, SELF, 0, MIB);
    assert_offered_first(desk_want(&d, 1), SELF);
    assert_offered_first(desk_want(&d, 2), 1);
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
        cmocka_unit_test(nobody_gets_more_children_or_depth_than_allowed_until_all_must_wait),
        cmocka_unit_test(a_full_tree_makes_askers_wait),
        cmocka_unit_test(same_zone_comes_first),
        cmocka_unit_test(nobody_is_offered_whoever_receives_from_it),
        cmocka_unit_test(members_who_say_they_receive_from_one_another_are_not_offered),
        cmocka_unit_test(whoever_stalls_below_a_stall_stays),
        cmocka_unit_test(a_slow_upstream_takes_nobodys_lease),
        cmocka_unit_test(a_leader_that_is_dead_has_lost_its_lease),
        cmocka_unit_test(a_leader_that_does_not_begin_loses_its_lease),
        cmocka_unit_test(a_leader_not_heard_loses_its_lease_when_somebody_stalls_on_it),
        cmocka_unit_test(a_leader_is_lost_when_two_say_so_or_one_without_a_choice),
        cmocka_unit_test(whoever_is_refused_by_all_waits_a_while_and_then_leads),
        cmocka_unit_test(holders_that_the_index_knows_are_offered),
        cmocka_unit_test(what_is_held_serves_before_the_index_knows_and_what_is_given_up_does_not),
        cmocka_unit_test(an_offer_that_is_not_taken_lapses),
        cmocka_unit_test(what_is_not_renewed_is_forgotten),
        cmocka_unit_test(a_lease_learnt_from_its_participants_is_adopted),
        cmocka_unit_test(a_node_may_be_its_own_arbiters_leader_and_parent),
        cmocka_unit_test(leases_and_participants_are_capped),
        cmocka_unit_test(without_memory_there_is_no_answer_and_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
