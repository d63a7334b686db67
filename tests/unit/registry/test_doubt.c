#include "registry/doubt.h"

#include <string.h>

#include "base/limits.h"
#include "support.h"

static const uint8_t nodes[12][6] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}};

static struct digest numbered(unsigned n)
{
    struct digest d = {0};
    memcpy(d.bytes, &n, sizeof(n));
    return d;
}

static bool ask(struct doubt *d, const struct digest *digest, bool held, uint64_t now_ms,
                size_t expect_new)
{
    size_t fresh = 99;
    bool hash = doubt_asked_from_start(d, digest, held, now_ms, &fresh);
    assert_int_equal(fresh, expect_new);
    return hash;
}

static void delivered_in_vain_is_doubted_for_ten_minutes(void **state)
{
    (void)state;
    struct doubt d;
    struct digest x = numbered(1);
    doubt_init(&d);
    assert_false(ask(&d, &x, false, 0, 0));
    doubt_contributed(&d, &x, nodes[1], 1000);
    doubt_delivered(&d, &x, 1000);
    assert_false(doubt_is_doubted(&d, &x, nodes[1], 1000)); /* not before it is asked for again */
    assert_true(ask(&d, &x, false, 2000, 1));
    assert_true(doubt_is_doubted(&d, &x, nodes[1], 2000));
    assert_false(doubt_is_doubted(&d, &x, nodes[2], 2000));
    assert_true(ask(&d, &x, false, 3000, 0)); /* still, but not newly */
    assert_false(doubt_is_doubted(&d, &x, nodes[1], 2000 + LIMIT_DOUBT_MS));
    assert_false(ask(&d, &x, false, 3000 + LIMIT_DOUBT_MS, 0));
    doubt_done(&d);
}

/* Pulled, removed, and pulled again within minutes. */
static void what_appeared_in_the_store_was_right_though_it_is_asked_for_again(void **state)
{
    (void)state;
    struct doubt d;
    struct digest x = numbered(1), y = numbered(2);
    doubt_init(&d);
    doubt_contributed(&d, &x, nodes[1], 1000);
    doubt_delivered(&d, &x, 1000);
    doubt_contributed(&d, &y, nodes[1], 1000);
    doubt_delivered(&d, &y, 1000);
    doubt_verified(&d, &x, nodes[2], false, 1000);
    doubt_appeared(&d, &x);
    assert_true(ask(&d, &x, false, 2000, 0)); /* node 2's copy is wrong, and stays so */
    assert_false(doubt_is_doubted(&d, &x, nodes[1], 2000));
    assert_true(doubt_is_excluded(&d, &x, nodes[2]));
    assert_true(ask(&d, &y, false, 2000, 1));
    doubt_done(&d);
}

static void asked_again_too_late_or_held_is_no_doubt(void **state)
{
    (void)state;
    struct doubt d;
    struct digest x = numbered(1);
    doubt_init(&d);
    doubt_contributed(&d, &x, nodes[1], 0);
    doubt_delivered(&d, &x, 0);
    assert_false(ask(&d, &x, false, LIMIT_DOUBT_MS, 0));
    doubt_contributed(&d, &x, nodes[1], 0);
    doubt_delivered(&d, &x, 0);
    assert_false(ask(&d, &x, true, 10, 0));
    assert_false(ask(&d, &x, false, 20, 0)); /* collected since: not the holder's fault */
    doubt_done(&d);
}

static void pieces_count_only_when_the_end_was_reached(void **state)
{
    (void)state;
    struct doubt d;
    struct digest x = numbered(1);
    doubt_init(&d);
    doubt_contributed(&d, &x, nodes[1], 0);
    assert_false(ask(&d, &x, false, 10, 0)); /* begun anew: those bytes are thrown away */
    doubt_contributed(&d, &x, nodes[2], 20);
    doubt_contributed(&d, &x, nodes[3], 30);
    doubt_delivered(&d, &x, 30);
    assert_true(ask(&d, &x, false, 40, 2));
    assert_false(doubt_is_doubted(&d, &x, nodes[1], 40));
    assert_true(doubt_is_doubted(&d, &x, nodes[2], 40));
    assert_true(doubt_is_doubted(&d, &x, nodes[3], 40));
    doubt_done(&d);
}

static void a_mismatch_excludes_until_restart_and_a_match_clears(void **state)
{
    (void)state;
    struct doubt d;
    struct digest x = numbered(1), y = numbered(2);
    doubt_init(&d);
    doubt_verified(&d, &x, nodes[1], false, 0);
    doubt_suspect(&d, &x, nodes[2], 0);
    assert_true(doubt_is_excluded(&d, &x, nodes[1]));
    assert_false(doubt_is_excluded(&d, &y, nodes[1])); /* for that digest only */
    assert_true(doubt_is_doubted(&d, &x, nodes[2], 0));
    doubt_contributed(&d, &x, nodes[1], 5);
    doubt_suspect(&d, &x, nodes[1], 5);
    assert_true(doubt_is_excluded(&d, &x, nodes[1])); /* nothing softens it */
    assert_false(ask(&d, &x, true, 2 * LIMIT_DOUBT_MS, 0));
    assert_true(doubt_is_excluded(&d, &x, nodes[1]));
    doubt_verified(&d, &x, nodes[2], true, 5);
    assert_false(doubt_is_doubted(&d, &x, nodes[2], 5));
    doubt_forget_node(&d, nodes[1]);
    assert_false(doubt_is_excluded(&d, &x, nodes[1]));
    doubt_done(&d);
}

