#include "support.h"

#include "gossip/index.h"
#include "gossip/key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void a_key_has_its_holders_in_order_whatever_their_number(void **state)
{
    (void)state;
    struct gossip_index *x;
    assert_int_equal(gossip_index_new(1, &x), 0);
    /* 3 stand in the entry, 8 in a list, then larger lists and at last a bitmap. */
    for (uint16_t count = 1; count <= 600; count++) {
        uint16_t slot = (uint16_t)((count * 7919U) % 997);
        assert_int_equal(gossip_index_add(x, 42, slot), 1);
        assert_int_equal(gossip_index_add(x, 42, slot), 0);
        uint32_t cursor = 0;
        uint16_t got, last = 0;
        unsigned found = 0;
        while (gossip_index_holders(x, 42, &cursor, &got)) {
            assert_true(found == 0 || got > last);
            last = got;
            found++;
        }
        assert_int_equal(found, count);
    }
    for (uint16_t count = 600; count >= 1; count--) {
        uint16_t slot = (uint16_t)((count * 7919U) % 997);
        assert_true(gossip_index_has(x, 42, slot));
        assert_int_equal(gossip_index_remove(x, 42, slot), 1);
        assert_int_equal(gossip_index_remove(x, 42, slot), 0);
    }
    assert_int_equal(gossip_index_keys(x), 0);
    gossip_index_free(x);
}

static void a_walk_from_anywhere_meets_each_holder_once(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 3, 4, 9, 60, 700}; /* inline, lists, a bitmap */
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct gossip_index *x;
        struct gossip_index_walk walk;
        assert_int_equal(gossip_index_new(1, &x), 0);
        assert_false(gossip_index_walk(x, 42, 0, &walk));
        for (unsigned i = 0; i < counts[c]; i++) {
            assert_int_equal(gossip_index_add(x, 42, (uint16_t)(i * 3 + 5)), 1);
        }
        for (uint32_t start = 0; start < 3 * counts[c] + 70; start++) {
            static unsigned met[4096];
            uint16_t slot;
            unsigned total = 0;
            memset(met, 0, sizeof(met));
            assert_true(gossip_index_walk(x, 42, start, &walk));
            while (gossip_index_walk_next(&walk, &slot)) {
                assert_true(slot < 4096 && met[slot] == 0);
                assert_true(gossip_index_has(x, 42, slot));
                met[slot] = 1;
                total++;
            }
            assert_int_equal(total, counts[c]);
        }
        gossip_index_free(x);
    }
}

#define KEYS 300
#define SLOTS 200

/* Random adds, removes and clears against a plain table of booleans. */
static void the_index_agrees_with_a_plain_table(void **state)
{
    (void)state;
    static bool table[KEYS][SLOTS];
    struct gossip_index *x;
    uint64_t random = 5;
    memset(table, 0, sizeof(table));
    assert_int_equal(gossip_index_new(9, &x), 0);
    for (int i = 0; i < 60000; i++) {
        random = gossip_mix(random);
        unsigned k = (unsigned)(random % KEYS);
        uint16_t slot = (uint16_t)((random >> 20) % (k % 3 ? SLOTS : 4));
        uint64_t key = gossip_mix(k);
        switch ((random >> 40) % 100) {
        case 0:
            gossip_index_clear(x, slot);
            for (unsigned j = 0; j < KEYS; j++) {
                table[j][slot] = false;
            }
            break;
        case 1 ... 40:
            assert_int_equal(gossip_index_remove(x, key, slot), table[k][slot]);
            table[k][slot] = false;
            break;
        default:
            assert_int_equal(gossip_index_add(x, key, slot), !table[k][slot]);
            table[k][slot] = true;
            break;
        }
        assert_int_equal(gossip_index_has(x, key, slot), table[k][slot]);
    }
    for (unsigned k = 0; k < KEYS; k++) {
        for (uint16_t slot = 0; slot < SLOTS; slot++) {
            assert_int_equal(gossip_index_has(x, gossip_mix(k), slot), table[k][slot]);
        }
    }
    for (uint16_t slot = 0; slot < SLOTS; slot++) {
        size_t cursor = 0, found = 0, wanted = 0;
        uint64_t key;
        while (gossip_index_column(x, slot, &cursor, &key)) {
            found++;
        }
        for (unsigned k = 0; k < KEYS; k++) {
            wanted += table[k][slot];
        }
        assert_int_equal(found, wanted);
    }
    gossip_index_free(x);
}

static void clearing_a_column_misses_no_entry_that_moves(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct gossip_index *x;
        size_t cursor = 0;
        uint64_t key;
        assert_int_equal(gossip_index_new(seed, &x), 0);
        for (uint64_t k = 0; k < 48; k++) { /* as full as the table gets */
            assert_int_equal(gossip_index_add(x, k * 3, 1), 1);
            if (k % 5 == 0) {
                assert_int_equal(gossip_index_add(x, k * 3, 2), 1);
            }
        }
        gossip_index_clear(x, 1);
        assert_false(gossip_index_column(x, 1, &cursor, &key));
        assert_int_equal(gossip_index_keys(x), 10);
        gossip_index_free(x);
    }
}

static void memory_running_out_changes_nothing(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct gossip_index *x = NULL;
        if (gossip_index_new(1, &x) == 0) {
            for (uint16_t slot = 0; slot < 40; slot++) {
                for (uint64_t key = 0; key < 70; key += 23) {
                    int added = gossip_index_add(x, key, slot);
                    assert_true(added == 1 || added == -ENOMEM);
                    assert_int_equal(gossip_index_has(x, key, slot), added == 1);
                }
            }
        }
        gossip_index_free(x);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_its_holders_in_order_whatever_their_number),
        cmocka_unit_test(a_walk_from_anywhere_meets_each_holder_once),
        cmocka_unit_test(the_index_agrees_with_a_plain_table),
        cmocka_unit_test(clearing_a_column_misses_no_entry_that_moves),
        cmocka_unit_test(memory_running_out_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
