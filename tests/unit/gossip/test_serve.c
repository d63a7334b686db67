/* test_serve.c - several who ask at once: what they share, what they wait for, what is bounded. */
#include "town.h"

#include "base/hex.h"
#include "gossip/state.h"

#include <errno.h>

#define MEMBERS 300
#define KEYS 600 /* of each, half of them everybody's: 180,000 pairs, more than a slice */
#define SNAPSHOT GOSSIP_PATH_PREFIX "snapshot"

static struct town t;
static struct gossip *core;
static struct gossip_seal *asker;
static char auth[GOSSIP_AUTH_TEXT_BYTES];
static uint8_t sealed[GOSSIP_SEAL_OVERHEAD_BYTES];

static void setup(void)
{
    static const struct gossip_sender sender = {.id = 0x777, .boot = 5, .salt = 1};
    town_init(&t);
    town_start(&t, 0, 0);
    core = t.core[0];
    core->effects = &t.effects;
    for (size_t i = 0; i < MEMBERS; i++) {
        struct gossip_alive a = {
            .id = 0x1000 + i, .boot = 5, .salt = 1, .gossip_port = 5001, .registry_port = 5000};
        a.addrs[0] = (struct gossip_addr){
            .family = GOSSIP_IPV4, .ip = {10, 1, (uint8_t)(i / 200), (uint8_t)(i % 200 + 1)}};
        t.effects.note_count = 0;
        gossip_hear_alive(core, &a, a.id);
        uint64_t keys[KEYS], hash = 0;
        for (size_t k = 0; k < KEYS; k++) {
            keys[k] = gossip_mix(k % 2 ? k : (i + 1) * 1000 + k) >> 1;
            hash ^= gossip_mix(keys[k]);
        }
        gossip_take_set(core, gossip_members_get(&core->members, a.id), 3, hash, keys, KEYS);
    }
    core->effects = NULL;
    core->ready = true;
    assert_int_equal(gossip_seal_new("town", NULL, 0, &asker), 0);
    assert_int_equal(gossip_seal_set_sender(asker, &sender), 0);
}

static void done(void)
{
    gossip_seal_free(asker);
    town_done(&t);
}

static int begin(const char *path, struct gossip_serving **ret_serving)
{
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_AUTH, .bytes = path, .len = strlen(path)};
    assert_int_equal(gossip_seal_write(asker, &binding, NULL, 0, sealed), 0);
    hex_write(sealed, sizeof(sealed), auth);
    return gossip_serve_begin(core, path, auth, ret_serving);
}

static void step(uint64_t ms)
{
    struct gossip_event tick = {.kind = GOSSIP_TICK};
    t.now_ms += ms;
    town_step(&t, 0, &tick);
    t.letter_count = 0;
}

static void wait_for(const struct gossip_serving *s)
{
    size_t bytes;
    for (int i = 0; gossip_serving_ready(s, &bytes) == -EINPROGRESS; i++) {
        assert_true(i < 1000);
        step(1);
    }
}

static size_t bodies(void)
{
    size_t n = 0;
    LIST_EACH (link, &core->builds) {
        n++;
    }
    LIST_EACH (link, &core->built) {
        n++;
    }
    return n;
}

/* To the end, in pieces of n; opened with what was asked last. */
static void read_all(struct gossip_serving *s, size_t n, struct buf *ret_plain)
{
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_SNAPSHOT, .bytes = sealed, .len = sizeof(sealed)};
    struct gossip_header h;
    struct buf body;
    size_t bytes = 0;
    ssize_t got;
    assert_int_equal(gossip_serving_ready(s, &bytes), 0);
    buf_init(&body, 1 << 24);
    for (;;) {
        uint8_t *out = (uint8_t *)buf_reserve(&body, n);
        got = gossip_serving_read(s, out, n);
        if (got <= 0) {
            break;
        }
        assert_true((size_t)got <= n);
        buf_commit(&body, (size_t)got);
    }
    assert_int_equal(got, 0);
    assert_int_equal(body.len, bytes);
    buf_init(ret_plain, 1 << 24);
    uint8_t *plain = (uint8_t *)buf_reserve(ret_plain, body.len);
    assert_int_equal(gossip_seal_peek((uint8_t *)body.data, body.len, &h), 0);
    assert_int_equal(gossip_seal_open(asker, &h, &binding, (uint8_t *)body.data, body.len, plain),
                     0);
    buf_commit(ret_plain, body.len - GOSSIP_SEAL_OVERHEAD_BYTES);
    buf_done(&body);
}

static void a_large_snapshot_takes_several_steps_and_a_millisecond_each(void **state)
{
    (void)state;
    setup();
    struct gossip_serving *s;
    struct buf plain;
    size_t bytes;
    unsigned waits = 0;
    assert_int_equal(begin(SNAPSHOT, &s), 0);
    for (; gossip_serving_ready(s, &bytes) == -EINPROGRESS; waits++) {
        size_t built = core->build->plain.len;
        step(0); /* however often it is stepped in this millisecond */
        step(0);
        assert_int_equal(core->build ? core->build->plain.len : 0, built);
        step(1);
        assert_true(t.wake_ms[0] == t.now_ms + 1 || !core->build);
    }
    assert_true(waits >= 1);
    read_all(s, 100000, &plain);
    struct buf whole;
    buf_init(&whole, 1 << 24);
    assert_int_equal(gossip_snapshot_build(core, &whole), 0);
    assert_int_equal(plain.len, whole.len);
    assert_memory_equal(plain.data, whole.data, whole.len);
    buf_done(&whole);
    buf_done(&plain);
    assert_int_equal(core->stats.served, 1);
    gossip_serving_end(s);
    assert_true(list_empty(&core->built) && list_empty(&core->builds));
    done();
}

