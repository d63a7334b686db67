#include "support.h"

#include "town.h"

#include "gossip/state.h"

#include <errno.h>

static struct town t;
static struct gossip *from, *to;

#define MEMBERS 300
#define KEYS 400 /* of each, half of them everybody's: 120,000 pairs, several slices */

static uint64_t key_of(size_t member, size_t k)
{
    return k % 2 ? gossip_mix(k) >> 1 : gossip_mix(member * 1000 + k) >> 1;
}

static void setup(void)
{
    town_init(&t);
    town_start(&t, 0, 0);
    town_start(&t, 1, 1);
    from = t.core[0];
    to = t.core[1];
    from->effects = to->effects = &t.effects;
    for (size_t i = 0; i < MEMBERS; i++) {
        uint64_t keys[KEYS], hash = 0;
        for (size_t k = 0; k < KEYS; k++) {
            keys[k] = key_of(i, k);
            hash ^= gossip_mix(keys[k]);
        }
        t.effects.note_count = 0;
        gossip_take_set(from, town_introduce(from, i), 3, hash, keys, KEYS);
    }
}

static void begin(void)
{
    struct gossip_open_fetch fetch = {.kind = GOSSIP_FETCH_SNAPSHOT};
    struct buf body;
    buf_init(&body, 1 << 24);
    assert_int_equal(gossip_snapshot_build(from, &body), 0);
    assert_int_equal(gossip_take_begin(to, &fetch, 0x100, &body), 0);
    buf_done(&body);
}

static size_t finish(void)
{
    size_t slices = 0;
    for (; to->take; slices++) {
        t.effects.note_count = 0;
        gossip_take_tick(to);
    }
    return slices;
}

static void has_all_but(size_t missing)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        const struct gossip_member *m = gossip_members_get(&to->members, 0x1000 + i);
        assert_non_null(m);
        assert_int_equal(m->taking, 0);
        if (i == missing) {
            continue;
        }
        assert_int_equal(m->version, 3);
        assert_int_equal(m->count, KEYS);
        for (size_t k = 0; k < KEYS; k++) {
            assert_true(gossip_index_has(to->index, key_of(i, k), m->slot));
        }
    }
}

static void done(void)
{
    from->effects = to->effects = NULL;
    town_done(&t);
}

static void a_large_snapshot_is_taken_in_slices(void **state)
{
    (void)state;
    setup();
    begin();
    struct gossip_open_fetch another = {.kind = GOSSIP_FETCH_SNAPSHOT};
    struct buf body;
    buf_init(&body, 1 << 24);
    assert_int_equal(gossip_snapshot_build(from, &body), 0);
    assert_int_equal(gossip_take_begin(to, &another, 0x100, &body), -EBUSY);
    buf_done(&body);
    assert_true(finish() > 3);
    has_all_but(MEMBERS);
    assert_true(to->snapshot_applied);
    begin(); /* no news in it */
    finish();
    has_all_but(MEMBERS);
    done();
}

/* As it comes over HTTP: sealed for a question of ours. */
static void begin_sealed(struct gossip_open_fetch *fetch, struct buf *sealed)
{
    struct buf body;
    *fetch = (struct gossip_open_fetch){.kind = GOSSIP_FETCH_SNAPSHOT, .auth_bytes = 5};
    struct gossip_binding binding = {
        .purpose = GOSSIP_FOR_SNAPSHOT, .bytes = fetch->auth, .len = fetch->auth_bytes};
    buf_init(&body, 1 << 24);
    buf_init(sealed, 1 << 24);
    assert_int_equal(gossip_snapshot_build(from, &body), 0);
    size_t n = body.len + GOSSIP_SEAL_OVERHEAD_BYTES;
    uint8_t *out = (uint8_t *)buf_reserve(sealed, n);
    assert_int_equal(gossip_seal_write(from->seal, &binding, (uint8_t *)body.data, body.len, out),
                     0);
    buf_commit(sealed, n);
    buf_done(&body);
}

static void a_sealed_one_is_opened_in_slices_before_anything_of_it_counts(void **state)
{
    (void)state;
    setup();
    struct gossip_open_fetch fetch;
    struct buf sealed;
    begin_sealed(&fetch, &sealed);
    assert_true(sealed.len > 2 * GOSSIP_STREAM_PIECE_BYTES);
    sealed.data[sealed.len - 30] ^= 1;
    assert_int_equal(gossip_take_sealed(to, &fetch, &sealed), 0);
    assert_int_equal(sealed.len, 0); /* taken over */
    finish();
    buf_done(&sealed);
    assert_int_equal(to->stats.fetches_failed, 1);
    assert_null(gossip_members_get(&to->members, 0x1000));
    begin_sealed(&fetch, &sealed);
    assert_int_equal(gossip_take_sealed(to, &fetch, &sealed), 0);
    buf_done(&sealed);
    assert_true(finish() > 3);
    has_all_but(MEMBERS);
    done();
}

