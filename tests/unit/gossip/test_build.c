/* test_build.c - bodies built in slices, while what they are about changes: whatever a receiver is
 * told of a member's set is one version of it. */
#include "town.h"

#include "gossip/build.h"
#include "gossip/state.h"

#include <errno.h>

#define MEMBERS 120
#define KEYS 200 /* of each, half of them everybody's */

static struct town t;
static struct gossip *from, *to;
static uint64_t random_state;
/* By number: what happened to it while its keys were being written. */
static bool cleared[MEMBERS + 1], early[MEMBERS + 1];
static uint32_t top[MEMBERS + 1]; /* the owner's last version: none comes twice */

static size_t below(size_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(random_state >> 33) % n;
}

static uint64_t key_of(size_t member, size_t k)
{
    return gossip_mix(k % 2 ? k : member * 1000 + k) >> 1;
}

static void give_set(struct gossip *g, size_t number, uint32_t version)
{
    uint64_t keys[KEYS], hash = 0;
    for (size_t k = 0; k < KEYS; k++) {
        keys[k] = key_of(number, k);
        hash ^= gossip_mix(keys[k]);
    }
    gossip_take_set(g, town_introduce(g, number), version, hash, keys, KEYS);
}

static void setup(uint64_t seed)
{
    random_state = seed;
    memset(cleared, 0, sizeof(cleared));
    memset(early, 0, sizeof(early));
    for (size_t i = 0; i <= MEMBERS; i++) {
        top[i] = 3;
    }
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 1);
    town_add(&t, 0, 500, 100);
    from = t.core[0];
    to = t.core[1];
    from->effects = to->effects = &t.effects;
    for (size_t i = 1; i <= MEMBERS; i++) {
        t.effects.note_count = 0;
        give_set(from, i, 3);
    }
}

static void done(void)
{
    from->effects = to->effects = NULL;
    town_done(&t);
}

static struct gossip_member *member(struct gossip *g, size_t number)
{
    return gossip_members_get(&g->members, 0x1000 + number);
}

/* A change of one or a few keys, as it comes in a packet. */
static void change(size_t number, uint64_t new_key)
{
    const struct gossip_member *m = member(from, number);
    struct gossip_ops ops = {
        .owner = m->id, .boot_low = (uint16_t)m->boot, .first = m->version + 1};
    struct gossip_op list[4];
    uint64_t hash = m->set_hash;
    size_t count = 1 + below(4);
    for (size_t i = 0; i < count; i++) {
        uint64_t key = new_key ? new_key + i : key_of(number, below(KEYS / 4) + i * (KEYS / 4));
        list[i] = (struct gossip_op){key, gossip_index_has(from->index, key, m->slot)};
        hash ^= gossip_mix(key);
    }
    assert_true(gossip_ops_append(&ops, list, count));
    ops.check = (uint32_t)hash;
    uint32_t version = m->version;
    gossip_hear_ops(from, &ops, m->id);
    assert_int_equal(m->version, version + 1);
    top[number] = m->version;
}

/* Something of all that can happen to a set. */
static void happen(const struct gossip_build *b)
{
    size_t number = 1 + below(MEMBERS);
    struct gossip_member *m = member(from, number);
    bool at_keys = b->begun && b->stage == GOSSIP_BUILD_KEYS;
    t.effects.note_count = t.effects.send_count = t.effects.fetch_count = 0;
    switch (below(24)) {
    case 0:
        give_set(from, number, ++top[number]); /* cleared, and all of it anew */
        cleared[number] = true;
        break;
    case 1:
        gossip_drop_set(from, m);
        cleared[number] = true;
        break;
    case 2: {
        size_t fresh = 1000 + below(1000);
        give_set(from, fresh, 1); /* a new member, or one that came a moment ago */
        break;
    }
    case 3: {
        uint64_t key = 500 + below(200);
        gossip_local_change(from, &key, 1, below(2));
        break;
    }
    default:
        if (m->set_boot == m->boot && m->version > 0) {
            change(number, below(3) ? 0 : gossip_mix(1000000 + below(50)));
            early[number] = early[number] || !at_keys;
        }
    }
}

static int build(struct gossip_build *b, size_t changes, void (*then)(const struct gossip_build *b))
{
    int error;
    do {
        size_t budget = 200 + below(4000);
        from->build = b;
        error = gossip_build_slice(from, b, &budget);
        for (size_t i = 0; i < changes && error == -EINPROGRESS; i++) {
            then(b);
        }
    } while (error == -EINPROGRESS);
    from->build = NULL;
    return error;
}

static void a_snapshot_tells_one_version_of_each_set_whatever_happens_meanwhile(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct gossip_build *b;
        size_t whole = 0;
        setup(seed);
        assert_int_equal(gossip_build_new(GOSSIP_FOR_SNAPSHOT, &b), 0);
        assert_int_equal(build(b, seed % 4 * 3, happen), 0);
        t.effects.note_count = t.effects.send_count = 0;
        assert_int_equal(gossip_snapshot_apply(to, 0x100, (uint8_t *)b->plain.data, b->plain.len),
                         0);
        assert_int_equal(to->stats.hash_mismatches, 0);
        assert_int_equal(to->stats.drop_memory, 0);
        for (size_t i = 1; i <= MEMBERS; i++) {
            const struct gossip_member *m = member(to, i);
            assert_non_null(m); /* told of, with a set or without */
            bool has_set = m->set_boot == m->boot && m->version > 0;
            assert_true(has_set || cleared[i] || early[i]);
            assert_true(!has_set || m->version <= member(from, i)->version || cleared[i]);
            whole += has_set;
        }
        assert_true(whole > MEMBERS / 4);
        const struct gossip_member *me = gossip_members_get(&to->members, 0x100);
        assert_true(me->version > 0 || seed % 4 != 0);
        gossip_build_free(b);
        done();
    }
}

