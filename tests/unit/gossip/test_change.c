#include "support.h"

#include "gossip/change.h"

#include <errno.h>

static int add(struct gossip_changes *c, uint64_t owner, uint32_t version, bool own)
{
    struct gossip_op op = {.key = owner * 1000 + version};
    int error = gossip_changes_add(c, owner, 1, version, &op, 1);
    if (error == 0) {
        gossip_changes_pass_on(c, gossip_changes_get(c, owner, 1, version), version, own);
    }
    return error;
}

static size_t write_to(struct gossip_changes *c, size_t room, unsigned copies, uint64_t *ret_first)
{
    uint8_t bytes[1200];
    struct gossip_writer w;
    struct gossip_dictionary out = {0}, in = {0};
    struct gossip_reader r, body;
    struct gossip_ops ops;
    uint8_t type;
    gossip_writer_init(&w, bytes, room);
    size_t written = gossip_changes_write(c, &w, &out, copies);
    gossip_reader_init(&r, bytes, w.len);
    if (gossip_read_message(&r, &type, &body) == 1) {
        assert_int_equal(gossip_ops_read(&body, &in, &ops), 0);
        *ret_first = ops.owner;
    }
    return written;
}

static void a_change_is_told_eight_times_and_kept_for_pulls(void **state)
{
    (void)state;
    struct gossip_changes c;
    uint64_t first;
    gossip_changes_init(&c);
    assert_int_equal(add(&c, 5, 1, false), 0);
    assert_int_equal(add(&c, 5, 1, false), -EEXIST);
    assert_int_equal(write_to(&c, 1160, 3, &first), 1);
    assert_int_equal(write_to(&c, 1160, 3, &first), 1);
    assert_int_equal(write_to(&c, 1160, 3, &first), 1);
    assert_int_equal(write_to(&c, 1160, 3, &first), 0);
    assert_int_equal(c.rumours, 0);
    assert_non_null(gossip_changes_get(&c, 5, 1, 1));
    assert_null(gossip_changes_get(&c, 5, 2, 1));
    gossip_changes_done(&c);
}

static void how_often_a_change_is_told_may_change_while_it_is(void **state)
{
    (void)state;
    struct gossip_changes c;
    uint64_t first;
    gossip_changes_init(&c);
    c.transmissions = GOSSIP_TRANSMISSIONS_MAX;
    add(&c, 5, 1, false);
    for (unsigned sent = 0; sent < GOSSIP_TRANSMISSIONS_MAX; sent += 2) {
        assert_int_equal(write_to(&c, 1160, 2, &first), 1);
    }
    assert_int_equal(write_to(&c, 1160, 2, &first), 0);
    add(&c, 5, 2, false);
    for (unsigned sent = 0; sent < 12; sent += 3) {
        assert_int_equal(write_to(&c, 1160, 3, &first), 1);
    }
    c.transmissions = GOSSIP_TRANSMISSIONS; /* that was enough already; it is noticed once sent */
    assert_int_equal(write_to(&c, 1160, 3, &first), 1);
    assert_int_equal(write_to(&c, 1160, 3, &first), 0);
    assert_int_equal(c.rumours, 0);
    gossip_changes_done(&c);
}

static void the_least_told_goes_first_and_own_before_others(void **state)
{
    (void)state;
    struct gossip_changes c;
    uint64_t first = 0;
    gossip_changes_init(&c);
    add(&c, 1, 1, false);
    assert_int_equal(write_to(&c, 1160, 1, &first), 1);
    add(&c, 2, 1, false);
    assert_int_equal(write_to(&c, 50, 1, &first), 1); /* room for one */
    assert_int_equal(first, 2);
    add(&c, 3, 1, false);
    add(&c, 4, 1, true);
    assert_int_equal(write_to(&c, 50, 1, &first), 1);
    assert_int_equal(first, 4);
    gossip_changes_forget(&c, 3);
    assert_null(gossip_changes_get(&c, 3, 1, 1));
    gossip_changes_done(&c);
}

static void neighbours_of_one_owner_travel_together(void **state)
{
    (void)state;
    struct gossip_changes c;
    uint8_t bytes[1200];
    struct gossip_writer w;
    struct gossip_dictionary out = {0}, in = {0};
    struct gossip_reader r, body;
    struct gossip_ops ops;
    uint8_t type;
    gossip_changes_init(&c);
    for (uint32_t version = 1; version <= 5; version++) {
        add(&c, 9, version, false);
        add(&c, 8, 2 * version, false); /* holes between them */
    }
    gossip_writer_init(&w, bytes, sizeof(bytes));
    assert_int_equal(gossip_changes_write(&c, &w, &out, 1), 10);
    gossip_reader_init(&r, bytes, w.len);
    size_t messages = 0;
    while (gossip_read_message(&r, &type, &body) == 1) {
        assert_int_equal(gossip_ops_read(&body, &in, &ops), 0);
        assert_int_equal(ops.versions, ops.owner == 9 ? 5 : 1);
        assert_int_equal(ops.check, ops.first + ops.versions - 1U);
        messages++;
    }
    assert_int_equal(messages, 6);
    gossip_changes_done(&c);
}

