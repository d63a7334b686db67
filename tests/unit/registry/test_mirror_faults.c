/* Holders that fail, in every way the scripts know: what our client gets must be right to the last
 * byte, or end in a 404 or a FIN, and in time. */
#include "registry/mirror_fixture.h"

#define MIDDLE (5 * 1024 * 1024)

/* The first holder fails before any byte went out: the second one answers. */
static void a_bad_first_holder_is_passed_over(void **state)
{
    (void)state;
    static const struct {
        enum script script;
        int64_t at;
        double max_ms; /* to the first byte */
    } table[] = {
        {SCRIPT_ABSENT, 0, 50},       {SCRIPT_BUSY, 0, 50},         {SCRIPT_HANGS_UP, 0, 50},
        {SCRIPT_GARBAGE, 0, 50},      {SCRIPT_CHUNKED, 0, 50},      {SCRIPT_GZIP, 0, 50},
        {SCRIPT_NO_LENGTH, 0, 50},    {SCRIPT_OTHER_DIGEST, 0, 50}, {SCRIPT_SHORT, 0, 50},
        {SCRIPT_RESETS, 0, 100},      {SCRIPT_FROZEN, 0, 300}, /* the hedge */
        {SCRIPT_FROZEN_BODY, 0, 800},                          /* a head and no byte */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct mirror_fixture *g;
        assert_int_equal(fixture_set_up((void **)&g), 0);
        fixture_add(g, table[i].script, table[i].at);
        fixture_add(g, SCRIPT_GOOD, 0);
        fixture_get(g);
        assert_whole_blob(g);
        assert_true(g->client.first_byte_ms < table[i].max_ms);
        assert_int_equal(mirror_counters(g->mirror)->hits, 1);
        assert_int_equal(mirror_counters(g->mirror)->resumed, 0);
        fixture_tear_down((void **)&g);
    }
}

static void a_holder_that_fails_mid_body_is_replaced_at_the_offset(void **state)
{
    (void)state;
    static const struct {
        enum script script;
        double max_ms; /* in all */
        unsigned stalled;
    } table[] = {
        {SCRIPT_SHORT, 1500, 0},
        {SCRIPT_RESETS, 1500, 0},
        {SCRIPT_FROZEN_BODY, 4500, 1},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct mirror_fixture *f;
        assert_int_equal(fixture_set_up((void **)&f), 0);
        fixture_add(f, table[i].script, MIDDLE);
        fixture_add(f, SCRIPT_GOOD, 0);
        fixture_get(f);
        assert_whole_blob(f);
        assert_true(f->client.all_ms < table[i].max_ms);
        const struct mirror_counters *n = mirror_counters(f->mirror);
        assert_int_equal(n->resumed, 1);
        assert_int_equal(n->stalled, table[i].stalled);
        assert_int_equal(n->cut_short, 0);
        assert_int_equal(f->unreachable[0], 1);
        char range[64];
        (void)snprintf(range, sizeof(range), "-%d\r\n", BLOB_BYTES - 1);
        assert_non_null(strstr(f->peers[1].last_request, "\r\nRange: bytes="));
        assert_non_null(strstr(f->peers[1].last_request, range));
        assert_true(atomic_load(&f->peers[1].bytes_sent) < BLOB_BYTES);
        fixture_tear_down((void **)&f);
    }
}

static void a_ranged_answer_goes_on_within_its_range(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_SHORT, MIDDLE);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_run(f, "GET", "Range: bytes=1000000-7000000\r\n");
    assert_int_equal(f->client.status, 206);
    assert_int_equal(f->client.body_bytes, 6000001);
    assert_memory_equal(f->body, f->blob + 1000000, 6000001);
    assert_int_equal(mirror_counters(f->mirror)->resumed, 1);
}

