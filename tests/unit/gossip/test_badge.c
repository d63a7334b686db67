/* test_badge.c - what members show each other with requests for content: good once, for whom and
 * what it was made for, and for nobody without the key. */
#include "town.h"

#include "gossip/badge.h"
#include "gossip/state.h"

#include <errno.h>
#include <string.h>

static struct town t;
static const uint8_t layer[32] = {1, 2, 3}, other_layer[32] = {1, 2, 4};

static void found_town(size_t houses)
{
    town_init(&t);
    for (size_t i = 0; i < houses; i++) {
        town_start(&t, i, 0);
    }
    town_run(&t, 3000);
}

static void moves_in_anew(size_t house)
{
    gossip_free(t.core[house]);
    town_start(&t, house, 0);
    town_run(&t, 3000);
}

static void made(size_t house, size_t to, char ret_text[GOSSIP_BADGE_TEXT_BYTES])
{
    assert_int_equal(
        gossip_badge_write(t.core[house], house_id(to), GOSSIP_BADGE_FOLLOW, layer, ret_text), 0);
    assert_int_equal(strlen(ret_text), GOSSIP_BADGE_TEXT_BYTES - 1);
}

static int taken(size_t house, const char *text)
{
    enum gossip_badge badge = GOSSIP_BADGES;
    int error = gossip_badge_take(t.core[house], text, layer, &badge);
    assert_int_equal(badge, error ? GOSSIP_BADGES : GOSSIP_BADGE_FOLLOW);
    return error;
}

static void a_member_knows_another_by_what_it_shows(void **state)
{
    (void)state;
    char text[GOSSIP_BADGE_TEXT_BYTES];
    enum gossip_badge badge;
    found_town(3);
    for (unsigned i = 0; i < 300; i++) {
        made(0, 1, text);
        assert_int_equal(taken(1, text), 0);
        enum gossip_badge wanted = i % 2 ? GOSSIP_BADGE_HELD : GOSSIP_BADGE_FOLLOW;
        assert_int_equal(gossip_badge_write(t.core[2], house_id(1), wanted, other_layer, text), 0);
        assert_int_equal(gossip_badge_take(t.core[1], text, other_layer, &badge), 0);
        assert_int_equal(badge, wanted);
    }
    assert_int_equal(gossip_badge_write(t.core[0], 77, GOSSIP_BADGE_HELD, layer, text), -ENOENT);
    assert_int_equal(gossip_badge_write(t.core[0], house_id(0), GOSSIP_BADGE_HELD, layer, text),
                     -ENOENT);
    town_done(&t);
}

static void it_is_good_once_and_for_whom_and_what_it_was_made_for(void **state)
{
    (void)state;
    char text[GOSSIP_BADGE_TEXT_BYTES];
    enum gossip_badge badge;
    found_town(3);
    made(0, 1, text);
    assert_int_equal(taken(2, text), -EACCES);
    assert_int_equal(taken(0, text), -EACCES); /* its own, come back */
    assert_int_equal(gossip_badge_take(t.core[1], text, other_layer, &badge), -EACCES);
    assert_int_equal(taken(1, text), 0);
    assert_int_equal(taken(1, text), -EALREADY);
    town_done(&t);
}

