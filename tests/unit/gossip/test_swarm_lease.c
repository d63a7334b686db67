/* test_swarm_lease.c - how a lease is lost, kept, adopted and forgotten: the rest of the rules at
 * the head of swarm.h. */
#include "desk.h"

#define MIB UINT64_C(1048576)

static struct desk d;

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
    assert_offered_first(answer, 3);
    assert_true(desk_offers(&answer, 2) && !desk_offers(&answer, 1));
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
    assert_offered_first(desk_want(&d, 3), 1); /* nobody stalls */
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
    assert_offered_first(desk_want(&d, 5), 2);
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
    assert_true(view.key == d.key && view.leader == 1 && view.leader_bytes == 2 * MIB);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_upstream_takes_nobodys_lease),
        cmocka_unit_test(a_leader_that_is_dead_has_lost_its_lease),
        cmocka_unit_test(a_leader_that_does_not_begin_loses_its_lease),
        cmocka_unit_test(a_leader_not_heard_loses_its_lease_when_somebody_stalls_on_it),
        cmocka_unit_test(a_leader_is_lost_when_two_say_so_or_one_without_a_choice),
        cmocka_unit_test(what_is_held_serves_before_the_index_knows_and_what_is_given_up_does_not),
        cmocka_unit_test(an_offer_that_is_not_taken_lapses),
        cmocka_unit_test(what_is_not_renewed_is_forgotten),
        cmocka_unit_test(a_lease_learnt_from_its_participants_is_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