/* Who goes on must agree with who began, or is not taken. */
static void a_bad_successor_is_passed_over(void **state)
{
    (void)state;
    static const enum script scripts[] = {
        SCRIPT_OTHER_TOTAL, SCRIPT_OTHER_LENGTH, SCRIPT_IGNORES_RANGE, SCRIPT_ABSENT,
        SCRIPT_GZIP,        SCRIPT_HANGS_UP,     SCRIPT_FROZEN,
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct mirror_fixture *f;
        assert_int_equal(fixture_set_up((void **)&f), 0);
        fixture_add(f, SCRIPT_SHORT, MIDDLE);
        fixture_add(f, scripts[i], 0);
        fixture_add(f, SCRIPT_GOOD, 0);
        fixture_get(f);
        assert_whole_blob(f);
        assert_int_equal(mirror_counters(f->mirror)->resumed, 1);
        fixture_tear_down((void **)&f);
    }
}

struct nap {
    struct timer timer;
    struct poll *poll;
    int pipe[2];
};

static void nap_due(void *arg)
{
    struct nap *nap = arg;
    assert_int_equal(write(nap->pipe[1], "x", 1), 1);
}

/* Not in the timer's callback: after those the loop looks at its sockets, before the next ones. */
static void nap_begins(void *arg, int events)
{
    struct nap *nap = arg;
    (void)events;
    assert_int_equal(poll_set(nap->poll, 0), 0);
    usleep(1500 * 1000);
}

/* The machine was paused, the container throttled: our clocks ran out, but the answer is here. */
static void a_loop_that_was_away_looks_at_what_came_meanwhile(void **state)
{
    struct mirror_fixture *f = *state;
    struct nap nap;
    struct scripted_peer *p = fixture_add(f, SCRIPT_SLOW_HEAD, 0);
    atomic_store(&p->at_ms, 300);
    assert_int_equal(pipe(nap.pipe), 0);
    assert_int_equal(poll_new(f->loop, nap.pipe[0], nap_begins, &nap, &nap.poll), 0);
    assert_int_equal(poll_set(nap.poll, POLL_READABLE), 0);
    timer_init(&nap.timer, f->loop, nap_due, &nap);
    fixture_start(f, "GET", "");
    assert_int_equal(timer_start(&nap.timer, 100), 0);
    client_finish(&f->client, f->loop, 20000);
    poll_free(nap.poll);
    (void)close(nap.pipe[0]);
    (void)close(nap.pipe[1]);
    assert_whole_blob(f);
    assert_true(f->client.first_byte_ms > 1500);
    assert_int_equal(f->unreachable[0], 0);
}

static void three_failures_in_a_row_are_survived(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_SHORT, MIDDLE);
    fixture_add(f, SCRIPT_RESETS, 2 * MIDDLE);
    fixture_add(f, SCRIPT_SHORT, 2 * MIDDLE + 1000000);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    assert_whole_blob(f);
    assert_int_equal(mirror_counters(f->mirror)->resumed, 3);
}

static void with_none_left_it_ends_in_fin_and_the_range_retry_is_404(void **state)
{
    (void)state;
    static const struct {
        enum script script;
        double max_ms;
    } table[] = {{SCRIPT_SHORT, 500}, {SCRIPT_RESETS, 500}, {SCRIPT_FROZEN_BODY, 3500}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct mirror_fixture *f;
        assert_int_equal(fixture_set_up((void **)&f), 0);
        fixture_add(f, table[i].script, MIDDLE);
        fixture_get(f);
        assert_cut_short(f, MIDDLE / 2);
        assert_memory_equal(f->body, f->blob, (size_t)f->client.body_bytes);
        assert_true(f->client.all_ms < table[i].max_ms);
        assert_int_equal(mirror_counters(f->mirror)->cut_short, 1);
        char range[64];
        (void)snprintf(range, sizeof(range), "Range: bytes=%lld-\r\n",
                       (long long)f->client.body_bytes);
        fixture_run(f, "GET", range);
        assert_int_equal(f->client.status, 404);
        assert_true(f->client.all_ms < 250); /* and it waits for nobody: the least of its clocks */
        fixture_tear_down((void **)&f);
    }
}

static void frozen_holders_only_are_404_within_3_s(void **state)
{
    struct mirror_fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        fixture_add(f, SCRIPT_FROZEN, 0);
    }
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
    assert_in_range(f->client.all_ms, 1000, 3100);
    const struct mirror_counters *n = mirror_counters(f->mirror);
    assert_int_equal(n->hedged, 2);
    assert_int_equal(n->misses, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->unreachable[i], 1);
    }
    fixture_get(f); /* remembered */
    assert_int_equal(f->client.status, 404);
    assert_true(f->client.all_ms < 250);
}