static void those_who_ask_within_half_a_second_share_one(void **state)
{
    (void)state;
    setup();
    struct gossip_serving *s[20];
    struct buf plain;
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(begin(SNAPSHOT, &s[i]), 0); /* more than are built at once */
    }
    wait_for(s[0]);
    step(100);
    assert_int_equal(bodies(), 1);
    read_all(s[19], 32, &plain); /* the one whose question is remembered */
    buf_done(&plain);
    for (size_t i = 0; i < 19; i++) {
        gossip_serving_end(s[i]);
    }
    /* The last one reads from it; then it is too old for another. */
    assert_int_equal(begin(SNAPSHOT, &s[0]), 0);
    assert_int_equal(bodies(), 1);
    step(500);
    assert_int_equal(begin(SNAPSHOT, &s[1]), 0);
    assert_int_equal(bodies(), 2);
    gossip_serving_end(s[0]);
    gossip_serving_end(s[1]);
    gossip_serving_end(s[19]);
    assert_int_equal(core->serving_count, 0);
    assert_true(list_empty(&core->built) && list_empty(&core->builds));
    done();
}

static void who_goes_away_leaves_nothing_behind(void **state)
{
    (void)state;
    setup();
    struct gossip_serving *s, *other;
    char path[GOSSIP_PATH_BYTES];
    snprintf(path, sizeof(path), GOSSIP_PATH_PREFIX "set/000000001007");
    for (size_t steps = 0; steps < 4; steps++) {
        t.now_ms += 1000;
        step(1);
        assert_int_equal(begin(SNAPSHOT, &s), 0);
        assert_int_equal(begin(path, &other), 0); /* waits behind it */
        for (size_t i = 0; i < steps; i++) {
            step(1);
        }
        gossip_serving_end(s);
        assert_int_equal(bodies(), 1); /* the other's */
        wait_for(other);
        size_t bytes;
        assert_int_equal(gossip_serving_ready(other, &bytes), 0);
        gossip_serving_end(other);
        assert_true(list_empty(&core->built) && list_empty(&core->builds));
        assert_null(core->build);
    }
    gossip_serving_end(NULL);
    done();
}

static void there_are_so_many_at_once_and_then_they_ask_elsewhere(void **state)
{
    (void)state;
    setup();
    struct gossip_serving *s[LIMIT_GOSSIP_SERVINGS], *more;
    for (size_t i = 0; i < LIMIT_GOSSIP_SERVINGS; i++) {
        assert_int_equal(begin(SNAPSHOT, &s[i]), 0);
    }
    assert_int_equal(begin(SNAPSHOT, &more), -EAGAIN);
    assert_int_equal(core->stats.serve_busy, 1);
    gossip_serving_end(s[5]);
    assert_int_equal(begin(SNAPSHOT, &s[5]), 0);
    for (size_t i = 0; i < LIMIT_GOSSIP_SERVINGS; i++) {
        gossip_serving_end(s[i]);
    }
    done();
}

static void who_does_not_read_is_cut_off(void **state)
{
    (void)state;
    setup();
    struct gossip_serving *s;
    uint8_t room[100];
    size_t bytes;
    assert_int_equal(begin(SNAPSHOT, &s), 0);
    wait_for(s);
    assert_int_equal(gossip_serving_read(s, room, sizeof(room)), GOSSIP_SEAL_HEADER_BYTES);
    assert_int_equal(gossip_serving_read(s, room, sizeof(room)), sizeof(room));
    step(LIMIT_GOSSIP_SERVE_MS);
    assert_int_equal(gossip_serving_ready(s, &bytes), -ETIMEDOUT);
    assert_int_equal(gossip_serving_read(s, room, sizeof(room)), -ETIMEDOUT);
    assert_true(list_empty(&core->built)); /* the memory went at once */
    gossip_serving_end(s);
    done();
}

static void the_core_may_go_first(void **state)
{
    (void)state;
    setup();
    struct gossip_serving *s[3];
    uint8_t room[100];
    size_t bytes;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(begin(SNAPSHOT, &s[i]), 0);
    }
    gossip_free(core);
    t.core[0] = NULL;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(gossip_serving_ready(s[i], &bytes), -ESHUTDOWN);
        assert_int_equal(gossip_serving_read(s[i], room, sizeof(room)), -ESHUTDOWN);
        gossip_serving_end(s[i]);
    }
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_snapshot_takes_several_steps_and_a_millisecond_each),
        cmocka_unit_test(those_who_ask_within_half_a_second_share_one),
        cmocka_unit_test(who_goes_away_leaves_nothing_behind),
        cmocka_unit_test(there_are_so_many_at_once_and_then_they_ask_elsewhere),
        cmocka_unit_test(who_does_not_read_is_cut_off),
        cmocka_unit_test(the_core_may_go_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