static void
whom_to_leave_out_are_the_doubted_and_the_excluded_and_a_doubt_is_young_for_a_while(void **state)
{
    (void)state;
    struct doubt d;
    struct digest x = numbered(1), y = numbered(2);
    uint8_t ids[4][MARKS_NODE_BYTES];
    size_t fresh;
    doubt_init(&d);
    doubt_contributed(&d, &x, nodes[1], 0);
    doubt_delivered(&d, &x, 0);
    assert_int_equal(doubt_whom(&d, &x, 0, ids, 4), 0);
    assert_true(doubt_asked_from_start(&d, &x, false, 100, &fresh));
    doubt_contributed(&d, &x, nodes[2], 100);
    doubt_verified(&d, &x, nodes[3], false, 100);
    assert_int_equal(doubt_whom(&d, &x, 100, ids, 4), 2);
    assert_memory_equal(ids[0], nodes[1], MARKS_NODE_BYTES);
    assert_memory_equal(ids[1], nodes[3], MARKS_NODE_BYTES);
    assert_int_equal(doubt_whom(&d, &x, 100, ids, 1), 1);
    assert_int_equal(doubt_whom(&d, &x, 100 + LIMIT_DOUBT_MS, ids, 4), 1); /* the excluded stays */
    assert_int_equal(doubt_whom(&d, &y, 100, ids, 4), 0);
    assert_true(doubt_is_young(&d, &x, 50, 149));
    assert_false(doubt_is_young(&d, &x, 50, 150));
    assert_false(doubt_is_young(&d, &y, 50, 100));
    doubt_done(&d);
}

static void a_convict_is_one_for_ten_minutes_or_until_it_restarts(void **state)
{
    (void)state;
    struct doubt d;
    doubt_init(&d);
    doubt_convict(&d, nodes[1], 1000);
    doubt_convict(&d, nodes[2], 2000);
    assert_true(doubt_is_convicted(&d, nodes[1], 5000, 5999));
    assert_false(doubt_is_convicted(&d, nodes[1], 5000, 6000));
    assert_false(doubt_is_convicted(&d, nodes[3], 5000, 2000));
    doubt_convict(&d, nodes[1], 6000); /* again */
    assert_int_equal(d.convict_count, 2);
    assert_true(doubt_is_convicted(&d, nodes[1], UINT64_MAX, 5999 + LIMIT_DOUBT_MS));
    assert_false(doubt_is_convicted(&d, nodes[1], UINT64_MAX, 6000 + LIMIT_DOUBT_MS));
    doubt_forget_node(&d, nodes[1]);
    assert_false(doubt_is_convicted(&d, nodes[1], UINT64_MAX, 6000));
    assert_true(doubt_is_convicted(&d, nodes[2], UINT64_MAX, 6000));
    for (size_t i = 3; i < 3 + DOUBT_CONVICTS; i++) {
        doubt_convict(&d, nodes[i], 7000);
    }
    assert_false(doubt_is_convicted(&d, nodes[2], UINT64_MAX, 7000)); /* the oldest went */
    assert_true(doubt_is_convicted(&d, nodes[3], UINT64_MAX, 7000));
    doubt_done(&d);
}

static void the_tables_have_caps(void **state)
{
    (void)state;
    struct doubt d;
    doubt_init(&d);
    for (unsigned i = 0; i < LIMIT_DOUBTS + 10; i++) {
        struct digest x = numbered(i);
        doubt_verified(&d, &x, nodes[1], false, i);
    }
    assert_int_equal(d.marks.by_digest.count, LIMIT_DOUBTS);
    for (unsigned i = 0; i < LIMIT_DOUBTS + 10; i++) {
        struct digest x = numbered(i);
        assert_int_equal(doubt_is_excluded(&d, &x, nodes[1]), i >= 10); /* the oldest went */
    }
    struct digest x = numbered(50);
    for (unsigned i = 0; i < 12; i++) {
        doubt_verified(&d, &x, nodes[i], false, 10000 + i);
    }
    size_t count;
    (void)marks_of(&d.marks, &x, &count);
    assert_int_equal(count, MARKS_HOLDERS);
    assert_false(doubt_is_excluded(&d, &x, nodes[0]));
    assert_true(doubt_is_excluded(&d, &x, nodes[11]));
    doubt_done(&d);
}

static void without_memory_remarks_are_lost_and_nothing_else(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct doubt d;
        struct digest x = numbered(1);
        doubt_init(&d);
        doubt_contributed(&d, &x, nodes[1], 0);
        doubt_delivered(&d, &x, 0);
        doubt_verified(&d, &x, nodes[2], false, 0);
        size_t fresh;
        (void)doubt_asked_from_start(&d, &x, false, 1, &fresh);
        doubt_done(&d);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivered_in_vain_is_doubted_for_ten_minutes),
        cmocka_unit_test(what_appeared_in_the_store_was_right_though_it_is_asked_for_again),
        cmocka_unit_test(asked_again_too_late_or_held_is_no_doubt),
        cmocka_unit_test(pieces_count_only_when_the_end_was_reached),
        cmocka_unit_test(a_mismatch_excludes_until_restart_and_a_match_clears),
        cmocka_unit_test(
            whom_to_leave_out_are_the_doubted_and_the_excluded_and_a_doubt_is_young_for_a_while),
        cmocka_unit_test(a_convict_is_one_for_ten_minutes_or_until_it_restarts),
        cmocka_unit_test(the_tables_have_caps),
        cmocka_unit_test(without_memory_remarks_are_lost_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