static void a_refused_connection_is_passed_over_and_reported(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_add(f, SCRIPT_GOOD, 0);
    union address real = f->peers[0].address;
    f->peers[0].address.in4.sin_port = htons(1);
    fixture_get(f);
    assert_whole_blob(f);
    assert_true(f->client.first_byte_ms < 50);
    assert_int_equal(f->unreachable[0], 1);
    f->peers[0].address = real;
}

static void a_slow_holder_is_hedged_and_the_first_to_answer_wins(void **state)
{
    struct mirror_fixture *f = *state;
    atomic_store(&fixture_add(f, SCRIPT_SLOW_HEAD, 0)->at_ms, 400);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    assert_whole_blob(f);
    assert_in_range(f->client.first_byte_ms, LIMIT_HEDGE_START_MS - 10, 300);
    assert_int_equal(mirror_counters(f->mirror)->hedged, 1);
}

static void a_pause_shorter_than_the_limit_is_sat_out(void **state)
{
    struct mirror_fixture *f = *state;
    atomic_store(&fixture_add(f, SCRIPT_PAUSES_BODY, MIDDLE)->at_ms, 1000);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    assert_whole_blob(f);
    assert_int_equal(mirror_counters(f->mirror)->stalled, 0);
    assert_int_equal(atomic_load(&f->peers[1].requests), 0);
}

static bool part_was_moved(void *arg)
{
    return mirror_counters(arg)->bytes_spliced >= 700000;
}

/* Less than the low-water mark of the peer's socket must not wait for more. */
static void what_a_slow_holder_has_sent_is_passed_on_soon(void **state)
{
    struct mirror_fixture *f = *state;
    atomic_store(&fixture_add(f, SCRIPT_PAUSES_BODY, 700000)->at_ms, 1500);
    fixture_start(f, "GET", "");
    assert_true(loop_run_until(f->loop, part_was_moved, f->mirror, 300));
    client_finish(&f->client, f->loop, 10000);
    assert_whole_blob(f);
}

/* Whichever allocation fails, our client gets the right bytes, a refusal or a cut. */
static void without_memory_nothing_wrong_is_sent(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    static const struct {
        bool small, manifest;
    } table[] = {{false, false}, {true, true}, {true, false}};
    fixture_get(f);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].small) {
            fixture_go_small(f, table[i].manifest);
        }
        int64_t len = f->peers[0].len;
        for (f->fail_nth = 1; f->fail_nth < 200; f->fail_nth++) {
            f->query.local_client = false;
            fixture_get(f);
            bool spared = support_allocations() < f->fail_nth;
            support_fail_allocation(0);
            assert_in_range(f->client.body_bytes, 0, len);
            if (f->client.status == 200) {
                assert_memory_equal(f->body, f->blob, (size_t)f->client.body_bytes);
            }
            if (spared) {
                assert_int_equal(f->client.status, 200);
                assert_int_equal(f->client.body_bytes, len);
                break;
            }
            static const uint8_t node[6] = {0, 1, 2, 3, 4, 5};
            mirror_node_restarted(f->mirror, node); /* so that it is asked again */
        }
        assert_in_range(f->fail_nth, 5, 199);
        f->fail_nth = 0;
    }
}

/* --- small and verified --- */

static void a_small_body_is_right_or_not_sent(void **state)
{
    (void)state;
    static const enum script scripts[] = {SCRIPT_CORRUPT,      SCRIPT_SHORT,  SCRIPT_RESETS,
                                          SCRIPT_OTHER_DIGEST, SCRIPT_BUSY,   SCRIPT_ABSENT,
                                          SCRIPT_FROZEN_BODY,  SCRIPT_FROZEN, SCRIPT_GZIP};
    for (size_t i = 0; i < 2 * sizeof(scripts) / sizeof(scripts[0]); i++) {
        for (int with_other = 0; with_other < 2; with_other++) {
            struct mirror_fixture *f;
            assert_int_equal(fixture_set_up((void **)&f), 0);
            fixture_add(f, scripts[i / 2], 1000);
            if (with_other) {
                fixture_add(f, SCRIPT_GOOD, 0);
            }
            fixture_go_small(f, i % 2);
            fixture_get(f);
            assert_int_equal(f->client.status, with_other ? 200 : 404);
            assert_in_range(f->client.all_ms, 0, with_other ? 800 : 3100);
            if (with_other) {
                assert_int_equal(f->client.body_bytes, SMALL_BYTES);
                assert_memory_equal(f->body, f->small, SMALL_BYTES);
            }
            assert_int_equal(mirror_counters(f->mirror)->mismatches,
                             scripts[i / 2] == SCRIPT_CORRUPT);
            fixture_tear_down((void **)&f);
        }
    }
}

