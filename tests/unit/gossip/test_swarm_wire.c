/* test_swarm_wire.c - the messages of cold rollouts, there and back. */
#include "support.h"

#include "gossip/swarm_state.h"

#include <errno.h>
#include <string.h>

static uint8_t room[256];
static struct gossip_writer w;

static void start(void)
{
    gossip_writer_init(&w, room, sizeof(room));
}

static struct gossip_reader written(uint8_t type)
{
    struct gossip_reader r, fields;
    uint8_t got;
    gossip_reader_init(&r, room, w.len);
    assert_int_equal(gossip_read_message(&r, &got, &fields), 1);
    assert_int_equal(got, type);
    return fields;
}

static const struct gossip_want wants[] = {
    {.key = 0x7fffffffffffffff, .ask = 1, .bytes = UINT64_MAX},
    {.key = 1, .ask = UINT32_MAX, .failed = {{5, GOSSIP_FAULT_LOST}}, .failed_count = 1},
    {.key = 2,
     .ask = 3,
     .bytes = 4,
     .failed = {{0xffffffffffff, GOSSIP_FAULT_REFUSED}, {6, GOSSIP_FAULT_STALLED}, {7}, {8}},
     .failed_count = GOSSIP_SWARM_FAILED},
};

static void a_question_comes_across(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        struct gossip_want got = {0};
        start();
        assert_true(gossip_want_write(&w, &wants[i]));
        struct gossip_reader r = written(GOSSIP_MSG_WANT);
        assert_int_equal(gossip_want_read(&r, &got), 0);
        assert_int_equal(gossip_reader_left(&r), 0);
        assert_true(got.key == wants[i].key && got.ask == wants[i].ask);
        assert_true(got.bytes == wants[i].bytes && got.failed_count == wants[i].failed_count);
        for (size_t k = 0; k < got.failed_count; k++) {
            assert_true(got.failed[k].id == wants[i].failed[k].id);
            assert_int_equal(got.failed[k].fault, wants[i].failed[k].fault);
        }
    }
}

static const struct gossip_answer answers[] = {
    {.key = 1, .ask = 2, .kind = GOSSIP_SWARM_GRANT},
    {.key = 1, .ask = 2, .kind = GOSSIP_SWARM_WAIT, .retry_ms = 250},
    {.key = UINT64_MAX,
     .ask = 9,
     .kind = GOSSIP_SWARM_OFFER,
     .count = 2,
     .offers = {{.id = 0xffffffffffff, .depth = 5}, {.id = 1, .holds = true}}},
    {.key = 3, .ask = 9, .kind = GOSSIP_SWARM_OFFER, .count = 8, .offers = {{.id = 1}}},
};

static void an_answer_comes_across(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        bool grant = answers[i].kind == GOSSIP_SWARM_GRANT;
        uint8_t type = grant ? GOSSIP_MSG_GRANT : GOSSIP_MSG_OFFER;
        struct gossip_answer got;
        start();
        assert_true(gossip_answer_write(&w, &answers[i]));
        struct gossip_reader r = written(type);
        assert_int_equal(gossip_answer_read(&r, type, &got), 0);
        assert_int_equal(gossip_reader_left(&r), 0);
        assert_int_equal(got.kind, answers[i].kind);
        assert_true(got.key == answers[i].key && got.ask == answers[i].ask);
        assert_true(got.retry_ms == answers[i].retry_ms && got.count == answers[i].count);
        for (size_t k = 0; k < got.count; k++) {
            assert_true(got.offers[k].id == answers[i].offers[k].id);
            assert_true(got.offers[k].depth == answers[i].offers[k].depth &&
                        got.offers[k].holds == answers[i].offers[k].holds);
        }
    }
}

static const struct gossip_renew renewals[] = {
    {.key = 1, .sequence = 2, .state = GOSSIP_FLIGHT_WAITING},
    {.key = 1,
     .sequence = UINT32_MAX,
     .state = GOSSIP_FLIGHT_GROWING,
     .parent = 0xffffffffffff,
     .bytes = UINT64_MAX,
     .idle_ms = UINT32_MAX,
     .load = 255},
    {.key = 1, .sequence = 4, .state = GOSSIP_FLIGHT_HELD, .parent = 3, .bytes = 5},
    {.key = 1, .sequence = 5, .state = GOSSIP_FLIGHT_GONE},
};

