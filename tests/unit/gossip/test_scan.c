/* test_scan.c - the index walked in parts, while everything about it changes in between. */
#include "support.h"

#include "gossip/index.h"
#include "gossip/key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 3000

static struct gossip_index *x;
static uint64_t random_state;
static unsigned came[2 * KEYS];
static bool was_there[2 * KEYS], removed[2 * KEYS];

static size_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(random_state >> 33);
}

static uint64_t key_of(size_t i)
{
    return gossip_mix(i + 1);
}

/* Until a place where it may be left, at least `want` keys on. False at the end. */
static bool walk(struct gossip_index_scan *scan, size_t want)
{
    uint64_t key;
    size_t got = 0;
    assert_true(gossip_index_scan_resume(x, scan));
    for (;;) {
        int r = gossip_index_scan_next(x, scan, &key);
        if (r < 0) {
            assert_int_equal(r, -ENOENT);
            return false;
        }
        if (r == 0) {
            if (got >= want) {
                return true;
            }
            continue;
        }
        size_t i = 0;
        while (i < 2 * KEYS && key_of(i) != key) {
            i++;
        }
        assert_true(i < 2 * KEYS);
        assert_true(gossip_index_scan_has(scan, (uint16_t)(i % 5)));
        came[i]++;
        got++;
    }
}

static void fill(uint64_t seed, size_t keys)
{
    assert_int_equal(gossip_index_new(seed, &x), 0);
    random_state = seed;
    memset(came, 0, sizeof(came));
    memset(removed, 0, sizeof(removed));
    memset(was_there, 0, sizeof(was_there));
    for (size_t i = 0; i < keys; i++) {
        assert_int_equal(gossip_index_add(x, key_of(i), (uint16_t)(i % 5)), 1);
        was_there[i] = true;
    }
}

static void check(void)
{
    for (size_t i = 0; i < 2 * KEYS; i++) {
        assert_true(came[i] <= 1);
        assert_true(!was_there[i] || removed[i] || came[i] == 1);
    }
    gossip_index_free(x);
}

static void without_changes_every_key_comes_once(void **state)
{
    (void)state;
    for (size_t keys = 0; keys <= 200; keys++) {
        struct gossip_index_scan scan = {0};
        fill(keys, keys);
        while (walk(&scan, keys % 7)) {
        }
        check();
    }
}

/* Adding moves a table to one of twice the size, removing shifts entries towards the front. */
static void what_is_added_and_removed_between_the_parts_loses_nothing_else(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct gossip_index_scan scan = {0};
        size_t keys = 1 + next_random() % KEYS, adds = seed % 3 ? next_random() % 30 : 0;
        fill(seed, keys);
        while (walk(&scan, next_random() % 60)) {
            for (size_t k = 0; k < adds; k++) {
                size_t i = keys + next_random() % KEYS;
                (void)gossip_index_add(x, key_of(i), (uint16_t)(i % 5));
                removed[i] = true; /* it may come or not */
            }
            for (size_t k = next_random() % 20; k > 0; k--) {
                size_t i = next_random() % keys;
                bool passed = gossip_index_scan_passed(x, &scan, key_of(i));
                assert_true(removed[i] || passed == (came[i] == 1));
                removed[i] = gossip_index_remove(x, key_of(i), (uint16_t)(i % 5)) || removed[i];
            }
        }
        check();
    }
}

static void a_table_that_always_grows_is_given_up(void **state)
{
    (void)state;
    struct gossip_index_scan scan = {0};
    size_t next = 40, resumes = 0;
    fill(1, next);
    uint64_t key;
    while (gossip_index_scan_resume(x, &scan)) {
        int r;
        while ((r = gossip_index_scan_next(x, &scan, &key)) == 1) {
        }
        if (r < 0) {
            fail();
        }
        size_t keys = gossip_index_keys(x);
        while (gossip_index_keys(x) < 2 * keys) {
            assert_int_equal(gossip_index_add(x, gossip_mix(1000000 + next++), 1), 1);
        }
        assert_true(++resumes < 64);
    }
    assert_int_equal(scan.grown_count, GOSSIP_INDEX_SCAN_GROWTHS);
    gossip_index_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_changes_every_key_comes_once),
        cmocka_unit_test(what_is_added_and_removed_between_the_parts_loses_nothing_else),
        cmocka_unit_test(a_table_that_always_grows_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
