/* test_missed.c - what only some have heard: refutations that passed one by, two who take each
 * other for deaf, a cluster in two halves. The simulator's `life` and `scale-partition` found them.
 */
#include "desk.h"
#include "town.h"

#include "gossip/state.h"

static struct town t;

static struct gossip_member *member(size_t at, size_t of)
{
    return gossip_members_get(&t.core[at]->members, house_id(of));
}

static void settle(size_t houses)
{
    town_init(&t);
    for (size_t i = 0; i < houses; i++) {
        town_start(&t, i, 0);
        town_add(&t, i, 10 * i, 5);
        town_run(&t, 50);
    }
    town_run(&t, 3000);
}

/* House 0 tells house 2 that it suspects house 1. How many packets house 2 has to say to that. */
static size_t tell_suspicion(uint16_t incarnation)
{
    struct gossip *g = t.core[2];
    uint8_t body[100];
    struct gossip_writer w;
    struct gossip_addr from = house_addr(0);
    struct gossip_accusation a = {
        .id = 0x101, .boot = member(2, 1)->boot, .incarnation = incarnation, .from = 0x100};
    gossip_writer_init(&w, body, sizeof(body));
    assert_true(gossip_accusation_write(&w, GOSSIP_MSG_SUSPECT, &a));
    g->effects = &t.effects;
    t.effects.send_count = t.effects.note_count = 0;
    gossip_receive_messages(g, member(2, 0), 0x100, &from, body, w.len, 100);
    g->effects = NULL;
    assert_true(t.effects.send_count == 0 || gossip_addr_equal(&t.effects.sends[0].to, &from));
    return t.effects.send_count;
}

static void who_repeats_a_suspicion_refuted_long_ago_is_told_so_by_anybody(void **state)
{
    (void)state;
    settle(3);
    uint16_t old = member(2, 1)->incarnation;
    t.core[1]->effects = &t.effects; /* as if it had been suspected */
    gossip_raise_incarnation(t.core[1], old);
    town_run(&t, 500);
    assert_int_equal(member(2, 1)->incarnation, old + 1);
    assert_int_equal(tell_suspicion(old), 0); /* both rumours may still be on their way */
    town_run(&t, 1500);
    assert_int_equal(tell_suspicion(old), 1);
    assert_int_equal(member(2, 1)->state, GOSSIP_ALIVE);
    assert_int_equal(tell_suspicion((uint16_t)(old + 1)), 0); /* that one is news */
    assert_int_equal(member(2, 1)->state, GOSSIP_SUSPECT);
    town_done(&t);
}

/* Nobody hears house 0 until it suspects house 1, and its rumours of that are lost. Then everybody
 * hears it again but house 1. */
static void one_who_cannot_be_accused_to_its_face_is_not_declared_dead(void **state)
{
    (void)state;
    settle(5);
    for (size_t i = 1; i < 5; i++) {
        t.lost[0][i] = true;
    }
    for (int i = 0; i < 30 && member(0, 1)->state != GOSSIP_SUSPECT; i++) {
        town_run(&t, 100);
    }
    assert_int_equal(member(0, 1)->state, GOSSIP_SUSPECT);
    for (size_t i = 2; i < 5; i++) {
        t.lost[0][i] = false;
    }
    town_run(&t, 3000);
    assert_int_equal(member(0, 1)->state, GOSSIP_ALIVE);
    town_run(&t, 30000);
    assert_int_equal(t.notes[GOSSIP_NOTE_DOWN], 0);
    town_done(&t);
}

static bool probes(size_t house)
{
    uint64_t before = town_stats(&t, house).probes;
    town_run(&t, 1000);
    return town_stats(&t, house).probes > before;
}

static void who_has_no_answer_from_anybody_asks_those_said_to_have_no_udp_too(void **state)
{
    (void)state;
    settle(2);
    struct gossip *g = t.core[0];
    assert_true(probes(0));
    member(0, 1)->tcp_only = true;
    town_run(&t, 1000);
    assert_false(probes(0));
    t.cut[1] = true; /* over TCP neither */
    g->udp = GOSSIP_UDP_DOUBTED;
    assert_true(probes(0));
    t.cut[1] = false;
    town_run(&t, 1000);
    assert_int_equal(g->udp, GOSSIP_UDP_OPEN);
    town_done(&t);
}

/* Half of a large cluster is gone: accusations may overdraw the token bucket, but only so far. */
static void thousands_suspected_at_once_are_told_of_at_the_rate_of_the_bucket(void **state)
{
    (void)state;
    struct desk d;
    struct gossip_stats stats;
    desk_open(&d, 2000);
    for (uint64_t id = 1; id <= 2000; id++) {
        struct gossip_member *m = gossip_members_get(&d.g->members, id);
        for (uint64_t witness = 1; witness <= GOSSIP_WITNESSES && id != SELF; witness++) {
            gossip_suspect(d.g, m, 5000 + witness);
        }
    }
    for (uint64_t ms = 20; ms <= 10000; ms += 20) {
        struct gossip_event tick = {.kind = GOSSIP_TICK, .now_ms = 100000 + ms};
        gossip_step(d.g, &tick, &d.effects);
    }
    gossip_stats(d.g, &stats);
    assert_int_equal(stats.suspect, 1999); /* nobody is declared dead where so many are */
    assert_in_range(stats.bytes_out, LIMIT_GOSSIP_BUCKET_BYTES,
                    LIMIT_GOSSIP_BUCKET_BYTES + 2 * 10 * LIMIT_GOSSIP_BUCKET_BYTES_PER_S);
    desk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_repeats_a_suspicion_refuted_long_ago_is_told_so_by_anybody),
        cmocka_unit_test(one_who_cannot_be_accused_to_its_face_is_not_declared_dead),
        cmocka_unit_test(who_has_no_answer_from_anybody_asks_those_said_to_have_no_udp_too),
        cmocka_unit_test(thousands_suspected_at_once_are_told_of_at_the_rate_of_the_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