static void what_is_heard_again_counts_as_told(void **state)
{
    (void)state;
    struct gossip_changes c;
    uint64_t first;
    gossip_changes_init(&c);
    add(&c, 5, 1, false);
    for (int i = 0; i < 6; i++) {
        gossip_changes_heard(&c, gossip_changes_get(&c, 5, 1, 1));
    }
    assert_int_equal(write_to(&c, 1160, 1, &first), 1);
    gossip_changes_heard(&c, gossip_changes_get(&c, 5, 1, 1));
    gossip_changes_heard(&c, gossip_changes_get(&c, 5, 1, 1)); /* once too often: nothing */
    assert_int_equal(write_to(&c, 1160, 1, &first), 0);
    assert_int_equal(c.rumours, 0);
    gossip_changes_done(&c);
}

static void a_pull_is_answered_as_far_as_the_log_reaches(void **state)
{
    (void)state;
    struct gossip_changes c;
    uint8_t bytes[1200];
    struct gossip_writer w;
    struct gossip_dictionary out = {0};
    struct gossip_op op = {.key = 4};
    gossip_changes_init(&c);
    for (uint32_t version = 3; version <= 6; version++) {
        add(&c, 9, version, false);
    }
    assert_int_equal(gossip_changes_add(&c, 9, 1, 7, &op, 1), 0); /* not applied here yet */
    gossip_writer_init(&w, bytes, sizeof(bytes));
    assert_int_equal(gossip_changes_write_range(&c, &w, &out, 9, 1, 4, 5), 5);
    assert_int_equal(gossip_changes_write_range(&c, &w, &out, 9, 1, 4, 9), 6);
    assert_int_equal(gossip_changes_write_range(&c, &w, &out, 9, 1, 2, 9), 0);
    assert_int_equal(gossip_changes_write_range(&c, &w, &out, 9, 1, 7, 9), 0);
    gossip_changes_done(&c);
}

static void the_oldest_make_room_and_the_caps_hold(void **state)
{
    (void)state;
    struct gossip_changes c;
    gossip_changes_init(&c);
    for (uint32_t version = 1; version <= 2 * LIMIT_GOSSIP_RUMOURS; version++) {
        assert_int_equal(add(&c, 9, version, false), 0);
        assert_true(c.by_name.count <= LIMIT_GOSSIP_RUMOURS);
        assert_true(c.bytes <= LIMIT_GOSSIP_RUMOUR_BYTES && c.rumours <= c.by_name.count);
    }
    assert_null(gossip_changes_get(&c, 9, 1, 1));
    assert_non_null(gossip_changes_get(&c, 9, 1, 2 * LIMIT_GOSSIP_RUMOURS));
    while (c.rumours > 0) { /* told, they are kept as long as there is room for that */
        uint64_t first;
        write_to(&c, 1160, 3, &first);
    }
    assert_int_equal(add(&c, 9, 2 * LIMIT_GOSSIP_RUMOURS + 1, false), 0);
    assert_true(c.by_name.count <= LIMIT_GOSSIP_LOG_RECORDS && c.bytes <= LIMIT_GOSSIP_LOG_BYTES);
    assert_non_null(gossip_changes_get(&c, 9, 1, 2 * LIMIT_GOSSIP_RUMOURS));
    gossip_changes_done(&c);
}

static void adding_without_memory_leaves_the_log_as_it_was(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct gossip_changes c;
        gossip_changes_init(&c);
        for (uint32_t version = 1; version < 30; version++) {
            int error = add(&c, 9, version, false);
            assert_true(error == 0 || error == -ENOMEM);
            assert_int_equal(gossip_changes_get(&c, 9, 1, version) != NULL, error == 0);
        }
        gossip_changes_done(&c);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_often_a_change_is_told_may_change_while_it_is),
        cmocka_unit_test(a_change_is_told_eight_times_and_kept_for_pulls),
        cmocka_unit_test(the_least_told_goes_first_and_own_before_others),
        cmocka_unit_test(neighbours_of_one_owner_travel_together),
        cmocka_unit_test(what_is_heard_again_counts_as_told),
        cmocka_unit_test(a_pull_is_answered_as_far_as_the_log_reaches),
        cmocka_unit_test(the_oldest_make_room_and_the_caps_hold),
        cmocka_unit_test(adding_without_memory_leaves_the_log_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
