#include "support.h"

#include "town.h"

#include "gossip/state.h"

#include <errno.h>

static struct town t;

static void found(size_t i, bool wanted)
{
    struct gossip_stats stats = town_stats(&t, i);
    assert_int_equal(stats.udp_blocked, wanted);
}

static void a_node_without_udp_finds_and_is_found(void **state)
{
    (void)state;
    town_init(&t);
    t.no_udp[2] = true;
    for (size_t i = 0; i < 3; i++) {
        town_start(&t, i, 0);
        town_add(&t, i, 100 * (i + 1), 5);
    }
    town_run(&t, 1900);
    assert_true(gossip_is_ready(t.core[2])); /* in time: not for want of answers */
    assert_true(town_finds(&t, 2, 100, 0));
    town_run(&t, 8000);
    found(2, true);
    found(0, false);
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 3; k++) {
            assert_true(i == k || town_finds(&t, i, 100 * (k + 1), k));
        }
    }
    town_add(&t, 2, 900, 1);
    town_add(&t, 1, 901, 1);
    town_run(&t, 7000);
    assert_true(town_finds(&t, 0, 900, 2) && town_finds(&t, 1, 900, 2));
    assert_true(town_finds(&t, 2, 901, 1));
    assert_int_equal(t.notes[GOSSIP_NOTE_UDP_BLOCKED], 1);
    town_run(&t, 300000); /* nobody takes it for dead, nor it anybody */
    assert_int_equal(t.notes[GOSSIP_NOTE_DOWN], 0);
    t.no_udp[2] = false;
    town_run(&t, 10000);
    found(2, false);
    assert_int_equal(t.notes[GOSSIP_NOTE_UDP_OPEN], 1);
    town_done(&t);
}

static void nobody_has_udp_and_all_find_one_another(void **state)
{
    (void)state;
    town_init(&t);
    for (size_t i = 0; i < HOUSES; i++) {
        t.no_udp[i] = true;
        town_start(&t, i, (i + 1) % HOUSES);
        town_add(&t, i, 100 * (i + 1), 3);
    }
    town_run(&t, 10000);
    for (size_t i = 0; i < HOUSES; i++) {
        found(i, true);
        for (size_t k = 0; k < HOUSES; k++) {
            assert_true(i == k || town_finds(&t, i, 100 * (k + 1), k));
        }
    }
    struct gossip_event leave = {.kind = GOSSIP_LEAVE};
    town_step(&t, 0, &leave);
    gossip_free(t.core[0]);
    t.core[0] = NULL;
    town_run(&t, 15000);
    for (size_t i = 1; i < HOUSES; i++) {
        assert_false(town_finds(&t, i, 100, 0));
    }
    gossip_free(t.core[1]); /* without a word: only time tells */
    t.core[1] = NULL;
    town_run(&t, 200000);
    for (size_t i = 2; i < HOUSES; i++) {
        assert_false(town_finds(&t, i, 200, 1));
        assert_true(i == 2 || town_finds(&t, i, 300, 2));
    }
    town_done(&t);
}

/* What may stand in a request of somebody with the key. */
static int asked(const void *bytes, size_t n, uint64_t asker)
{
    struct buf body;
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    const struct gossip_sender sender = {.id = asker, .boot = 5};
    int error = gossip_exchange_build(t.core[0], bytes, n, &sender, &body);
    buf_done(&body);
    return error;
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[GOSSIP_ASK_BYTES];
    struct gossip_writer w;
    struct gossip_alive alive = {.id = 0x99,
                                 .boot = 5,
                                 .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 0, 0, 9}}},
                                 .gossip_port = 5001,
                                 .registry_port = 5000};
    const struct gossip_sender sender = {.id = 0x99, .boot = 5};
    town_init(&t);
    town_start(&t, 0, 0);
    gossip_writer_init(&w, bytes, sizeof(bytes));
    gossip_write8(&w, 1);
    gossip_cookie_write(&w, GOSSIP_MSG_ECHO, gossip_cookie(t.core[0], &sender, NULL));
    assert_true(gossip_alive_write(&w, &alive));
    size_t bits_at = w.len;
    gossip_write8(&w, 3);
    for (int i = 0; i < 8; i++) {
        gossip_write32(&w, 0);
    }
    assert_int_equal(asked(bytes, w.len, 0x98), -EPROTO); /* speaks of somebody else */
    for (size_t n = 0; n < w.len; n++) {
        assert_int_equal(asked(bytes, n, 0x99), -EPROTO);
        struct gossip_event tick = {.kind = GOSSIP_TICK};
        town_step(&t, 0, &tick);
    }
    for (unsigned bits = 0; bits < 256; bits++) {
        bytes[bits_at] = (uint8_t)bits;
        if (bits != 3) {
            assert_int_equal(asked(bytes, w.len, 0x99), -EPROTO);
        }
        struct gossip_event tick = {.kind = GOSSIP_TICK};
        town_step(&t, 0, &tick);
    }
    bytes[bits_at] = 3;
    for (size_t i = 0; i < LIMIT_GOSSIP_CALLERS; i++) {
        assert_int_equal(asked(bytes, w.len, 0x99), 0);
    }
    assert_int_equal(asked(bytes, w.len, 0x99), -EAGAIN); /* until they are heard */
    struct gossip_event tick = {.kind = GOSSIP_TICK};
    town_step(&t, 0, &tick);
    assert_int_equal(asked(bytes, w.len, 0x99), 0);
    struct gossip_member_view v;
    assert_true(town_member(&t, 0, 0x99, &v));
    town_done(&t);
}

