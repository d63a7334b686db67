#include "support.h"

#include "gossip/key.h"
#include "gossip/member.h"

#include <string.h>

static void members_are_found_by_id_while_others_come_and_go(void **state)
{
    (void)state;
    struct gossip_members m;
    bool there[400] = {false};
    uint64_t random = 3;
    gossip_members_init(&m, 77);
    for (int i = 0; i < 20000; i++) {
        random = gossip_mix(random);
        uint64_t id = 1 + random % 399;
        struct gossip_member *member = gossip_members_get(&m, id);
        assert_int_equal(member != NULL, there[id]);
        if (member) {
            assert_int_equal(member->id, id);
            assert_ptr_equal(m.by_slot[member->slot], member);
            gossip_members_remove(&m, member);
        } else {
            assert_non_null(gossip_members_add(&m, id));
        }
        there[id] = !there[id];
    }
    assert_true(m.slots <= 399); /* slots are used again */
    gossip_members_done(&m);
}

static void a_renamed_member_keeps_its_slot(void **state)
{
    (void)state;
    struct gossip_members m;
    gossip_members_init(&m, 1);
    struct gossip_member *a = gossip_members_add(&m, 10);
    assert_non_null(gossip_members_add(&m, 11));
    gossip_members_rename(&m, a, 12);
    assert_null(gossip_members_get(&m, 10));
    assert_ptr_equal(gossip_members_get(&m, 12), a);
    assert_int_equal(a->slot, 0);
    gossip_members_done(&m);
}

static void the_table_has_a_limit(void **state)
{
    (void)state;
    struct gossip_members m;
    gossip_members_init(&m, 1);
    for (uint64_t id = 1; id <= LIMIT_GOSSIP_MEMBERS; id++) {
        assert_non_null(gossip_members_add(&m, id));
    }
    assert_null(gossip_members_add(&m, LIMIT_GOSSIP_MEMBERS + 1));
    gossip_members_done(&m);
}

static void adding_without_memory_adds_nothing(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct gossip_members m;
        size_t added = 0;
        gossip_members_init(&m, 1);
        for (uint64_t id = 1; id <= 40; id++) {
            added += gossip_members_add(&m, id) != NULL;
        }
        assert_int_equal(m.count, added);
        gossip_members_done(&m);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_by_id_while_others_come_and_go),
        cmocka_unit_test(a_renamed_member_keeps_its_slot),
        cmocka_unit_test(the_table_has_a_limit),
        cmocka_unit_test(adding_without_memory_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