static void what_a_copy_does_comes_across(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(renewals) / sizeof(renewals[0]); i++) {
        bool gone = renewals[i].state == GOSSIP_FLIGHT_GONE;
        uint8_t type = gone ? GOSSIP_MSG_GIVE_UP : GOSSIP_MSG_RENEW;
        struct gossip_renew got;
        start();
        assert_true(gossip_renew_write(&w, &renewals[i]));
        struct gossip_reader r = written(type);
        assert_int_equal(gossip_renew_read(&r, type, &got), 0);
        assert_int_equal(gossip_reader_left(&r), 0);
        assert_true(got.key == renewals[i].key && got.sequence == renewals[i].sequence);
        assert_true(got.state == renewals[i].state && got.parent == renewals[i].parent);
        assert_int_equal(got.load, renewals[i].load);
        assert_true(got.bytes == renewals[i].bytes && got.idle_ms == renewals[i].idle_ms);
    }
}

static int read_any(uint8_t type, struct gossip_reader *r)
{
    struct gossip_want want;
    struct gossip_answer answer;
    struct gossip_renew renew;
    return type == GOSSIP_MSG_WANT ? gossip_want_read(r, &want)
           : type == GOSSIP_MSG_GRANT || type == GOSSIP_MSG_OFFER
               ? gossip_answer_read(r, type, &answer)
               : gossip_renew_read(r, type, &renew);
}

static void whatever_is_cut_short_is_refused_and_what_follows_is_left(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        uint8_t type;
        struct gossip_reader r, fields;
        start();
        if (i == 0) {
            gossip_want_write(&w, &wants[2]);
        } else if (i < 3) {
            gossip_answer_write(&w, &answers[i == 1 ? 0 : 2]);
        } else {
            gossip_renew_write(&w, &renewals[i == 3 ? 1 : 3]);
        }
        gossip_reader_init(&r, room, w.len);
        assert_int_equal(gossip_read_message(&r, &type, &fields), 1);
        for (size_t n = gossip_reader_left(&fields); n-- > 0;) {
            struct gossip_reader cut = {.at = fields.at, .end = fields.at + n};
            assert_int_equal(read_any(type, &cut), -EPROTO);
        }
        struct gossip_reader longer = {.at = fields.at, .end = fields.end + 3};
        assert_int_equal(read_any(type, &longer), 0);
        assert_int_equal(gossip_reader_left(&longer), 3);
    }
}

static void values_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct gossip_want want = wants[2];
    struct gossip_answer answer = answers[2];
    struct gossip_renew renew = renewals[1];
    for (int i = 0; i < 5; i++) {
        start();
        struct gossip_want bad_want = want;
        struct gossip_answer bad_answer = answer;
        struct gossip_renew bad_renew = renew;
        bad_want.ask = i == 0 ? 0 : want.ask;
        gossip_want_write(&w, &bad_want);
        size_t want_bytes = w.len;
        gossip_answer_write(&w, &bad_answer);
        gossip_renew_write(&w, &bad_renew);
        if (i == 1) {
            room[3 + 20] = GOSSIP_SWARM_FAILED + 1;
        } else if (i == 2) {
            room[3 + 21 + 6] = 9; /* no such fault */
        } else if (i == 3) {
            room[want_bytes + 3 + 14] = GOSSIP_SWARM_OFFERS + 1;
        } else if (i == 4) {
            room[w.len - 20] = GOSSIP_FLIGHT_GONE; /* that is a GIVE_UP */
        }
        struct gossip_reader r, fields;
        uint8_t type;
        unsigned refused = 0;
        gossip_reader_init(&r, room, w.len);
        while (gossip_read_message(&r, &type, &fields) == 1) {
            refused += read_any(type, &fields) == -EPROTO;
        }
        assert_int_equal(refused, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_comes_across),
        cmocka_unit_test(an_answer_comes_across),
        cmocka_unit_test(what_a_copy_does_comes_across),
        cmocka_unit_test(whatever_is_cut_short_is_refused_and_what_follows_is_left),
        cmocka_unit_test(values_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
