/* test_body.c - bulk over HTTP: who may ask, what comes, and what is not believed. */
#include "town.h"

#include "gossip/state.h"

#include <errno.h>

static struct town t;

/* A town of two in which the second has a request of its own under way that nobody answered. */
static struct gossip_fetch meet_and_ask(void)
{
    town_init(&t);
    town_start(&t, 0, 0);
    town_add(&t, 0, 100, 300);
    struct gossip_config config = house_config(&t, 1);
    assert_int_equal(gossip_new(&config, &t.core[1]), 0);
    struct gossip_addr addr = house_addr(0);
    struct gossip_event event = {
        .kind = GOSSIP_SEEDS, .now_ms = t.now_ms, .wall_ms = t.now_ms, .seeds = {&addr, 1}};
    /* By hand: town_step would answer the fetch. */
    for (int round = 0; round < 10; round++) {
        gossip_step(t.core[1], &event, &t.effects);
        if (t.effects.fetch_count) {
            return t.effects.fetches[0];
        }
        assert_true(t.effects.send_count > 0);
        struct letter l = {.from = house_addr(1), .len = t.effects.sends[0].len};
        memcpy(l.bytes, t.effects.sends[0].bytes, l.len);
        t.letter_count = 0;
        town_hear(&t, 0, &l);
        assert_true(t.letter_count > 0);
        event = (struct gossip_event){.kind = GOSSIP_PACKET,
                                      .now_ms = t.now_ms,
                                      .wall_ms = t.now_ms,
                                      .packet = {l.from, t.letters[0].bytes, t.letters[0].len}};
        event.packet.from = house_addr(0);
    }
    fail();
    return (struct gossip_fetch){0};
}

static void finish(void)
{
    t.letter_count = 0;
    town_done(&t);
}

static void hand_in(const struct gossip_fetch *f, const struct buf *body)
{
    struct gossip_event event = {.kind = GOSSIP_FETCHED,
                                 .now_ms = t.now_ms,
                                 .wall_ms = t.now_ms,
                                 .fetched = {f->id, 0, (uint8_t *)body->data, body->len}};
    gossip_step(t.core[1], &event, &t.effects);
}

static void a_request_without_the_cluster_key_is_denied(void **state)
{
    (void)state;
    struct gossip_fetch f = meet_and_ask();
    struct buf body;
    buf_init(&body, 1 << 20);
    assert_int_equal(gossip_serve(t.core[0], f.path, NULL, &body), -EACCES);
    assert_int_equal(gossip_serve(t.core[0], f.path, "", &body), -EACCES);
    assert_int_equal(gossip_serve(t.core[0], f.path, "0123", &body), -EACCES);
    for (size_t i = 0; i < strlen(f.auth); i++) {
        char kept = f.auth[i];
        f.auth[i] = kept == '0' ? '1' : '0';
        assert_int_equal(gossip_serve(t.core[0], f.path, f.auth, &body), -EACCES);
        f.auth[i] = kept;
    }
    /* It is good for the path it was made for, and no other. */
    assert_int_equal(gossip_serve(t.core[0], "/cluster/v1/set/000000000100", f.auth, &body),
                     -EACCES);
    assert_int_equal(body.len, 0);
    assert_int_equal(gossip_serve(t.core[0], f.path, f.auth, &body), 0);
    assert_true(body.len > 300 * 8);
    buf_done(&body);
    finish();
}

static void a_snapshot_fills_the_index(void **state)
{
    (void)state;
    struct gossip_fetch f = meet_and_ask();
    struct buf body;
    buf_init(&body, 1 << 20);
    assert_string_equal(f.path, "/cluster/v1/snapshot");
    assert_int_equal(gossip_serve(t.core[0], f.path, f.auth, &body), 0);
    hand_in(&f, &body);
    assert_true(gossip_is_ready(t.core[1]));
    assert_true(town_finds(&t, 1, 100, 0) && town_finds(&t, 1, 399, 0));
    hand_in(&f, &body); /* a second time: nobody asked */
    assert_int_equal(town_stats(&t, 1).snapshots_applied, 1);
    buf_done(&body);
    finish();
}

static void an_answer_to_another_request_or_cut_or_changed_is_not_believed(void **state)
{
    (void)state;
    struct gossip_fetch f = meet_and_ask();
    struct buf body;
    buf_init(&body, 1 << 20);
    assert_int_equal(gossip_serve(t.core[0], f.path, f.auth, &body), 0);
    body.data[body.len / 2] ^= 1;
    hand_in(&f, &body);
    assert_false(gossip_is_ready(t.core[1]));
    assert_int_equal(town_stats(&t, 1).fetches_failed, 1);
    /* It asks again by itself; the first answer does not fit the second question. */
    body.data[body.len / 2] ^= 1;
    t.now_ms += 200;
    struct gossip_event tick = {.kind = GOSSIP_TICK, .now_ms = t.now_ms, .wall_ms = t.now_ms};
    gossip_step(t.core[1], &tick, &t.effects);
    struct gossip_fetch again = {0}; /* beside the set it has heard of meanwhile */
    for (size_t i = 0; i < t.effects.fetch_count; i++) {
        if (strcmp(t.effects.fetches[i].path, f.path) == 0) {
            again = t.effects.fetches[i];
        }
    }
    assert_true(again.id != 0 && again.id != f.id);
    hand_in(&again, &body);
    assert_false(gossip_is_ready(t.core[1]));
    assert_false(town_finds(&t, 1, 100, 0));
    buf_done(&body);
    finish();
}

