#include "support.h"

#include "gossip/suspicion.h"

static void one_accuser_waits_longest_and_agreement_shortens_it(void **state)
{
    (void)state;
    struct gossip_suspicion s;
    gossip_suspicion_start(&s, 1000, 1, 10);
    uint64_t last = gossip_suspicion_deadline_ms(&s);
    assert_int_equal(last, 1000 + s.timeout_max_ms);
    for (uint64_t witness = 2; witness <= GOSSIP_WITNESSES; witness++) {
        assert_true(gossip_suspicion_confirm(&s, witness));
        assert_true(gossip_suspicion_deadline_ms(&s) < last);
        last = gossip_suspicion_deadline_ms(&s);
    }
    assert_int_equal(last, 1000 + s.timeout_min_ms);
}

static void the_same_witness_counts_once(void **state)
{
    (void)state;
    struct gossip_suspicion s;
    gossip_suspicion_start(&s, 1000, 1, 10);
    assert_false(gossip_suspicion_confirm(&s, 1));
    assert_int_equal(gossip_suspicion_exclude_ms(&s), 1000 + GOSSIP_EXCLUDE_AFTER_MS);
    for (uint64_t witness = 2; witness < 20; witness++) {
        assert_int_equal(gossip_suspicion_confirm(&s, witness), witness <= GOSSIP_WITNESSES);
    }
}

static void two_witnesses_exclude_at_once_and_one_after_700_ms(void **state)
{
    (void)state;
    struct gossip_suspicion s;
    gossip_suspicion_start(&s, 5000, 1, 100);
    assert_int_equal(gossip_suspicion_exclude_ms(&s), 5700);
    gossip_suspicion_confirm(&s, 2);
    assert_int_equal(gossip_suspicion_exclude_ms(&s), 5000);
}

static void where_nobody_else_could_confirm_the_wait_is_the_shortest(void **state)
{
    (void)state;
    struct gossip_suspicion s;
    gossip_suspicion_start(&s, 0, 1, 2);
    assert_int_equal(gossip_suspicion_deadline_ms(&s), s.timeout_min_ms);
    gossip_suspicion_start(&s, 0, 1, 3);
    assert_true(gossip_suspicion_deadline_ms(&s) > s.timeout_min_ms);
}

static void larger_clusters_wait_longer(void **state)
{
    (void)state;
    uint32_t last = 0;
    for (size_t members = 10; members <= 10000; members *= 10) {
        struct gossip_suspicion s;
        gossip_suspicion_start(&s, 0, 1, members);
        assert_true(s.timeout_min_ms > last && s.timeout_min_ms < 20000);
        last = s.timeout_min_ms;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_accuser_waits_longest_and_agreement_shortens_it),
        cmocka_unit_test(the_same_witness_counts_once),
        cmocka_unit_test(two_witnesses_exclude_at_once_and_one_after_700_ms),
        cmocka_unit_test(where_nobody_else_could_confirm_the_wait_is_the_shortest),
        cmocka_unit_test(larger_clusters_wait_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
