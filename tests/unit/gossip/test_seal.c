#include "support.h"

#include "gossip/seal.h"

#include "base/limits.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

static const struct gossip_sender alice = {.id = 0xa11ce, .boot = 1000, .salt = 7};
static const struct gossip_binding packet = {.purpose = GOSSIP_FOR_PACKET};

static struct gossip_seal *seal_new(const char *label, const uint8_t (*keys)[32], size_t count)
{
    struct gossip_seal *s;
    assert_int_equal(gossip_seal_new(label, keys, count, &s), 0);
    assert_int_equal(gossip_seal_set_sender(s, &alice), 0);
    return s;
}

static int open_bytes(struct gossip_seal *s, const struct gossip_binding *binding,
                      const uint8_t *bytes, size_t len, uint8_t *out)
{
    struct gossip_header h;
    int error = gossip_seal_peek(bytes, len, &h);
    return error ? error : gossip_seal_open(s, &h, binding, bytes, len, out);
}

static void what_one_node_seals_another_of_the_cluster_opens(void **state)
{
    (void)state;
    struct gossip_seal *a = seal_new("label", NULL, 0), *b = seal_new("label", NULL, 0);
    uint8_t sealed[64], out[64];
    struct gossip_header h;
    for (uint64_t i = 1; i < 4; i++) {
        assert_int_equal(gossip_seal_write(a, &packet, (const uint8_t *)"hello", 5, sealed), 0);
        assert_int_equal(gossip_seal_peek(sealed, 45, &h), 0);
        assert_int_equal(h.counter, i);
        assert_int_equal(h.sender.id, alice.id);
        assert_int_equal(h.sender.boot, alice.boot);
        assert_int_equal(h.sender.salt, alice.salt);
        assert_int_equal(gossip_seal_open(b, &h, &packet, sealed, 45, out), 0);
        assert_memory_equal(out, "hello", 5);
    }
    gossip_seal_free(a);
    gossip_seal_free(b);
}

static void every_single_changed_bit_is_noticed(void **state)
{
    (void)state;
    struct gossip_seal *s = seal_new("label", NULL, 0);
    uint8_t sealed[45], out[64];
    assert_int_equal(gossip_seal_write(s, &packet, (const uint8_t *)"hello", 5, sealed), 0);
    for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_true(open_bytes(s, &packet, sealed, sizeof(sealed), out) < 0);
        sealed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(open_bytes(s, &packet, sealed, sizeof(sealed), out), 0);
    for (size_t len = 0; len < sizeof(sealed); len++) {
        assert_true(open_bytes(s, &packet, sealed, len, out) < 0);
    }
    gossip_seal_free(s);
}

static void another_label_is_another_cluster(void **state)
{
    (void)state;
    struct gossip_seal *a = seal_new("one", NULL, 0), *b = seal_new("two", NULL, 0);
    uint8_t sealed[45], out[64];
    assert_int_equal(gossip_seal_write(a, &packet, (const uint8_t *)"hello", 5, sealed), 0);
    assert_true(open_bytes(b, &packet, sealed, sizeof(sealed), out) < 0);
    gossip_seal_free(a);
    gossip_seal_free(b);
}

static void one_kind_of_body_cannot_be_passed_off_as_another(void **state)
{
    (void)state;
    struct gossip_seal *s = seal_new("label", NULL, 0);
    const struct gossip_binding set = {GOSSIP_FOR_SET, "request-1", 9};
    const struct gossip_binding other = {GOSSIP_FOR_SET, "request-2", 9};
    uint8_t sealed[45], out[64];
    assert_int_equal(gossip_seal_write(s, &set, (const uint8_t *)"hello", 5, sealed), 0);
    assert_int_equal(open_bytes(s, &packet, sealed, sizeof(sealed), out), -EBADMSG);
    assert_int_equal(open_bytes(s, &other, sealed, sizeof(sealed), out), -EBADMSG);
    assert_int_equal(open_bytes(s, &set, sealed, sizeof(sealed), out), 0);
    gossip_seal_free(s);
}

