/* Cold rollouts: the arbiter names a parent that is much faster than the one a follower has. */
#include "registry/cold_fixture.h"

#define PORTION (32 * 1024)

static struct scripted_peer fast;

static int set_up_fast(void **state)
{
    int r = set_up(state);
    the->offers[1] = FAST;
    the->answers[1] = GOSSIP_SWARM_OFFER;
    the->answer_count = 2;
    scripted_start(&fast, SCRIPT_GOOD, the->blob, BLOB_BYTES);
    the->fast_at = &fast.address;
    return r;
}

static int tear_down_fast(void **state)
{
    scripted_stop(&fast);
    return tear_down(state);
}

/* The parent gives a little each 50 ms until the arbiter was asked whether there is a faster one.
 * Returns how much that was. */
static int64_t parent_is_slow(struct rollout *r)
{
    int64_t at = 0;
    parent_begins(r, TOTAL);
    follower_asks(r, "");
    run_until_it_follows(r);
    for (; r->want_count < 2 && at + PORTION < BLOB_BYTES; at += PORTION) {
        parent_grows(r, at, at + PORTION);
        run_for(r, 50);
    }
    assert_int_equal(r->want_count, 2);
    assert_int_equal(r->wants[1].failed[0].id, PARENT);
    assert_int_equal(r->wants[1].failed[0].fault, GOSSIP_FAULT_SLOW);
    assert_true(r->wants[1].bytes > 0);
    return at;
}

static void the_slow_one_gives_on_until_the_first_byte_of_the_fast_one(void **state)
{
    struct rollout *r = *state;
    atomic_store(&fast.script, SCRIPT_SLOW_HEAD);
    atomic_store(&fast.at_ms, 1000);
    int64_t at = parent_is_slow(r), meanwhile = at + 6 * PORTION;
    uint64_t followed = cold_counters(r->follower.cold)->bytes_followed;
    for (; at < meanwhile; at += PORTION) {
        parent_grows(r, at, at + PORTION);
        run_for(r, 50);
    }
    assert_true(cold_counters(r->follower.cold)->bytes_followed > followed);
    assert_int_equal(last_said(r, &r->follower)->parent, PARENT);
    follower_finishes(r);
    assert_whole(r);
    assert_int_equal(last_said(r, &r->follower)->parent, FAST);
    assert_int_equal(cold_counters(r->follower.cold)->switched, 1);
    assert_int_equal(cold_counters(r->follower.cold)->bytes_followed, BLOB_BYTES);
    assert_int_equal(mirror_counters(r->follower.mirror)->resumed, 1);
    assert_int_equal(mirror_counters(r->follower.mirror)->stalled, 0);
}

static void one_that_is_no_better_costs_nothing(void **state)
{
    static const enum script scripts[] = {SCRIPT_ABSENT, SCRIPT_FROZEN};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        if (i > 0) {
            assert_int_equal(tear_down_fast(state), 0);
            assert_int_equal(set_up_fast(state), 0);
        }
        struct rollout *r = *state;
        atomic_store(&fast.script, scripts[i]);
        int64_t at = parent_is_slow(r);
        uint64_t until_ms = loop_now_ms(r->loop) + LIMIT_NO_PROGRESS_MS + 300;
        for (; loop_now_ms(r->loop) < until_ms && at + PORTION < BLOB_BYTES; at += PORTION / 4) {
            parent_grows(r, at, at + PORTION / 4);
            run_for(r, 50);
        }
        assert_true(atomic_load(&fast.requests) > 0);
        parent_grows(r, at, BLOB_BYTES);
        parent_commits(r);
        follower_finishes(r);
        assert_whole(r);
        assert_int_equal(r->want_count, 2);
        assert_int_equal(last_said(r, &r->follower)->parent, PARENT);
        assert_int_equal(cold_counters(r->follower.cold)->switched, 0);
        assert_int_equal(mirror_counters(r->follower.mirror)->resumed, 0);
    }
}

static void the_slow_one_may_break_meanwhile(void **state)
{
    struct rollout *r = *state;
    atomic_store(&fast.script, SCRIPT_SLOW_HEAD);
    atomic_store(&fast.at_ms, 1000);
    (void)parent_is_slow(r);
    run_for(r, 200);
    download_abort(&r->download);
    follower_finishes(r);
    assert_whole(r);
    assert_int_equal(r->want_count, 2);
    assert_int_equal(last_said(r, &r->follower)->parent, FAST);
}

/* Whoever stalls and is not heard of again is one of two that failed. */
static void both_may_fail_one_after_the_other(void **state)
{
    struct rollout *r = *state;
    atomic_store(&fast.script, SCRIPT_FROZEN);
    r->answers[2] = GOSSIP_SWARM_GRANT;
    r->answer_count = 3;
    int64_t at = parent_is_slow(r);
    run_for(r, 200);
    download_abort(&r->download);
    follower_finishes(r);
    assert_int_equal(r->client.status, 200);
    assert_int_equal(r->client.body_bytes, at);
    assert_memory_equal(r->body, r->blob, (size_t)at);
    assert_false(r->client.reset);
    assert_int_equal(r->want_count, 3);
    assert_int_equal(r->wants[2].failed_count, 2);
}

static void without_memory_the_slow_one_is_enough(void **state)
{
    struct rollout *r = *state;
    atomic_store(&fast.script, SCRIPT_SLOW_HEAD);
    atomic_store(&fast.at_ms, 100);
    int64_t at = parent_is_slow(r);
    support_fail_allocation(1);
    run_for(r, 300);
    support_fail_allocation(0);
    parent_grows(r, at, BLOB_BYTES);
    parent_commits(r);
    follower_finishes(r);
    assert_whole(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_slow_one_gives_on_until_the_first_byte_of_the_fast_one,
                                        set_up_fast, tear_down_fast),
        cmocka_unit_test_setup_teardown(one_that_is_no_better_costs_nothing, set_up_fast,
                                        tear_down_fast),
        cmocka_unit_test_setup_teardown(the_slow_one_may_break_meanwhile, set_up_fast,
                                        tear_down_fast),
        cmocka_unit_test_setup_teardown(both_may_fail_one_after_the_other, set_up_fast,
                                        tear_down_fast),
        cmocka_unit_test_setup_teardown(without_memory_the_slow_one_is_enough, set_up_fast,
                                        tear_down_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