static void a_set_is_one_version_or_none(void **state)
{
    (void)state;
    unsigned built = 0, given_up = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct gossip_build *b;
        setup(seed);
        assert_int_equal(gossip_build_new(GOSSIP_FOR_SET, &b), 0);
        b->owner = 0x1007;
        int error = build(b, 2, happen);
        if (error) {
            assert_int_equal(error, -EAGAIN);
            assert_true(cleared[7]);
            given_up++;
        } else {
            town_introduce(to, 7);
            assert_int_equal(
                gossip_set_apply(to, 0x1007, 0x100, (uint8_t *)b->plain.data, b->plain.len), 0);
            assert_int_equal(member(to, 7)->version, 3); /* as it was when this began */
            assert_int_equal(member(to, 7)->count, KEYS);
            assert_int_equal(to->stats.hash_mismatches, 0);
            built++;
        }
        gossip_build_free(b);
        done();
    }
    assert_true(built > 10 && given_up > 0);
}

static uint64_t unheard_of;

/* A new key each time, more of them than are written down. */
static void flood(const struct gossip_build *b)
{
    if (b->stage == GOSSIP_BUILD_KEYS) {
        unheard_of += 10;
        change(1 + below(MEMBERS), gossip_mix(unheard_of));
    }
}

static void more_changes_than_are_kept_leave_their_members_out_and_harm_nobody(void **state)
{
    (void)state;
    struct gossip_build *b;
    setup(1);
    assert_int_equal(gossip_build_new(GOSSIP_FOR_SNAPSHOT, &b), 0);
    assert_int_equal(build(b, 20, flood), 0);
    assert_int_equal(b->early_count, LIMIT_GOSSIP_BUILD_EARLY);
    t.effects.note_count = t.effects.send_count = 0;
    assert_int_equal(gossip_snapshot_apply(to, 0x100, (uint8_t *)b->plain.data, b->plain.len), 0);
    assert_int_equal(to->stats.hash_mismatches, 0);
    size_t without = 0;
    for (size_t i = 1; i <= MEMBERS; i++) {
        without += member(to, i)->version == 0;
    }
    assert_true(without > 0);
    gossip_build_free(b);
    done();
}

static void nobodys_set_and_an_empty_cluster_are_no_trouble(void **state)
{
    (void)state;
    struct gossip_build *b;
    struct buf body;
    setup(1);
    assert_int_equal(gossip_build_new(GOSSIP_FOR_SET, &b), 0);
    b->owner = 0x99;
    assert_int_equal(build(b, 0, NULL), -ENOENT);
    gossip_build_free(b);
    /* The other core knows nobody and holds nothing. */
    buf_init(&body, 1 << 20);
    assert_int_equal(gossip_snapshot_build(to, &body), 0);
    assert_int_equal(gossip_snapshot_apply(from, 0x101, (uint8_t *)body.data, body.len), 0);
    buf_done(&body);
    done();
}

static void a_body_over_its_cap_comes_to_nothing(void **state)
{
    (void)state;
    struct buf body;
    setup(1);
    for (size_t max = 0; max < 20000; max += 333) {
        buf_init(&body, max);
        assert_int_equal(gossip_snapshot_build(from, &body), -ENOBUFS);
        assert_int_equal(body.len, 0);
        buf_done(&body);
    }
    done();
}

/* Of the set that is built: written first, or, without memory for that, given up. */
static void change_one(const struct gossip_build *b)
{
    (void)b;
    uint64_t key = key_of(7, below(KEYS));
    gossip_build_before(from, key, member(from, 7)->slot);
}

static void without_memory_nothing_is_built(void **state)
{
    (void)state;
    setup(1);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct buf body;
        struct gossip_build *b;
        buf_init(&body, 1 << 20);
        int error = gossip_snapshot_build(from, &body);
        buf_done(&body);
        assert_true(error == 0 || error == -ENOMEM);
        error = gossip_build_new(GOSSIP_FOR_SET, &b);
        if (error == 0) {
            b->owner = 0x1007;
            error = build(b, 1, change_one);
            gossip_build_free(b);
        }
        assert_true(error == 0 || error == -ENOMEM || error == -EAGAIN);
    });
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_tells_one_version_of_each_set_whatever_happens_meanwhile),
        cmocka_unit_test(a_set_is_one_version_or_none),
        cmocka_unit_test(more_changes_than_are_kept_leave_their_members_out_and_harm_nobody),
        cmocka_unit_test(nobodys_set_and_an_empty_cluster_are_no_trouble),
        cmocka_unit_test(a_body_over_its_cap_comes_to_nothing),
        cmocka_unit_test(without_memory_nothing_is_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