static void every_key_of_the_ring_is_accepted_and_the_first_sends(void **state)
{
    (void)state;
    const uint8_t both[2][32] = {{1}, {2}}, first[1][32] = {{1}}, second[1][32] = {{2}};
    struct gossip_seal *rotating = seal_new("label", both, 2);
    struct gossip_seal *old = seal_new("label", second, 1), *new = seal_new("label", first, 1);
    uint8_t sealed[45], out[64];
    assert_int_equal(gossip_seal_write(old, &packet, (const uint8_t *)"hello", 5, sealed), 0);
    assert_int_equal(open_bytes(rotating, &packet, sealed, sizeof(sealed), out), 0);
    assert_true(open_bytes(new, &packet, sealed, sizeof(sealed), out) < 0);
    assert_int_equal(gossip_seal_write(rotating, &packet, (const uint8_t *)"hello", 5, sealed), 0);
    assert_int_equal(open_bytes(new, &packet, sealed, sizeof(sealed), out), 0);
    assert_true(open_bytes(old, &packet, sealed, sizeof(sealed), out) < 0);
    gossip_seal_free(rotating);
    gossip_seal_free(old);
    gossip_seal_free(new);
    struct gossip_seal *none = NULL;
    assert_int_equal(gossip_seal_new("label", both, 4, &none), -EINVAL);
}

/* Old first; old, then new beside it; new first; new alone. */
static void a_ring_that_changes_loses_nothing_and_never_repeats_a_nonce(void **state)
{
    (void)state;
    static const uint8_t rings[4][2][32] = {{{1}}, {{1}, {2}}, {{2}, {1}}, {{2}}};
    static const size_t counts[4] = {1, 2, 2, 1};
    static const uint8_t four[4][32] = {{1}, {2}, {3}, {4}};
    struct gossip_seal *a = seal_new("label", rings[0], 1), *b = seal_new("label", rings[0], 1);
    uint8_t sealed[64], out[64];
    struct gossip_header h;
    uint64_t counter = 0;
    for (size_t step = 1; step < 4; step++) {
        assert_int_equal(gossip_seal_set_keys(a, "label", rings[step], counts[step]), 0);
        for (size_t round = 0; round < 2; round++) { /* b has not read the file yet, then has */
            assert_int_equal(gossip_seal_write(a, &packet, (const uint8_t *)"hello", 5, sealed), 0);
            assert_int_equal(gossip_seal_peek(sealed, 45, &h), 0);
            assert_true(h.counter > counter);
            counter = h.counter;
            assert_int_equal(open_bytes(b, &packet, sealed, 45, out), 0);
            assert_int_equal(gossip_seal_write(b, &packet, (const uint8_t *)"hello", 5, sealed), 0);
            assert_int_equal(open_bytes(a, &packet, sealed, 45, out), 0);
            assert_int_equal(gossip_seal_set_keys(b, "label", rings[step], counts[step]), 0);
        }
    }
    /* The old key is worth nothing now; too many keys change nothing. */
    assert_int_equal(gossip_seal_set_keys(a, "label", four, 4), -EINVAL);
    assert_int_equal(gossip_seal_set_keys(b, "label", rings[0], 1), 0);
    assert_int_equal(gossip_seal_write(b, &packet, (const uint8_t *)"hello", 5, sealed), 0);
    assert_int_not_equal(open_bytes(a, &packet, sealed, 45, out), 0);
    gossip_seal_free(a);
    gossip_seal_free(b);
}

/* Contexts are kept and used again: whatever came before leaves no trace in them. */
static void any_number_of_senders_is_heard_in_any_order_with_forgeries_between(void **state)
{
    (void)state;
    enum { SENDERS = 3 * LIMIT_GOSSIP_SUBKEYS };
    static struct gossip_seal *senders[SENDERS];
    const struct gossip_binding bound = {GOSSIP_FOR_SET, "request", 7};
    struct gossip_seal *s = seal_new("label", NULL, 0);
    uint64_t random = 1;
    for (size_t i = 0; i < SENDERS; i++) {
        struct gossip_sender who = {.id = 1 + i / 2, .boot = 1000 + i % 2, .salt = (uint32_t)i};
        senders[i] = seal_new("label", NULL, 0);
        assert_int_equal(gossip_seal_set_sender(senders[i], &who), 0);
    }
    for (size_t i = 0; i < 20 * SENDERS; i++) {
        uint8_t body[40], sealed[80], out[40];
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t who = (size_t)(random >> 33) % (i % 2 ? SENDERS : 5);
        size_t n = (size_t)(random >> 40) % sizeof(body);
        const struct gossip_binding *binding = i % 3 ? &packet : &bound;
        memset(body, (int)i, sizeof(body));
        assert_int_equal(gossip_seal_write(senders[who], binding, body, n, sealed), 0);
        size_t len = n + GOSSIP_SEAL_OVERHEAD_BYTES, at = 2 + (size_t)(random >> 50) % (len - 2);
        if (i % 4 == 0) {
            sealed[at] ^= 1;
            assert_int_equal(open_bytes(s, binding, sealed, len, out), -EBADMSG);
            sealed[at] ^= 1;
        }
        assert_int_equal(open_bytes(s, binding, sealed, len, out), 0);
        assert_memory_equal(out, body, n);
    }
    for (size_t i = 0; i < SENDERS; i++) {
        gossip_seal_free(senders[i]);
    }
    gossip_seal_free(s);
}