static void late_ones_are_taken_in_any_order_within_the_window(void **state)
{
    (void)state;
    static char texts[GOSSIP_WINDOW_COUNTERS + 2][GOSSIP_BADGE_TEXT_BYTES];
    const size_t count = GOSSIP_WINDOW_COUNTERS + 2;
    found_town(2);
    for (size_t i = 0; i < count; i++) {
        made(0, 1, texts[i]);
    }
    for (size_t i = count; i-- > 2;) {
        assert_int_equal(taken(1, texts[i]), 0);
    }
    assert_int_equal(taken(1, texts[1]), -EALREADY); /* too old */
    assert_int_equal(taken(1, texts[0]), -EALREADY);
    for (size_t i = 2; i < count; i++) {
        assert_int_equal(taken(1, texts[i]), -EALREADY);
    }
    town_done(&t);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    char text[GOSSIP_BADGE_TEXT_BYTES], changed[GOSSIP_BADGE_TEXT_BYTES + 8];
    found_town(2);
    static const char *const none[] = {"", "true", "held", "00"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(taken(1, none[i]), -EACCES);
    }
    made(0, 1, text);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        memcpy(changed, text, sizeof(text));
        changed[i] = (char)(text[i] == '0' ? '1' : '0');
        assert_true(taken(1, changed) < 0);
        changed[i] = 'G';
        assert_int_equal(taken(1, changed), -EACCES);
        changed[i] = '\0';
        assert_int_equal(taken(1, changed), -EACCES);
    }
    (void)snprintf(changed, sizeof(changed), "%s00", text);
    assert_int_equal(taken(1, changed), -EACCES);
    assert_int_equal(taken(1, text), 0); /* forgeries did not use it up */
    town_done(&t);
}

/* Sealed with another key, the same id: it reads the envelope and cannot make one. */
static void without_the_key_nobody_makes_one(void **state)
{
    (void)state;
    static const uint8_t old_key[1][GOSSIP_KEY_BYTES] = {{1}};
    static const uint8_t both[2][GOSSIP_KEY_BYTES] = {{2}, {1}};
    char text[GOSSIP_BADGE_TEXT_BYTES];
    found_town(2);
    assert_int_equal(gossip_set_keys(t.core[1], "town", old_key, 1), 0);
    made(0, 1, text);
    assert_int_equal(taken(1, text), -EACCES);
    /* A ring that changes: both keys are taken for a while. */
    assert_int_equal(gossip_set_keys(t.core[0], "town", old_key, 1), 0);
    made(0, 1, text);
    assert_int_equal(taken(1, text), 0);
    made(0, 1, text);
    assert_int_equal(gossip_set_keys(t.core[1], "town", both, 2), 0);
    assert_int_equal(taken(1, text), 0);
    assert_int_equal(taken(1, text), -EALREADY); /* what was used stays so */
    assert_int_equal(gossip_set_keys(t.core[0], "town", both, 2), 0);
    made(0, 1, text);
    assert_int_equal(taken(1, text), 0);
    town_done(&t);
}

static void a_new_life_of_either_begins_anew_and_none_goes_back(void **state)
{
    (void)state;
    char early[GOSSIP_BADGE_TEXT_BYTES], unused[GOSSIP_BADGE_TEXT_BYTES],
        text[GOSSIP_BADGE_TEXT_BYTES];
    found_town(2);
    made(0, 1, early);
    made(0, 1, unused);
    assert_int_equal(taken(1, early), 0);
    moves_in_anew(0);
    made(0, 1, text);
    assert_int_equal(taken(1, text), 0);
    assert_int_equal(taken(1, early), -EALREADY); /* of the life before */
    assert_int_equal(taken(1, unused), 0);
    made(0, 1, unused);
    moves_in_anew(1);
    assert_int_equal(taken(1, text), -EACCES); /* it was shown to the life before */
    assert_int_equal(taken(1, unused), -EACCES);
    made(0, 1, text);
    assert_int_equal(taken(1, text), 0);
    town_done(&t);
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    char text[GOSSIP_BADGE_TEXT_BYTES];
    found_town(2);
    made(0, 1, text);
    unsigned good = 0;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        gossip_badges_free(t.core[1]);
        good += taken(1, text) == 0;
    });
    assert_int_equal(good, 1); /* and it was not used up before */
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_knows_another_by_what_it_shows),
        cmocka_unit_test(it_is_good_once_and_for_whom_and_what_it_was_made_for),
        cmocka_unit_test(late_ones_are_taken_in_any_order_within_the_window),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(without_the_key_nobody_makes_one),
        cmocka_unit_test(a_new_life_of_either_begins_anew_and_none_goes_back),
        cmocka_unit_test(without_memory_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