static void a_snapshot_that_breaks_off_changes_nothing(void **state)
{
    (void)state;
    struct gossip_fetch f = meet_and_ask();
    struct gossip_member_view view;
    struct buf sealed;
    buf_init(&sealed, 1 << 20);
    assert_int_equal(gossip_serve(t.core[0], f.path, f.auth, &sealed), 0);
    /* Opened as the core would, then cut at every length. */
    size_t n = sealed.len - GOSSIP_SEAL_OVERHEAD_BYTES;
    uint8_t *plain = malloc(n);
    struct gossip_header h;
    struct gossip_binding binding = {.purpose = GOSSIP_FOR_SNAPSHOT,
                                     .bytes = t.core[1]->fetches[0].auth,
                                     .len = GOSSIP_SEAL_OVERHEAD_BYTES};
    assert_int_equal(gossip_seal_peek((uint8_t *)sealed.data, sealed.len, &h), 0);
    assert_int_equal(
        gossip_seal_open(t.core[1]->seal, &h, &binding, (uint8_t *)sealed.data, sealed.len, plain),
        0);
    assert_true(town_member(&t, 1, 0x100, &view)); /* from the handshake */
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that a read past the end is seen */
        memcpy(exact, plain, cut);
        assert_true(gossip_snapshot_apply(t.core[1], 0x100, exact, cut) < 0);
        free(exact);
    }
    assert_int_equal(town_stats(&t, 1).index_keys, 0);
    free(plain);
    buf_done(&sealed);
    finish();
}

/* A key that member i holds: many, some, few, or just one of them. */
static bool has_key(size_t i, size_t k)
{
    static const size_t every[] = {1, 2, 3, 7, 40, 290, 600};
    return i % every[k % 7] == k % every[k % 7];
}

#define CROWD 700
#define CROWD_KEYS 70

static void meet_crowd(struct gossip *g)
{
    for (size_t i = 1; i < CROWD; i++) {
        struct gossip_alive a = {
            .id = i + 5000, .boot = 9, .salt = 1, .gossip_port = 5001, .registry_port = 5000};
        uint64_t keys[CROWD_KEYS], hash = 0;
        size_t count = 0;
        a.addrs[0] = (struct gossip_addr){
            .family = GOSSIP_IPV4, .ip = {10, 9, (uint8_t)(i / 200), (uint8_t)(i % 200 + 1)}};
        gossip_hear_alive(g, &a, a.id);
        for (size_t k = 0; k < CROWD_KEYS; k++) {
            if (has_key(i, k)) {
                keys[count++] = gossip_mix(k);
                hash ^= gossip_mix(gossip_mix(k));
            }
        }
        gossip_take_set(g, gossip_members_get(&g->members, a.id), 1, hash, keys, count);
    }
}

static void a_snapshot_of_many_carries_common_and_rare_keys_alike(void **state)
{
    (void)state;
    struct buf body;
    meet_and_ask();
    buf_init(&body, 1 << 20);
    t.core[0]->effects = t.core[1]->effects = &t.effects;
    meet_crowd(t.core[0]);
    assert_int_equal(gossip_snapshot_build(t.core[0], &body), 0);
    /* Cut anywhere it is refused whole. */
    for (size_t n = 0; n < body.len; n += n < 200 ? 1 : 97) {
        uint8_t *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, body.data, n);
        assert_int_not_equal(gossip_snapshot_apply(t.core[1], 1, cut, n), 0);
        free(cut);
    }
    assert_int_equal(t.core[1]->stats.snapshots_applied, 0);
    assert_int_equal(gossip_snapshot_apply(t.core[1], 1, (uint8_t *)body.data, body.len), 0);
    for (size_t i = 1; i < CROWD; i++) {
        const struct gossip_member *m = gossip_members_get(&t.core[1]->members, i + 5000);
        assert_non_null(m);
        for (size_t k = 0; k < CROWD_KEYS; k++) {
            assert_int_equal(gossip_index_has(t.core[1]->index, gossip_mix(k), m->slot),
                             has_key(i, k));
        }
    }
    buf_done(&body);
    finish();
}

static void unknown_paths_and_members_are_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {"/cluster/v1/", "/cluster/v1/set/", "/cluster/v1/set/zz",
                                        "/cluster/v1/set/0000000000ff", "/cluster/v1/snapshot/"};
    town_init(&t);
    town_start(&t, 0, 0);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        uint8_t auth[GOSSIP_SEAL_OVERHEAD_BYTES];
        char text[GOSSIP_AUTH_TEXT_BYTES];
        struct gossip_binding binding = {GOSSIP_FOR_AUTH, paths[i], strlen(paths[i])};
        struct buf body;
        buf_init(&body, 1 << 20);
        assert_int_equal(gossip_seal_write(t.core[0]->seal, &binding, NULL, 0, auth), 0);
        for (size_t k = 0; k < sizeof(auth); k++) {
            snprintf(text + 2 * k, 3, "%02x", auth[k]);
        }
        assert_int_equal(gossip_serve(t.core[0], paths[i], text, &body), -ENOENT);
        buf_done(&body);
    }
    town_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_without_the_cluster_key_is_denied),
        cmocka_unit_test(a_snapshot_fills_the_index),
        cmocka_unit_test(an_answer_to_another_request_or_cut_or_changed_is_not_believed),
        cmocka_unit_test(a_snapshot_that_breaks_off_changes_nothing),
        cmocka_unit_test(a_snapshot_of_many_carries_common_and_rare_keys_alike),
        cmocka_unit_test(unknown_paths_and_members_are_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
