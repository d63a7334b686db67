/* What came complete and is not committed: whether its bytes were wrong, and whose they were. */
#include "registry/cold_fixture.h"

#include "registry/blame.h"
#include "registry/cold_internal.h"

#define ORIGIN 0x0a0b0c0d0e0f
#define DECIDED_MS 900 /* more than a disk may take for BLOB_BYTES, with a quarter of a second */

/* The follower's containerd has received all of it from the parent, and writes it down; if `spoilt`
 * with a byte that is not what it was. */
static void all_of_it_arrives(struct rollout *r, bool spoilt)
{
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    follower_asks(r, "");
    follower_finishes(r);
    assert_whole(r);
    r->body[1000] = (char)(r->body[1000] ^ (spoilt ? 0xff : 0));
    assert_int_equal(pwrite(r->own.fd, r->body, BLOB_BYTES, 0), BLOB_BYTES);
    run_for(r, 50); /* it is seen */
}

static void what_is_complete_wrong_and_not_committed_is_told_once(void **state)
{
    struct rollout *r = *state;
    all_of_it_arrives(r, true);
    assert_int_equal(r->wrong, 0); /* it may be committed yet */
    run_for(r, DECIDED_MS);
    assert_int_equal(r->wrong, 1);
    assert_int_equal(r->giver, PARENT);
    assert_int_equal(r->origin, PARENT);
    assert_int_equal(cold_counters(r->follower.cold)->proven_wrong, 1);
    run_for(r, DECIDED_MS);
    own_is_gone(r);
    run_for(r, 100);
    assert_int_equal(r->wrong, 1);
}

static void what_is_thrown_away_complete_is_looked_at_at_once(void **state)
{
    struct rollout *r = *state;
    all_of_it_arrives(r, true);
    own_is_gone(r);
    run_for(r, 150);
    assert_int_equal(r->wrong, 1);
}

/* Its pull was cancelled as the last byte came. */
static void what_is_right_is_nobodys_fault_whatever_becomes_of_it(void **state)
{
    struct rollout *r = *state;
    all_of_it_arrives(r, false);
    run_for(r, DECIDED_MS);
    own_is_gone(r);
    run_for(r, 200);
    assert_int_equal(r->wrong, 0);
}

static void what_was_committed_was_right(void **state)
{
    struct rollout *r = *state;
    all_of_it_arrives(r, true); /* not so, but containerd says so, and it has looked */
    download_commit(&r->own);
    r->own.fd = -1;
    run_for(r, DECIDED_MS);
    assert_int_equal(r->wrong, 0);
}

static void what_was_there_before_may_have_been_wrong_before(void **state)
{
    struct rollout *r = *state;
    download_write(&r->own, 0, 1000);
    all_of_it_arrives(r, true);
    run_for(r, DECIDED_MS);
    assert_int_equal(r->wrong, 0);
}

static void whoever_passes_it_on_says_whose_copy_it_is(void **state)
{
    struct rollout *r = *state;
    parent_begins(r, TOTAL);
    struct cold_flight *f = cold_flight_join(r->parent.cold, &r->digest);
    assert_non_null(f);
    f->proof = (struct proof){0}; /* as if it had not begun by itself */
    cold_flight_gave(f, SILENT, ORIGIN);
    parent_grows(r, 0, BLOB_BYTES);
    follower_asks(r, "");
    follower_finishes(r);
    cold_flight_leave(f);
    assert_whole(r);
    r->body[1000] ^= 1;
    assert_int_equal(pwrite(r->own.fd, r->body, BLOB_BYTES, 0), BLOB_BYTES);
    run_for(r, DECIDED_MS);
    assert_int_equal(r->wrong, 1);
    assert_int_equal(r->giver, PARENT);
    assert_int_equal(r->origin, ORIGIN);
}

