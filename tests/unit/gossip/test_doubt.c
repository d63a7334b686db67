/* test_doubt.c - when several fall silent at once: who is declared dead, and when. */
#define HOUSES 9
#include "town.h"

#define ROUND_MS 10000 /* everybody has found out by then that somebody is silent */
#define HOLD_MS (5 * 60 * 1000)

static struct town t;

/* How many of the last `silent` of `houses` are in this state, as those who hear one another see
 * it; all of them must agree. */
static size_t in_state(size_t houses, size_t silent, enum gossip_state wanted)
{
    size_t seen = 0;
    for (size_t by = 0; by < houses - silent; by++) {
        size_t count = 0;
        for (size_t of = houses - silent; of < houses; of++) {
            struct gossip_member_view view;
            assert_true(town_member(&t, by, house_id(of), &view));
            count += view.state == wanted;
        }
        assert_true(by == 0 || count == seen);
        seen = count;
    }
    return seen;
}

static void assert_nobody_chooses_them(size_t houses, size_t silent)
{
    for (size_t by = 0; by < houses - silent; by++) {
        for (size_t of = 0; of < houses; of++) {
            assert_int_equal(town_finds(&t, by, 70 + of, of), of < houses - silent && of != by);
        }
    }
}

static const struct {
    size_t houses, silent;
    bool held;
} cases[] = {
    {9, 2, false},                              /* less than a quarter */
    {8, 2, false},                              /* a quarter, which is not more than one */
    {9, 3, true},  {8, 3, true}, {7, 3, false}, /* too few to tell */
};

static void
where_many_fall_silent_at_once_death_waits_five_minutes_and_selection_does_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t houses = cases[i].houses, silent = cases[i].silent;
        town_init(&t);
        for (size_t k = 0; k < houses; k++) {
            town_start(&t, k, 0);
            town_add(&t, k, 70 + k, 1);
            town_run(&t, 100);
        }
        town_run(&t, 3000);
        for (size_t k = houses - silent; k < houses; k++) {
            t.cut[k] = true;
        }
        uint64_t cut_ms = t.now_ms;
        town_run(&t, ROUND_MS);
        assert_nobody_chooses_them(houses, silent);
        town_run(&t, 20000);
        assert_int_equal(in_state(houses, silent, GOSSIP_DEAD), cases[i].held ? 0 : silent);
        if (cases[i].held) {
            /* None of them was suspected before it fell silent, so until then nobody is dead. */
            town_run(&t, cut_ms + HOLD_MS - t.now_ms);
            assert_int_equal(in_state(houses, silent, GOSSIP_SUSPECT), silent);
            assert_nobody_chooses_them(houses, silent);
            town_run(&t, ROUND_MS);
            assert_int_equal(in_state(houses, silent, GOSSIP_DEAD), silent);
        }
        town_done(&t);
    }
}

/* What a suspect says for itself may lie unread when we go on after having stood still. */
static void nobody_is_judged_by_the_time_in_which_we_did_not_run(void **state)
{
    (void)state;
    struct gossip_member_view view;
    town_init(&t);
    for (size_t k = 0; k < 2; k++) {
        town_start(&t, k, 0);
    }
    town_run(&t, 3000);
    struct gossip *g = t.core[0];
    g->effects = &t.effects;
    for (uint64_t witness = 0; witness < GOSSIP_WITNESSES; witness++) {
        gossip_suspect(g, gossip_members_get(&g->members, house_id(1)), 0x900 + witness);
    }
    g->effects = NULL;
    t.cut[1] = true;
    town_run(&t, 100);
    t.now_ms += 60000;
    struct gossip_event tick = {.kind = GOSSIP_TICK};
    town_step(&t, 0, &tick);
    assert_true(town_member(&t, 0, house_id(1), &view));
    assert_int_equal(view.state, GOSSIP_SUSPECT);
    town_run(&t, 10000); /* running, and still without a word */
    assert_true(town_member(&t, 0, house_id(1), &view));
    assert_int_equal(view.state, GOSSIP_DEAD);
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            where_many_fall_silent_at_once_death_waits_five_minutes_and_selection_does_not),
        cmocka_unit_test(nobody_is_judged_by_the_time_in_which_we_did_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
