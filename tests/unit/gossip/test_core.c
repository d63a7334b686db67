/* test_core.c - the protocol as a story: a town of cores, told in virtual time. */
#include "town.h"

#include <errno.h>

static struct town t;

static void nodes_meet_share_suspect_bury_and_welcome_back(void **state)
{
    (void)state;
    struct gossip_member_view view;
    town_init(&t);

    /* The first node finds nobody else named, and is ready at once. */
    town_start(&t, 0, 0);
    assert_true(gossip_is_ready(t.core[0]));
    town_add(&t, 0, 7000, 3);

    /* The second asks the first, proves that it lives, fetches what there is, and is ready. */
    town_start(&t, 1, 0);
    assert_false(gossip_is_ready(t.core[1]));
    town_run(&t, 20);
    assert_true(gossip_is_ready(t.core[1]));
    assert_int_equal(town_stats(&t, 0).challenged, 1);
    assert_true(town_finds(&t, 1, 7000, 0));
    assert_false(town_finds(&t, 1, 9999, 0));

    /* A third; then news travels to everybody within a second, withdrawals too. */
    town_start(&t, 2, 1);
    town_add(&t, 2, 8000, 1);
    town_run(&t, 1000);
    assert_true(town_finds(&t, 0, 8000, 2) && town_finds(&t, 1, 8000, 2));
    uint64_t gone = 8000;
    struct gossip_event del = {.kind = GOSSIP_LOCAL_DEL, .keys = {&gone, 1}};
    town_step(&t, 2, &del);
    town_add(&t, 2, 8001, 1);
    town_run(&t, 1000);
    assert_false(town_finds(&t, 0, 8000, 2));
    assert_true(town_finds(&t, 0, 8001, 2) && town_finds(&t, 1, 8001, 2));

    /* The third falls silent. First nobody chooses it, later it counts as dead. */
    t.cut[2] = true;
    town_run(&t, 4000);
    assert_false(town_finds(&t, 0, 8001, 2) || town_finds(&t, 1, 8001, 2));
    town_run(&t, 30000);
    assert_true(town_member(&t, 0, 0x102, &view));
    assert_int_equal(view.state, GOSSIP_DEAD);

    /* It was the cable. It hears that it is dead, says no, and is chosen again. */
    t.cut[2] = false;
    town_run(&t, 12000);
    assert_true(town_member(&t, 0, 0x102, &view));
    assert_int_equal(view.state, GOSSIP_ALIVE);
    assert_true(view.incarnation > 0);
    assert_true(town_finds(&t, 0, 8001, 2) && town_finds(&t, 1, 8001, 2));

    /* The second says goodbye. It is gone at once, and no echo brings it back. */
    struct gossip_event leave = {.kind = GOSSIP_LEAVE};
    town_step(&t, 1, &leave);
    town_run(&t, 300);
    gossip_free(t.core[1]);
    t.core[1] = NULL;
    town_run(&t, 5000);
    for (size_t i = 0; i < 3; i += 2) {
        assert_true(town_member(&t, i, 0x101, &view));
        assert_int_equal(view.state, GOSSIP_LEFT);
        assert_int_equal(town_stats(&t, i).index_entries, 3 + 1); /* none of the one that left */
    }
    town_done(&t);
}

static void a_node_that_missed_a_change_knows_that_it_did(void **state)
{
    (void)state;
    bool was_behind = false;
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    assert_false(gossip_is_settled(t.core[1]));
    town_run(&t, 1000);
    assert_true(gossip_is_settled(t.core[1]));
    t.cut[1] = true;
    town_add(&t, 0, 7000, 3);
    town_run(&t, 1500);
    t.cut[1] = false;
    for (int ms = 0; ms < 20000 && !town_finds(&t, 1, 7000, 0); ms++) {
        town_run(&t, 1);
        was_behind |= !gossip_is_settled(t.core[1]);
    }
    assert_true(was_behind && town_finds(&t, 1, 7000, 0));
    assert_true(gossip_is_settled(t.core[1]));
    town_done(&t);
}

static void a_node_whose_seeds_never_answer_is_ready_within_a_second(void **state)
{
    (void)state;
    town_init(&t);
    town_start(&t, 0, 3);
    town_run(&t, 890);
    assert_false(gossip_is_ready(t.core[0]));
    town_run(&t, 20);
    assert_true(gossip_is_ready(t.core[0]));
    assert_int_equal(t.notes[GOSSIP_NOTE_READY], 1);
    town_done(&t);
}

