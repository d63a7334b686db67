/* test_probe.c - how long a ping is given: by how many of the first tries go unanswered, and by how
 * well this node itself runs; and what goes out with pings and besides. */
#include "town.h"

#include "gossip/state.h"

static struct town t;

static void settle(size_t houses)
{
    town_init(&t);
    for (size_t i = 0; i < houses; i++) {
        town_start(&t, i, 0);
        town_run(&t, 50);
    }
    town_run(&t, 3000);
}

/* House 0 pings for so long, and of its probes every n-th has its first try lost; 0: none. */
static void lose_first_tries(unsigned every, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        bool lost = every && (town_stats(&t, 0).probes + 1) % every == 0;
        for (size_t to = 0; to < HOUSES; to++) {
            t.lost[0][to] = lost;
        }
        town_run(&t, 1);
    }
    memset(t.lost, 0, sizeof(t.lost));
}

/* House 1 is silent: from the first ping it leaves unanswered until house 0 suspects it. */
static uint64_t given_ms(void)
{
    while (t.core[0]->probes_open == 0) {
        town_run(&t, 1);
    }
    uint64_t begun_ms = t.now_ms;
    while (town_stats(&t, 0).suspect == 0) {
        assert_true(t.now_ms - begun_ms < 5000);
        town_run(&t, 1);
    }
    uint64_t ended_ms = t.now_ms;
    t.cut[1] = false;
    town_run(&t, 1500);
    assert_int_equal(town_stats(&t, 0).suspect, 0);
    return ended_ms - begun_ms;
}

static void the_more_is_lost_the_longer_a_ping_is_given_and_the_more_copies_go_out(void **state)
{
    (void)state;
    static const struct {
        unsigned lost_every;
        uint64_t given_ms;
        unsigned copies;
    } cases[] = {
        {0, 500, 8},   {100, 500, 8},  {12, 1000, 12}, {3, 1500, 16},
        {2, 1500, 16}, {12, 1000, 12}, {0, 500, 8},
    };
    settle(2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lose_first_tries(cases[i].lost_every, 60000); /* 180 probes: what was before has faded */
        assert_int_equal(town_stats(&t, 0).lifeguard_score, 0);
        while (t.core[0]->probes_open > 0) {
            town_run(&t, 1);
        }
        assert_int_equal(t.core[0]->changes.transmissions, cases[i].copies);
        t.cut[1] = true;
        assert_int_equal(given_ms(), cases[i].given_ms);
    }
    town_done(&t);
}

/* As a process that was not scheduled: woken far later than it asked to be. */
static void run_late(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct gossip_event tick = {.kind = GOSSIP_TICK};
        t.now_ms = t.wake_ms[0] + 250;
        town_step(&t, 0, &tick);
        town_deliver(&t);
        t.now_ms++;
    }
}

static void who_runs_late_gives_others_longer_and_its_round_does_not_count(void **state)
{
    (void)state;
    static const struct {
        unsigned late, score;
        uint64_t given_ms;
    } cases[] = {
        {1, 1, 625},
        {4, 4, 1000},
        {8, 8, 1500},
        {12, 8, 1500},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        settle(2);
        t.cut[1] = true;
        while (t.core[0]->probes_open == 0) {
            town_run(&t, 1);
        }
        run_late(cases[i].late); /* answers may lie unread: nothing is concluded from that round */
        assert_int_equal(town_stats(&t, 0).lifeguard_score, cases[i].score);
        assert_int_equal(town_stats(&t, 0).probes_failed, 0);
        assert_int_equal(given_ms(), cases[i].given_ms);
        town_run(&t, 12 * 333); /* each answer counts for it again */
        assert_int_equal(town_stats(&t, 0).lifeguard_score, 0);
        town_done(&t);
    }
}

/* Nobody whom it asks to ask answers either: perhaps it is its own link. */
static void who_hears_nobody_doubts_itself_and_who_hears_others_does_not(void **state)
{
    (void)state;
    settle(4);
    for (size_t from = 0; from < 4; from++) {
        t.lost[from][0] = true;
    }
    town_run(&t, 2500);
    assert_true(town_stats(&t, 0).probes_failed > 0);
    assert_in_range(town_stats(&t, 0).lifeguard_score, 1, 8);
    memset(t.lost, 0, sizeof(t.lost));
    town_run(&t, 10000);
    assert_int_equal(town_stats(&t, 0).lifeguard_score, 0);
    uint64_t failed = town_stats(&t, 0).probes_failed;
    t.cut[1] = true;
    while (town_stats(&t, 0).probes_failed == failed) {
        town_run(&t, 1);
        assert_int_equal(town_stats(&t, 0).lifeguard_score, 0);
    }
    town_done(&t);
}

/* What is sent in a rush is bounded by the bucket: more copies of one thing are fewer others. */
static void in_a_rush_nothing_is_told_more_often_than_without_loss(void **state)
{
    (void)state;
    settle(2);
    lose_first_tries(2, 60000);
    assert_int_equal(t.core[0]->changes.transmissions, 16);
    t.core[0]->tokens = LIMIT_GOSSIP_BUCKET_BYTES / 4;
    town_run(&t, 400);
    assert_int_equal(t.core[0]->changes.transmissions, 8);
    town_run(&t, 2000);
    assert_int_equal(t.core[0]->changes.transmissions, 16);
    town_done(&t);
}