static void what_comes_from_several_comes_from_nobody_in_particular(void **state)
{
    struct rollout *r = *state;
    char text[GOSSIP_ID_TEXT_BYTES];
    struct cold_flight *f = cold_flight_join(r->follower.cold, &r->digest);
    assert_non_null(f);
    assert_null(proof_origin(f, text));
    cold_flight_gave(f, PARENT, ORIGIN);
    assert_string_equal(proof_origin(f, text), "0a0b0c0d0e0f");
    cold_flight_gave(f, PARENT, ORIGIN);
    assert_string_equal(proof_origin(f, text), "0a0b0c0d0e0f");
    cold_flight_gave(f, PARENT, SILENT);
    assert_string_equal(proof_origin(f, text), "unknown");
    f->proof = (struct proof){0};
    cold_flight_gave(f, PARENT, ORIGIN);
    cold_flight_gave(f, SILENT, ORIGIN);
    assert_string_equal(proof_origin(f, text), "unknown");
    f->proof = (struct proof){0};
    cold_flight_gave(f, PARENT, ORIGIN);
    cold_flight_set_parent(f, 0); /* the rest is upstream's */
    assert_string_equal(proof_origin(f, text), "unknown");
    cold_flight_leave(f);
}

static void an_origin_that_is_none_is_unknown(void **state)
{
    static const uint8_t giver[6] = {1, 2, 3, 4, 5, 6};
    (void)state;
    assert_int_equal(blame_origin("", giver), PARENT);
    assert_int_equal(blame_origin("0a0b0c0d0e0f", giver), ORIGIN);
    assert_int_equal(blame_origin("unknown", giver), 0);
    assert_int_equal(blame_origin("0a0b0c0d0e0", giver), 0);
    assert_int_equal(blame_origin("-a0b0c0d0e0f", giver), 0);
}

static void whoever_is_convicted_is_named_and_not_asked(void **state)
{
    struct rollout *r = *state;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    parent_begins(r, TOTAL);
    parent_grows(r, 0, BLOB_BYTES);
    mirror_copy_wrong(r->follower.mirror, &r->digest, SILENT, PARENT);
    assert_int_equal(mirror_counters(r->follower.mirror)->convicted, 1);
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404);
    assert_int_equal(r->want_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(r->wants[i].failed_count, 1);
        assert_int_equal(r->wants[i].failed[0].id, PARENT);
        assert_int_equal(r->wants[i].failed[0].fault, GOSSIP_FAULT_WRONG);
    }
    assert_int_equal(cold_counters(r->parent.cold)->fed, 0);
}

static void whoever_cannot_be_told_is_not_convicted(void **state)
{
    struct rollout *r = *state;
    mirror_copy_wrong(r->follower.mirror, &r->digest, PARENT, 0);
    r->member_gone = true;
    mirror_copy_wrong(r->follower.mirror, &r->digest, PARENT, PARENT);
    assert_int_equal(mirror_counters(r->follower.mirror)->convicted, 0);
}

/* Its own copy is right, so what it sent was spoilt by itself or on the way from there. */
static void a_giver_that_holds_it_is_the_culprit(void **state)
{
    struct rollout *r = *state;
    r->follower.holder = &r->parent;
    r->answers[1] = GOSSIP_SWARM_GRANT;
    r->answer_count = 2;
    mirror_copy_wrong(r->follower.mirror, &r->digest, PARENT, SILENT);
    site_ask(&r->follower, "GET", r->target, "");
    assert_int_equal(r->follower.client.status, 404); /* nor is it asked as a holder */
    assert_int_equal(r->wants[0].failed[0].id, PARENT);
}

static void without_memory_nothing_is_proven_and_nothing_lost(void **state)
{
    struct rollout *r = *state;
    for (unsigned nth = 1; nth < 12; nth++) {
        all_of_it_arrives(r, true);
        support_fail_allocation(nth);
        own_is_gone(r);
        run_for(r, 100);
        support_fail_allocation(0);
        download_abort(&r->download);
        run_for(r, 50);
        r->own = download_begin(&r->at_follower, "layer", &r->digest, TOTAL);
        mirror_appeared(r->follower.mirror, &r->digest); /* no doubts are left */
        r->flight_count = r->want_count = 0;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_complete_wrong_and_not_committed_is_told_once),
        TEST(what_is_thrown_away_complete_is_looked_at_at_once),
        TEST(what_is_right_is_nobodys_fault_whatever_becomes_of_it),
        TEST(what_was_committed_was_right),
        TEST(what_was_there_before_may_have_been_wrong_before),
        TEST(whoever_passes_it_on_says_whose_copy_it_is),
        TEST(what_comes_from_several_comes_from_nobody_in_particular),
        TEST(an_origin_that_is_none_is_unknown),
        TEST(whoever_is_convicted_is_named_and_not_asked),
        TEST(whoever_cannot_be_told_is_not_convicted),
        TEST(a_giver_that_holds_it_is_the_culprit),
        TEST(without_memory_nothing_is_proven_and_nothing_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