/* What is sealed is what it was in the first release: AES-256-GCM with the nonce, the associated
 * data and the sub-key of seal.h, made here with nothing else but OpenSSL's one-shot calls. */
static void the_envelope_is_made_as_the_header_says(void **state)
{
    (void)state;
    const uint8_t ring[1][32] = {{9, 8, 7}};
    struct gossip_seal *s = seal_new("label", ring, 1);
    uint8_t sealed[45], subkey[32], nonce[12] = {0}, out[5], none[16], info[16], purpose = 0;
    int n;
    assert_int_equal(gossip_seal_write(s, &packet, (const uint8_t *)"hello", 5, sealed), 0);
    memcpy(info, sealed + 2, 16); /* sender, boot, salt */
    memcpy(nonce + 6, sealed + 18, 6);
    assert_non_null(HMAC(EVP_sha256(), ring[0], 32, info, sizeof(info), subkey, NULL));
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_true(EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, subkey, nonce));
    assert_true(EVP_DecryptUpdate(ctx, NULL, &n, sealed, GOSSIP_SEAL_HEADER_BYTES));
    assert_true(EVP_DecryptUpdate(ctx, NULL, &n, &purpose, 1));
    assert_true(EVP_DecryptUpdate(ctx, out, &n, sealed + GOSSIP_SEAL_HEADER_BYTES, 5));
    assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, sealed + 29));
    assert_true(EVP_DecryptFinal_ex(ctx, none, &n) > 0);
    assert_memory_equal(out, "hello", 5);
    EVP_CIPHER_CTX_free(ctx);
    gossip_seal_free(s);
}

static void a_counter_is_accepted_once_and_only_while_recent(void **state)
{
    (void)state;
    struct gossip_window w = {0};
    static const struct {
        uint64_t counter;
        bool is_new;
    } rows[] = {
        {0, false},   {500, true},  {500, false}, {499, true},
        {499, false}, {373, true},  {372, false}, /* 128 behind */
        {564, true},  {500, false}, {501, true},  {437, true},
        {436, false}, {628, true},  {501, true}, /* 127 behind the top, seen */
    };
    for (size_t i = 0; i + 1 < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(gossip_window_is_new(&w, rows[i].counter), rows[i].is_new);
        if (rows[i].is_new) {
            gossip_window_accept(&w, rows[i].counter);
        }
    }
    assert_false(gossip_window_is_new(&w, 501));
    gossip_window_accept(&w, 100000);
    assert_false(gossip_window_is_new(&w, 628));
    assert_true(gossip_window_is_new(&w, 99999));
}

/* The same against the plainest implementation there is. */
static void the_window_agrees_with_a_list_of_everything_seen(void **state)
{
    (void)state;
    struct gossip_window w = {0};
    static bool seen[5000];
    uint64_t random = 1, top = 0;
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t counter = 1 + (uint64_t)i / 5 + (random >> 33) % 200;
        bool is_new = counter > top || (top - counter < GOSSIP_WINDOW_COUNTERS && !seen[counter]);
        assert_int_equal(gossip_window_is_new(&w, counter), is_new);
        if (is_new) {
            gossip_window_accept(&w, counter);
            seen[counter] = true;
            top = counter > top ? counter : top;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_node_seals_another_of_the_cluster_opens),
        cmocka_unit_test(every_single_changed_bit_is_noticed),
        cmocka_unit_test(another_label_is_another_cluster),
        cmocka_unit_test(one_kind_of_body_cannot_be_passed_off_as_another),
        cmocka_unit_test(every_key_of_the_ring_is_accepted_and_the_first_sends),
        cmocka_unit_test(a_ring_that_changes_loses_nothing_and_never_repeats_a_nonce),
        cmocka_unit_test(any_number_of_senders_is_heard_in_any_order_with_forgeries_between),
        cmocka_unit_test(the_envelope_is_made_as_the_header_says),
        cmocka_unit_test(a_counter_is_accepted_once_and_only_while_recent),
        cmocka_unit_test(the_window_agrees_with_a_list_of_everything_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