static void a_members_news_is_written_once_into_a_packet(void **state)
{
    (void)state;
    struct gossip_packet p;
    struct gossip_reader r, fields;
    uint8_t type;
    settle(3);
    struct gossip *g = t.core[0];
    struct gossip_member *m = gossip_members_get(&g->members, house_id(1));
    while (g->rumour_count > 0) {
        town_run(&t, 100);
    }
    gossip_pass_on(g, m);
    gossip_packet_begin(&p, GOSSIP_CLASS_RUMOUR);
    assert_int_equal(gossip_packet_fill(g, &p, sizeof(p.body), 3), 1);
    assert_int_equal(m->rumour_sent, 3); /* as many as hear of it */
    gossip_reader_init(&r, p.body, p.w.len);
    assert_int_equal(gossip_read_message(&r, &type, &fields), 1);
    assert_int_equal(type, GOSSIP_MSG_ALIVE);
    assert_int_equal(gossip_read_message(&r, &type, &fields), 0);
    town_done(&t);
}

/* Answers to pings are never held back; but they carry nothing more, questions that can be asked
 * again go unanswered, and two seconds later all is paid. */
static void in_debt_a_node_answers_pings_and_little_else(void **state)
{
    (void)state;
    settle(2);
    struct gossip *g = t.core[0];
    struct gossip_member *m = gossip_members_get(&g->members, house_id(1));
    struct gossip_ping ping = {.target = house_id(0), .nonce = 7};
    struct gossip_addr from = house_addr(1);
    uint8_t sum[1 + (8 << GOSSIP_BUCKET_BITS_MIN)] = {GOSSIP_BUCKET_BITS_MIN};
    struct gossip_reader r;
    g->effects = &t.effects;
    gossip_pass_on(g, m);
    g->tokens = -LIMIT_GOSSIP_BUCKET_BYTES / 2 + 10;
    t.effects.send_count = 0;
    for (unsigned i = 0; i < 5; i++) {
        gossip_hear_ping(g, &ping, m, &from, 64);
        assert_int_equal(t.effects.send_count, i + 1);
        assert_int_equal(m->rumour_sent, 0);
        assert_int_equal(g->tokens, -LIMIT_GOSSIP_BUCKET_BYTES / 2);
    }
    uint64_t held_back = town_stats(&t, 0).drop_rate;
    gossip_reader_init(&r, sum, sizeof(sum));
    gossip_hear_sum(g, &r, &from);
    assert_int_equal(t.effects.send_count, 5);
    assert_int_equal(town_stats(&t, 0).drop_rate, held_back + 1);
    t.effects.send_count = 0;
    town_run(&t, 2100);
    assert_true(g->tokens > 0 && m->rumour_sent > 0);
    town_done(&t);
}

/* Asked to ask, it says in time that there is no answer yet, and passes on one that comes after. */
static void a_late_answer_follows_a_nack(void **state)
{
    (void)state;
    settle(3);
    struct gossip *g = t.core[0];
    struct gossip_ping_req req = {.target = house_id(2), .addr = house_addr(2), .nonce = 99};
    struct gossip_addr asker = house_addr(1), target = house_addr(2);
    uint64_t asked_ms = t.now_ms;
    t.cut[2] = true;
    g->effects = &t.effects;
    gossip_hear_ping_req(g, &req, &asker);
    assert_int_equal(g->relayed_open, 1);
    struct gossip_relayed *relayed = &g->relayed[0];
    struct gossip_ack ack = {.nonce = relayed->nonce};
    while (relayed->nack_ms != GOSSIP_NEVER_MS) {
        assert_true(t.now_ms - asked_ms < 200);
        town_run(&t, 1);
    }
    assert_int_equal(g->relayed_open, 1);
    g->effects = &t.effects;
    t.effects.send_count = 0;
    gossip_hear_ack(g, &ack, house_id(2), &target);
    assert_int_equal(t.effects.send_count, 1);
    assert_true(gossip_addr_equal(&t.effects.sends[0].to, &asker));
    assert_int_equal(g->relayed_open, 0);
    gossip_hear_ack(g, &ack, house_id(2), &target); /* once */
    assert_int_equal(t.effects.send_count, 1);
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_members_news_is_written_once_into_a_packet),
        cmocka_unit_test(in_debt_a_node_answers_pings_and_little_else),
        cmocka_unit_test(a_late_answer_follows_a_nack),
        cmocka_unit_test(the_more_is_lost_the_longer_a_ping_is_given_and_the_more_copies_go_out),
        cmocka_unit_test(in_a_rush_nothing_is_told_more_often_than_without_loss),
        cmocka_unit_test(who_runs_late_gives_others_longer_and_its_round_does_not_count),
        cmocka_unit_test(who_hears_nobody_doubts_itself_and_who_hears_others_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