/* Nine are named, of whom eight are silent, as nodes of the Go implementation are: whoever lives is
 * asked in time, whichever order chance takes. */
static void one_living_seed_among_silent_ones_is_asked_in_time(void **state)
{
    (void)state;
    struct gossip_addr addrs[9];
    for (size_t i = 0; i < 9; i++) {
        addrs[i] = house_addr(i == 0 ? 0 : 100 + i);
    }
    for (uint8_t chance = 0; chance < 100; chance++) {
        town_init(&t);
        town_start(&t, 0, 0);
        town_add(&t, 0, 10, 5);
        struct gossip_config config = house_config(&t, 1);
        config.seed[0] = chance;
        assert_int_equal(gossip_new(&config, &t.core[1]), 0);
        struct gossip_event event = {.kind = GOSSIP_SEEDS, .seeds = {addrs, 9}};
        town_step(&t, 1, &event);
        town_run(&t, 200);
        assert_true(gossip_is_ready(t.core[1]));
        assert_true(town_finds(&t, 1, 10, 0));
        town_done(&t);
    }
}

static void a_set_too_large_for_rumours_is_fetched(void **state)
{
    (void)state;
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    town_run(&t, 500);
    town_add(&t, 0, 50000, 1000);
    town_run(&t, 1000);
    assert_true(town_finds(&t, 1, 50000, 0) && town_finds(&t, 1, 50999, 0));
    assert_int_equal(town_stats(&t, 1).ops_applied, 0);
    assert_true(town_stats(&t, 1).sets_applied >= 1);
    assert_int_equal(town_stats(&t, 0).index_entries, 1000);
    assert_int_equal(town_stats(&t, 1).index_entries, 1000);
    town_done(&t);
}

static void a_peer_the_data_path_cannot_reach_is_tried_last(void **state)
{
    (void)state;
    struct gossip_holder holders[4];
    town_init(&t);
    for (size_t i = 0; i < 4; i++) {
        town_start(&t, i, 0);
        if (i > 0) {
            town_add(&t, i, 600, 1);
        }
    }
    town_run(&t, 2000);
    assert_int_equal(gossip_lookup(t.core[0], 600, holders, 4), 3);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(town_stats(&t, i).index_entries, 3);
    }
    uint64_t worst = holders[0].id;
    struct gossip_event failed = {.kind = GOSSIP_PEER_FAILED, .peer = worst};
    town_step(&t, 0, &failed);
    assert_int_equal(gossip_lookup(t.core[0], 600, holders, 4), 3);
    assert_true(holders[2].id == worst && holders[2].backing_off);
    assert_int_equal(gossip_lookup(t.core[0], 600, holders, 2), 2);
    assert_true(holders[0].id != worst && holders[1].id != worst);
    struct gossip_event ok = {.kind = GOSSIP_PEER_OK, .peer = worst};
    town_step(&t, 0, &ok);
    gossip_lookup(t.core[0], 600, holders, 4);
    assert_true(holders[0].id == worst && !holders[0].backing_off);
    assert_int_equal(gossip_lookup(t.core[0], 600, holders, 0), 0);
    town_done(&t);
}

static void a_new_address_reaches_everybody(void **state)
{
    (void)state;
    struct gossip_member_view view;
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    town_run(&t, 500);
    struct gossip_event moved = {.kind = GOSSIP_SELF, .self = house_config(&t, 1).self};
    moved.self.registry_port = 30020;
    snprintf(moved.self.zone, sizeof(moved.self.zone), "eu-1b");
    town_step(&t, 1, &moved);
    town_run(&t, 1000);
    assert_true(town_member(&t, 0, 0x101, &view));
    assert_int_equal(view.registry_port, 30020);
    assert_string_equal(view.zone, "eu-1b");
    town_done(&t);
}

static uint8_t load_seen(size_t by, size_t of)
{
    struct gossip_member_view view;
    struct gossip_holder holder;
    assert_true(town_member(&t, by, house_id(of), &view));
    assert_true(gossip_member_holder(t.core[by], house_id(of), &holder));
    assert_int_equal(view.load, holder.load);
    return view.load;
}