/* A request of house 2's, without the key to read it or to make another. */
static int sent_again(size_t to, const char *auth)
{
    struct buf body;
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    int error = gossip_serve(t.core[to], GOSSIP_PATH_PREFIX "exchange", auth, &body);
    buf_done(&body);
    town_run(&t, 1000); /* building is paid for, callers are heard */
    return error;
}

static void an_old_request_that_is_sent_again_raises_nobody(void **state)
{
    (void)state;
    struct gossip_member_view v;
    char auth[GOSSIP_AUTH_TEXT_BYTES];
    town_init(&t);
    t.no_udp[2] = true;
    for (size_t i = 0; i < 3; i++) {
        town_start(&t, i, 0);
    }
    town_run(&t, 15000);
    assert_true(town_member(&t, 1, house_id(2), &v) && v.state == GOSSIP_ALIVE);
    /* One that went to nobody, whether it was lost or taken. */
    do {
        t.now_ms++;
        struct gossip_event tick = {
            .kind = GOSSIP_TICK, .now_ms = t.now_ms, .wall_ms = 1000000 + t.now_ms};
        gossip_step(t.core[2], &tick, &t.effects);
    } while (t.effects.fetch_count == 0);
    (void)snprintf(auth, sizeof(auth), "%s", t.effects.fetches[0].auth);
    town_run(&t, 1000);
    struct gossip_event leave = {.kind = GOSSIP_LEAVE};
    town_step(&t, 2, &leave);
    gossip_free(t.core[2]);
    t.core[2] = NULL;
    town_run(&t, 5000);
    assert_int_equal(sent_again(0, auth), 0); /* it is answered, for whoever can read that */
    assert_true(town_member(&t, 0, house_id(2), &v) && v.state == GOSSIP_LEFT);
    uint64_t replays = town_stats(&t, 0).drop_replay;
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(sent_again(0, auth), -EACCES);
    }
    assert_int_equal(town_stats(&t, 0).drop_replay, replays + 20);
    /* To one that has forgotten it, alone for a day, and to one that came later. */
    gossip_free(t.core[0]);
    t.core[0] = NULL;
    assert_true(town_member(&t, 1, house_id(2), &v));
    town_run(&t, 25 * 3600 * 1000);
    assert_false(town_member(&t, 1, house_id(2), &v));
    town_start(&t, 3, 1);
    town_run(&t, 1000);
    for (size_t i = 1; i < 4; i += 2) {
        assert_int_equal(sent_again(i, auth), 0);
        assert_false(town_member(&t, i, house_id(2), &v));
    }
    town_done(&t);
}

static void a_short_or_odd_answer_is_refused(void **state)
{
    (void)state;
    struct buf body;
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 0);
    town_add(&t, 1, 100, 3);
    town_run(&t, 3000);
    uint8_t ask[GOSSIP_ASK_BYTES];
    struct gossip_writer w;
    struct gossip_alive alive;
    gossip_alive_of(t.core[1], t.core[1]->me, &alive);
    gossip_writer_init(&w, ask, sizeof(ask));
    gossip_write8(&w, 1);
    assert_true(gossip_alive_write(&w, &alive));
    gossip_write8(&w, 3);
    for (int i = 0; i < 8; i++) {
        gossip_write32(&w, 7);
    }
    buf_init(&body, LIMIT_GOSSIP_SNAPSHOT_BYTES);
    const struct gossip_sender asker = {.id = alive.id, .boot = alive.boot, .salt = alive.salt};
    assert_int_equal(gossip_exchange_build(t.core[0], ask, w.len, &asker, &body), 0);
    t.core[1]->effects = &t.effects;
    const uint8_t *bytes = (const uint8_t *)body.data;
    for (size_t n = 0; n <= body.len; n++) {
        t.effects.note_count = t.effects.send_count = 0;
        int error = gossip_exchange_apply(t.core[1], 0x100, bytes, n);
        assert_int_equal(error, n < body.len ? -EPROTO : 0);
    }
    t.core[1]->effects = NULL;
    buf_done(&body);
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_without_udp_finds_and_is_found),
        cmocka_unit_test(nobody_has_udp_and_all_find_one_another),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(an_old_request_that_is_sent_again_raises_nobody),
        cmocka_unit_test(a_short_or_odd_answer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
