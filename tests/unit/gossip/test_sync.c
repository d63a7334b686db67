/* test_sync.c - anti-entropy: what two compare, and what a listing of members says and does not. */
#include "town.h"

#include "gossip/state.h"

static struct town t;

#define CROWD 8000 /* 62 in each of 128 buckets, of which a packet names 50 */

/* House 1 hears that house 0 knows something else, and all that follows. */
static void compare(void)
{
    struct gossip *g = t.core[1];
    const struct gossip_addr to = house_addr(0);
    t.now_ms += 1000;
    t.core[0]->udp_ms = t.core[1]->udp_ms = t.now_ms; /* not over HTTP */
    struct gossip_event tick = {.kind = GOSSIP_TICK};
    town_step(&t, 1, &tick);
    t.letter_count = 0;
    g->effects = &t.effects;
    t.effects.send_count = 0;
    gossip_hear_hash(g, gossip_members_get(&g->members, house_id(0)), ~g->cluster_hash, &to);
    g->effects = NULL;
    assert_int_equal(t.effects.send_count, 1);
    struct letter sum = {.from = house_addr(1), .len = t.effects.sends[0].len};
    memcpy(sum.bytes, t.effects.sends[0].bytes, sum.len);
    town_hear(&t, 0, &sum);
    for (size_t i = 0; i < 4; i++) {
        town_deliver(&t);
    }
}

/* House 0 alone knows one more, who came last and so stands last in everybody's order. */
static void who_is_last_in_a_bucket_too_large_for_a_packet_is_compared_as_well(void **state)
{
    (void)state;
    struct gossip_member_view view;
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    town_run(&t, 1000);
    for (size_t house = 0; house < 2; house++) {
        struct gossip *g = t.core[house];
        g->effects = &t.effects;
        for (size_t i = 0; i < CROWD + 1 - house; i++) {
            t.effects.note_count = t.effects.send_count = 0;
            struct gossip_member *m = town_introduce(g, i);
            gossip_heard_in_bulk(g, m->id); /* no rumour tells of it */
        }
        g->effects = NULL;
    }
    assert_false(town_member(&t, 1, 0x1000 + CROWD, &view));
    for (size_t i = 0; i < 20; i++) {
        compare();
    }
    assert_true(town_member(&t, 1, 0x1000 + CROWD, &view));
    town_done(&t);
}

/* Whoever lists a suspect need not be one who suspects it: the list has no room for witnesses. */
static void whoever_lists_a_suspect_is_asked_and_is_no_witness(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct gossip_writer w;
    struct gossip_reader r;
    const struct gossip_addr from = house_addr(2);
    town_init(&t);
    for (size_t i = 0; i < 3; i++) {
        town_start(&t, i, 0);
    }
    town_run(&t, 3000);
    struct gossip *g = t.core[0];
    struct gossip_member *m = gossip_members_get(&g->members, house_id(1));
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_write8(&w, GOSSIP_BUCKET_BITS_MIN);
    gossip_write8(&w, (uint8_t)gossip_bucket_of(m->id, GOSSIP_BUCKET_BITS_MIN));
    gossip_write8(&w, 0); /* not all of the bucket */
    gossip_write8(&w, GOSSIP_ENTRY_BYTES);
    gossip_write16(&w, 1);
    gossip_write48(&w, m->id);
    gossip_write48(&w, m->boot);
    gossip_write16(&w, m->incarnation);
    gossip_write8(&w, GOSSIP_SUSPECT);
    gossip_write32(&w, m->version);
    gossip_write32(&w, (uint32_t)m->set_hash);
    gossip_reader_init(&r, bytes, w.len);
    g->effects = &t.effects;
    t.effects.send_count = 0;
    gossip_hear_ent(g, &r, house_id(2), &from);
    g->effects = NULL;
    assert_int_equal(m->state, GOSSIP_ALIVE);
    assert_int_equal(t.effects.send_count, 1);
    assert_true(gossip_addr_equal(&t.effects.sends[0].to, &from));
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_last_in_a_bucket_too_large_for_a_packet_is_compared_as_well),
        cmocka_unit_test(whoever_lists_a_suspect_is_asked_and_is_no_witness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