/* Nobody is told of a load: it rides on the answers to pings, and only its own. */
static void how_busy_a_node_is_others_learn_from_its_answers(void **state)
{
    (void)state;
    static const uint8_t loads[] = {200, 7, 255, 0};
    town_init(&t);
    for (size_t i = 0; i < 3; i++) {
        town_start(&t, i, 0);
        town_add(&t, i, 10 * i, 1);
    }
    town_run(&t, 2000);
    for (size_t i = 0; i < sizeof(loads); i++) {
        struct gossip_event busy = {.kind = GOSSIP_LOAD, .load = loads[i]};
        town_step(&t, 1, &busy);
        town_run(&t, 1500); /* the other of two is asked at least every third time */
        assert_int_equal(load_seen(0, 1), loads[i]);
        assert_int_equal(load_seen(2, 1), loads[i]);
        assert_int_equal(load_seen(0, 2), 0);
        assert_int_equal(load_seen(1, 0), 0);
    }
    town_done(&t);
}

static void configurations_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    town_init(&t);
    struct gossip *core = NULL;
    for (int i = 0; i < 5; i++) {
        struct gossip_config config = house_config(&t, 0);
        config.label = i == 0 ? NULL : config.label;
        config.id = i == 1 ? 0 : i == 2 ? UINT64_C(1) << 48 : config.id;
        config.boot_ms = i == 3 ? 0 : config.boot_ms;
        config.key_count = i == 4 ? 4 : 0;
        assert_int_equal(gossip_new(&config, &core), -EINVAL);
    }
    assert_null(core);
    town_done(&t);
}

/* With memory failing at any point, nothing leaks or crashes, and all is well once it is back. */
static void memory_running_out_is_repaired_by_pull(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 400; nth += 3) {
        town_init(&t);
        town_start(&t, 0, 0);
        town_add(&t, 0, 100, 20);
        town_start(&t, 1, 0);
        support_fail_allocation(nth);
        town_run(&t, 5);
        town_add(&t, 0, 500, 150);
        town_run(&t, 400);
        unsigned used = support_allocations();
        support_fail_allocation(0);
        town_run(&t, 20000);
        assert_true(gossip_is_ready(t.core[1]));
        assert_true(town_finds(&t, 1, 119, 0));
        town_done(&t);
        if (used < nth) {
            break;
        }
    }
}

static void creation_without_memory_fails_cleanly(void **state)
{
    (void)state;
    town_init(&t);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct gossip *core = NULL;
        struct gossip_config config = house_config(&t, 0);
        int error = gossip_new(&config, &core);
        assert_true(error == 0 || error == -ENOMEM);
        gossip_free(core);
    });
    town_done(&t);
}

static uint64_t strangers_pinged(size_t i, uint64_t ms)
{
    uint64_t before = town_stats(&t, i).class_packets[GOSSIP_CLASS_JOIN];
    town_run(&t, ms);
    return town_stats(&t, i).class_packets[GOSSIP_CLASS_JOIN] - before;
}

static void strangers_are_sought_the_more_the_more_are_away(void **state)
{
    (void)state;
    town_init(&t);
    for (size_t i = 0; i < HOUSES; i++) {
        town_start(&t, i, 0);
        town_run(&t, 500);
    }
    t.cut[HOUSES - 1] = true;
    town_run(&t, 30000);
    assert_in_range(strangers_pinged(0, 50000), 9, 11);
    for (size_t i = 0; i < HOUSES; i++) {
        t.cut[i] = true;
    }
    town_run(&t, 6 * 60 * 1000); /* so many at once are not dead at once */
    assert_in_range(strangers_pinged(0, 50000), 9 * (HOUSES - 1), 11 * (HOUSES - 1));
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_sought_the_more_the_more_are_away),
        cmocka_unit_test(nodes_meet_share_suspect_bury_and_welcome_back),
        cmocka_unit_test(a_node_that_missed_a_change_knows_that_it_did),
        cmocka_unit_test(a_node_whose_seeds_never_answer_is_ready_within_a_second),
        cmocka_unit_test(one_living_seed_among_silent_ones_is_asked_in_time),
        cmocka_unit_test(a_set_too_large_for_rumours_is_fetched),
        cmocka_unit_test(a_peer_the_data_path_cannot_reach_is_tried_last),
        cmocka_unit_test(a_new_address_reaches_everybody),
        cmocka_unit_test(how_busy_a_node_is_others_learn_from_its_answers),
        cmocka_unit_test(configurations_that_make_no_sense_are_refused),
        cmocka_unit_test(memory_running_out_is_repaired_by_pull),
        cmocka_unit_test(creation_without_memory_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
