#include "registry/budget.h"

#include <string.h>

#include "base/limits.h"
#include "registry/head_times.h"
#include "support.h"

static struct loop *loop;
static struct budget budget;
static char story[64]; /* which claims settled, in order: letters, upper case when granted */

struct named {
    struct budget_claim claim;
    char name;
};

static void on_settled(struct budget_claim *claim)
{
    const struct named *n = CONTAINER_OF(claim, struct named, claim);
    char text[2] = {(char)(claim->granted ? n->name - 32 : n->name), 0};
    (void)strncat(story, text, sizeof(story) - strlen(story) - 1);
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void run_for(uint64_t ms)
{
    struct timer timer;
    timer_init(&timer, loop, stop, loop);
    assert_int_equal(timer_start(&timer, ms), 0);
    loop_run(loop);
}

static int set_up(void **state)
{
    (void)state;
    story[0] = 0;
    assert_int_equal(loop_new(&loop), 0);
    budget_init(&budget, loop, 100);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    budget_done(&budget);
    loop_free(loop);
    return 0;
}

static void what_fits_is_given_at_once(void **state)
{
    (void)state;
    struct budget_claim a = {0}, b = {0};
    assert_true(budget_take(&budget, &a, 60));
    assert_false(budget_take(&budget, &b, 41));
    assert_true(budget_take(&budget, &b, 40));
    budget_release(&a);
    budget_release(&a);
    budget_release(&b);
    assert_int_equal(budget.free_bytes, 100);
}

static void waiting_claims_are_served_when_something_returns(void **state)
{
    (void)state;
    struct budget_claim all = {0};
    struct named a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};
    assert_true(budget_take(&budget, &all, 100));
    assert_int_equal(budget_wait(&budget, &a.claim, 90, 1000, on_settled), 0);
    assert_int_equal(budget_wait(&budget, &b.claim, 20, 1000, on_settled), 0);
    assert_int_equal(budget_wait(&budget, &c.claim, 5, 1000, on_settled), 0);
    budget_release(&all);
    assert_string_equal(story, ""); /* from the loop, not from inside */
    run_for(10);
    assert_string_equal(story, "AC"); /* the small one that fits overtakes */
    budget_release(&a.claim);
    run_for(10);
    assert_string_equal(story, "ACB");
    budget_release(&b.claim);
    budget_release(&c.claim);
    assert_int_equal(budget.free_bytes, 100);
}

static void every_wait_ends(void **state)
{
    (void)state;
    struct budget_claim all = {0};
    struct named a = {.name = 'a'}, b = {.name = 'b'};
    assert_true(budget_take(&budget, &all, 100));
    assert_int_equal(budget_wait(&budget, &a.claim, 1, 20, on_settled), 0);
    assert_int_equal(budget_wait(&budget, &b.claim, 1, 1000, on_settled), 0);
    run_for(60);
    assert_string_equal(story, "a");
    budget_release(&a.claim);
    budget_release(&b.claim); /* stops waiting */
    budget_release(&all);
    run_for(10);
    assert_string_equal(story, "a");
    assert_int_equal(budget.free_bytes, 100);
}

static void the_hedge_is_twice_the_95th_percentile_within_bounds(void **state)
{
    (void)state;
    static const struct {
        unsigned fast, fast_us, slow, slow_us;
        uint32_t hedge_ms;
    } table[] = {
        {0, 0, 0, 0, LIMIT_HEDGE_START_MS},
        {15, 1000, 0, 0, LIMIT_HEDGE_START_MS}, /* too few to judge by */
        {16, 1000, 0, 0, LIMIT_HEDGE_MIN_MS},
        {100, 60000, 0, 0, 120},
        {96, 1000, 4, 400000, LIMIT_HEDGE_MIN_MS}, /* below the 5 % */
        {90, 1000, 10, 100000, 200},
        {90, 1000, 10, 900000, LIMIT_HEDGE_MAX_MS},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct head_times t = {0};
        for (unsigned n = 0; n < table[i].fast; n++) {
            head_times_add(&t, table[i].fast_us);
        }
        for (unsigned n = 0; n < table[i].slow; n++) {
            head_times_add(&t, table[i].slow_us);
        }
        assert_int_equal(head_times_hedge_ms(&t), table[i].hedge_ms);
    }
}

static void the_hedge_follows_the_last_heads(void **state)
{
    (void)state;
    struct head_times t = {0};
    for (unsigned n = 0; n < 1000; n++) {
        head_times_add(&t, 100000);
        (void)head_times_hedge_ms(&t);
    }
    assert_int_equal(head_times_hedge_ms(&t), 200);
    for (unsigned n = 0; n < HEAD_TIMES_KEPT + HEAD_TIMES_ENOUGH; n++) {
        head_times_add(&t, 1000);
        (void)head_times_hedge_ms(&t);
    }
    assert_int_equal(head_times_hedge_ms(&t), LIMIT_HEDGE_MIN_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_fits_is_given_at_once),
        TEST(waiting_claims_are_served_when_something_returns),
        TEST(every_wait_ends),
        TEST(the_hedge_is_twice_the_95th_percentile_within_bounds),
        TEST(the_hedge_follows_the_last_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
