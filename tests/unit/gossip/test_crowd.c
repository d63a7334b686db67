/* test_crowd.c - a table of members that is full of those who are no more. */
#include "town.h"

#include "gossip/state.h"

static struct town t;
static struct gossip *g;

static void tell(uint64_t id)
{
    struct gossip_alive a = {
        .id = id, .boot = 5, .salt = 1, .gossip_port = 5001, .registry_port = 5000};
    a.addrs[0] = (struct gossip_addr){
        .family = GOSSIP_IPV4,
        .ip = {10, (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)(id | 1)}};
    t.effects.note_count = 0;
    gossip_hear_alive(g, &a, 0x100);
}

static void left(uint64_t id)
{
    struct gossip_accusation a = {.id = id, .boot = 5, .from = id};
    t.effects.note_count = 0;
    gossip_hear_accusation(g, GOSSIP_MSG_LEFT, &a);
}

/* Without the other parts of a step, which would probe them all. */
static void tick(uint64_t ms)
{
    g->now_ms += ms;
    gossip_membership_tick(g);
}

static void who_is_new_takes_the_place_of_the_longest_departed(void **state)
{
    (void)state;
    struct gossip_member *m;
    town_init(&t);
    town_start(&t, 0, 0);
    g = t.core[0];
    g->effects = &t.effects;
    for (uint64_t id = 0x1000; g->members.count < LIMIT_GOSSIP_MEMBERS; id++) {
        tell(id);
    }
    uint64_t after = 0x1000 + LIMIT_GOSSIP_MEMBERS - 1;
    tell(after); /* all are alive: nobody makes room */
    tick(1000);
    assert_int_equal(g->members.count, LIMIT_GOSSIP_MEMBERS);
    /* Some leave, one of them with a set, and others later. */
    m = gossip_members_get(&g->members, 0x1003);
    uint64_t key = 77;
    gossip_take_set(g, m, 1, gossip_mix(key), &key, 1);
    for (uint64_t id = 0x1000; id < 0x1400; id++) {
        left(id);
    }
    tick(50000);
    for (uint64_t id = 0x2000; id < 0x2010; id++) {
        left(id);
    }
    tell(after);
    tick(1000);
    assert_int_equal(g->members.count, LIMIT_GOSSIP_MEMBERS); /* too soon: they might come back */
    tick(10000);
    tell(after);
    tick(100);
    assert_int_equal(g->members.count, LIMIT_GOSSIP_MEMBERS - 256);
    tell(after);
    m = gossip_members_get(&g->members, after);
    assert_non_null(m);
    assert_int_equal(m->state, GOSSIP_ALIVE);
    assert_false(g->crowded); /* and the others stay for a day */
    tick(1000);
    assert_int_equal(g->members.count, LIMIT_GOSSIP_MEMBERS - 255);
    assert_non_null(gossip_members_get(&g->members, 0x2005));
    assert_null(gossip_members_get(&g->members, 0x1003));
    assert_int_equal(gossip_index_keys(g->index), 0);
    g->effects = NULL;
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_new_takes_the_place_of_the_longest_departed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