static void a_manifest_without_a_media_type_is_not_taken(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_NO_TYPE, 0);
    fixture_go_small(f, true);
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
}

static void a_manifest_too_large_is_not_taken(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    fixture_go_small(f, true);
    p->len = LIMIT_VERIFIED_MANIFEST_BYTES + 1;
    p->digest = NULL;
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
}

/* Manifests of 4 MiB, each slow: one fits the budget, the second waits, then gives up. */
static void when_the_verify_budget_is_spent_a_manifest_waits_then_404(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_PAUSES_BODY, 1000);
    static struct blocking_client clients[3];
    char *bodies = malloc(3 * (size_t)LIMIT_VERIFIED_MANIFEST_BYTES);
    fixture_go_small(f, true);
    char digest[DIGEST_TEXT_BYTES];
    fixture_digest(f->blob, LIMIT_VERIFIED_MANIFEST_BYTES, digest);
    assert_int_equal(digest_parse(digest, strlen(digest), &f->query.digest), 0);
    p->len = LIMIT_VERIFIED_MANIFEST_BYTES;
    p->digest = digest;
    for (unsigned pause_ms = 300; pause_ms <= 900; pause_ms += 600) {
        atomic_store(&p->at_ms, pause_ms);
        unsigned good = 0;
        uint64_t waits = mirror_counters(f->mirror)->verify_budget_waits;
        for (int i = 0; i < 2; i++) {
            clients[i] = (struct blocking_client){0};
            client_start(&clients[i], server_port(f->server), "GET", "/", "",
                         bodies + i * (size_t)LIMIT_VERIFIED_MANIFEST_BYTES,
                         LIMIT_VERIFIED_MANIFEST_BYTES);
        }
        for (int i = 0; i < 2; i++) {
            client_finish(&clients[i], f->loop, 10000);
            good += clients[i].status == 200;
            if (clients[i].status == 200) {
                assert_int_equal(clients[i].body_bytes, LIMIT_VERIFIED_MANIFEST_BYTES);
                assert_memory_equal(clients[i].body, f->blob, LIMIT_VERIFIED_MANIFEST_BYTES);
            } else {
                assert_int_equal(clients[i].status, 404);
            }
        }
        assert_int_equal(good, pause_ms == 300 ? 2 : 1);
        assert_int_equal(mirror_counters(f->mirror)->verify_budget_waits, waits + 1);
    }
    free(bodies);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_bad_first_holder_is_passed_over),
        TEST(a_holder_that_fails_mid_body_is_replaced_at_the_offset),
        TEST(a_ranged_answer_goes_on_within_its_range),
        TEST(a_bad_successor_is_passed_over),
        TEST(a_loop_that_was_away_looks_at_what_came_meanwhile),
        TEST(three_failures_in_a_row_are_survived),
        TEST(with_none_left_it_ends_in_fin_and_the_range_retry_is_404),
        TEST(frozen_holders_only_are_404_within_3_s),
        TEST(a_refused_connection_is_passed_over_and_reported),
        TEST(a_slow_holder_is_hedged_and_the_first_to_answer_wins),
        TEST(a_pause_shorter_than_the_limit_is_sat_out),
        TEST(what_a_slow_holder_has_sent_is_passed_on_soon),
        TEST(without_memory_nothing_wrong_is_sent),
        TEST(a_small_body_is_right_or_not_sent),
        TEST(a_manifest_without_a_media_type_is_not_taken),
        TEST(a_manifest_too_large_is_not_taken),
        TEST(when_the_verify_budget_is_spent_a_manifest_waits_then_404),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