/* An id is one byte of a hash, so there are such rings. */
static void of_two_keys_with_one_id_the_right_one_opens(void **state)
{
    (void)state;
    uint8_t ring[2][32] = {{0}, {7}}, ids[2];
    struct gossip_open_fetch fetch;
    struct buf sealed;
    setup();
    for (unsigned i = 0;; i++) {
        struct gossip_binding binding = {.purpose = GOSSIP_FOR_PACKET};
        uint8_t out[GOSSIP_SEAL_OVERHEAD_BYTES];
        memcpy(ring[0], &i, sizeof(i));
        for (size_t k = 0; k < 2; k++) {
            const uint8_t(*one)[32] = (const uint8_t(*)[32])ring[k];
            assert_int_equal(gossip_set_keys(from, "town", one, 1), 0);
            assert_int_equal(gossip_seal_write(from->seal, &binding, NULL, 0, out), 0);
            ids[k] = out[1];
        }
        if (ids[0] == ids[1]) {
            break; /* and the second is in force */
        }
    }
    assert_int_equal(gossip_set_keys(to, "town", (const uint8_t(*)[32])ring, 2), 0);
    begin_sealed(&fetch, &sealed);
    sealed.data[sealed.len - 1] ^= 1;
    assert_int_equal(gossip_take_sealed(to, &fetch, &sealed), -EBADMSG);
    assert_null(to->take);
    buf_done(&sealed);
    begin_sealed(&fetch, &sealed);
    assert_int_equal(gossip_take_sealed(to, &fetch, &sealed), 0);
    buf_done(&sealed);
    finish();
    has_all_but(MEMBERS);
    done();
}

/* At each slice somebody's set comes from elsewhere, or somebody dies, is forgotten, is reborn. */
static void what_changes_meanwhile_is_left_alone(void **state)
{
    (void)state;
    for (size_t slice = 0; slice < 14; slice++) {
        for (int what = 0; what < 4; what++) {
            setup();
            begin();
            for (size_t i = 0; i < slice && to->take; i++) {
                t.effects.note_count = 0;
                gossip_take_tick(to);
            }
            struct gossip_member *m = gossip_members_get(&to->members, 0x1000 + 7);
            struct gossip_accusation dead = {.id = 0x1000 + 7, .boot = 5, .from = 0x100};
            uint64_t key = 77, hash = gossip_mix(77);
            bool touched = m && to->take && m->state == GOSSIP_ALIVE;
            if (touched && what == 0) {
                gossip_take_set(to, m, 9, hash, &key, 1);
            } else if (touched && what == 1) {
                gossip_hear_accusation(to, GOSSIP_MSG_DEAD, &dead);
            } else if (touched && what == 2) {
                gossip_drop_set(to, m);
            } else if (touched) {
                gossip_want_nothing(to, m);
                gossip_changes_forget(&to->changes, m->id);
                m->boot = 6;
            }
            finish();
            has_all_but(touched ? 7 : MEMBERS);
            size_t cursor = 0, count = 0;
            uint64_t held;
            m = gossip_members_get(&to->members, 0x1000 + 7);
            while (gossip_index_column(to->index, m->slot, &cursor, &held)) {
                count++;
            }
            assert_int_equal(count, m->count); /* nothing stands in the index that is not counted */
            assert_int_equal(touched && what == 0, m->version == 9);
            done();
        }
    }
}

static void a_core_may_end_while_it_takes_one(void **state)
{
    (void)state;
    setup();
    begin();
    gossip_take_tick(to);
    done();
}

/* The same key twice, and a holder twice: the sums would fit. */
static void a_key_stands_once(void **state)
{
    (void)state;
    setup();
    struct buf body;
    uint8_t bytes[200];
    struct gossip_writer w;
    struct gossip_alive a = {.id = 0x2000,
                             .boot = 5,
                             .addrs = {{.family = GOSSIP_IPV4, .ip = {10, 2, 0, 1}}},
                             .gossip_port = 5001,
                             .version = 1,
                             .count = 3,
                             .hash = gossip_mix(42)};
    for (int twice = 0; twice < 2; twice++) {
        gossip_writer_init(&w, bytes, sizeof(bytes));
        gossip_write8(&w, GOSSIP_BODY_FORMAT);
        gossip_write32(&w, 1);
        assert_true(gossip_alive_write(&w, &a));
        gossip_write32(&w, twice ? 1 : 3);
        for (int i = 0; i < (twice ? 1 : 3); i++) {
            gossip_write64(&w, 42);
            gossip_write16(&w, twice ? 3 : 1);
            for (int k = 0; k < (twice ? 3 : 1); k++) {
                gossip_write16(&w, 0);
            }
        }
        buf_init(&body, 1000);
        assert_int_equal(buf_append(&body, bytes, w.len), 0);
        assert_int_equal(gossip_snapshot_apply(to, 0x100, (uint8_t *)body.data, body.len),
                         twice ? -EPROTO : 0);
        buf_done(&body);
        const struct gossip_member *m = gossip_members_get(&to->members, 0x2000);
        assert_int_equal(m->version, 0);
        assert_false(gossip_index_has(to->index, 42, m->slot));
    }
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_snapshot_is_taken_in_slices),
        cmocka_unit_test(a_sealed_one_is_opened_in_slices_before_anything_of_it_counts),
        cmocka_unit_test(of_two_keys_with_one_id_the_right_one_opens),
        cmocka_unit_test(what_changes_meanwhile_is_left_alone),
        cmocka_unit_test(a_core_may_end_while_it_takes_one),
        cmocka_unit_test(a_key_stands_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
