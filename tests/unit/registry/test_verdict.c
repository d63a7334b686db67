#include "registry/verdict.h"

#include <string.h>

#include "base/limits.h"
#include "support.h"

#define D0 "sha256:0000000000000000000000000000000000000000000000000000000000000000"
#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"

static struct http_response plain(int status, int64_t length)
{
    struct http_response r = {.status = status, .content_length = length};
    r.range_first = r.range_last = r.range_total = r.retry_after_s = -1;
    (void)strcpy(r.content_type, "a/b");
    return r;
}

static struct http_response part(int64_t first, int64_t last, int64_t total)
{
    struct http_response r = plain(206, last - first + 1);
    r.range_first = first;
    r.range_last = last;
    r.range_total = total;
    return r;
}

/* verdict_of, with what it found and why in static storage. */
static struct want found;
static const char *outcome;
static enum verdict judge(const struct want *want, struct http_response response)
{
    memset(&found, 0xee, sizeof(found));
    outcome = NULL;
    enum verdict v = verdict_of(want, &response, &found, &outcome);
    assert_true((outcome == NULL) == (v == VERDICT_GOOD));
    return v;
}

static void a_whole_body_is_good_and_fixes_the_length(void **state)
{
    (void)state;
    const struct mirror_query q = {.kind = MIRROR_BLOB};
    const struct want want = {.query = &q, .by_digest = true};
    assert_int_equal(judge(&want, plain(200, 1000)), VERDICT_GOOD);
    assert_true(found.fixed);
    assert_false(found.partial);
    assert_int_equal(found.first, 0);
    assert_int_equal(found.last, 999);
    assert_int_equal(found.total, 1000);
    assert_int_equal(judge(&want, plain(200, 0)), VERDICT_GOOD);
    assert_int_equal(found.last, -1);
    assert_int_equal(judge(&want, plain(200, -1)), VERDICT_BAD);
    assert_int_equal(judge(&want, part(0, 999, 1000)), VERDICT_BAD); /* nobody asked for a part */
}

static void statuses_say_what_to_think_of_a_holder(void **state)
{
    (void)state;
    const struct mirror_query q = {.kind = MIRROR_BLOB};
    const struct want want = {.query = &q, .by_digest = true};
    static const struct {
        int status;
        enum verdict verdict;
    } table[] = {
        {404, VERDICT_ABSENT}, {503, VERDICT_BUSY}, {429, VERDICT_BUSY}, {401, VERDICT_BAD},
        {403, VERDICT_BAD},    {500, VERDICT_BAD},  {301, VERDICT_BAD},  {204, VERDICT_BAD},
        {416, VERDICT_BAD}, /* nobody asked for a range */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(judge(&want, plain(table[i].status, 10)), table[i].verdict);
    }
}

static void encoded_bodies_are_refused(void **state)
{
    (void)state;
    const struct mirror_query q = {.kind = MIRROR_BLOB};
    const struct want want = {.query = &q, .by_digest = true};
    struct http_response r = plain(200, 10);
    r.chunked = true;
    assert_int_equal(judge(&want, r), VERDICT_BAD);
    r = plain(200, 10);
    r.content_encoded = true;
    assert_int_equal(judge(&want, r), VERDICT_BAD);
}

static void a_clients_range_must_come_back_as_asked(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        int64_t first, last, total;
        enum verdict verdict;
    } table[] = {
        {"bytes=0-", 0, 999, 1000, VERDICT_GOOD},
        {"bytes=100-199", 100, 199, 1000, VERDICT_GOOD},
        {"bytes=100-5000", 100, 999, 1000, VERDICT_GOOD}, /* cut at the end */
        {"bytes=-10", 990, 999, 1000, VERDICT_GOOD},
        {"bytes=100-199", 100, 198, 1000, VERDICT_BAD},
        {"bytes=100-199", 0, 99, 1000, VERDICT_BAD},
        {"bytes=100-", 100, 999, -1, VERDICT_BAD},    /* total unknown */
        {"bytes=100-", 100, 1000, 1000, VERDICT_BAD}, /* beyond its own end */
        {"bytes=100-", -1, -1, 1000, VERDICT_BAD},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct mirror_query q = {.kind = MIRROR_BLOB, .range = table[i].range};
        const struct want want = {.query = &q, .by_digest = true};
        assert_int_equal(judge(&want, part(table[i].first, table[i].last, table[i].total)),
                         table[i].verdict);
        if (table[i].verdict == VERDICT_GOOD) {
            assert_true(found.partial);
            assert_int_equal(found.first, table[i].first);
            assert_int_equal(found.last, table[i].last);
        }
        assert_int_equal(judge(&want, plain(200, 1000)), VERDICT_BAD);
        struct http_response r = part(100, 199, 1000);
        r.content_length = 99;
        assert_int_equal(judge(&want, r), VERDICT_BAD);
    }
}

static void an_unsatisfiable_range_is_an_answer(void **state)
{
    (void)state;
    const struct mirror_query q = {.kind = MIRROR_BLOB, .range = "bytes=5000-"};
    const struct want want = {.query = &q, .by_digest = true};
    struct http_response r = plain(416, 0);
    assert_int_equal(judge(&want, r), VERDICT_BAD); /* without the total it is none */
    r.range_total = 1000;
    assert_int_equal(judge(&want, r), VERDICT_UNSATISFIABLE);
    assert_int_equal(found.total, 1000);
}

static void who_goes_on_must_agree_to_the_byte(void **state)
{
    (void)state;
    const struct mirror_query q = {.kind = MIRROR_BLOB, .range = "bytes=5-"};
    for (int partial = 0; partial < 2; partial++) {
        const struct want want = {.query = &q,
                                  .by_digest = true,
                                  .fixed = true,
                                  .partial = partial,
                                  .first = 500,
                                  .last = 999,
                                  .total = 1000};
        assert_int_equal(judge(&want, part(500, 999, 1000)), VERDICT_GOOD);
        assert_int_equal(found.partial, partial);
        assert_int_equal(judge(&want, part(500, 999, 1001)), VERDICT_BAD);
        assert_int_equal(judge(&want, part(500, 998, 1000)), VERDICT_BAD);
        assert_int_equal(judge(&want, part(499, 999, 1000)), VERDICT_BAD);
        assert_int_equal(judge(&want, plain(200, 1000)), VERDICT_BAD);
        struct http_response r = plain(416, 0);
        r.range_total = 1000;
        assert_int_equal(judge(&want, r), VERDICT_BAD);
    }
}

static void digests_named_in_the_head_must_fit(void **state)
{
    (void)state;
    struct mirror_query q = {.kind = MIRROR_BLOB}; /* its digest is all zero: D0 */
    struct want want = {.query = &q, .by_digest = true};
    static const struct {
        const char *digest;
        enum verdict by_digest, by_tag;
    } table[] = {
        {D0, VERDICT_GOOD, VERDICT_GOOD},       {D1, VERDICT_BAD, VERDICT_GOOD},
        {"", VERDICT_GOOD, VERDICT_BAD},        {"sha256:12", VERDICT_BAD, VERDICT_BAD},
        {"nonsense", VERDICT_BAD, VERDICT_BAD},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct http_response r = plain(200, 10);
        (void)strcpy(r.docker_content_digest, table[i].digest);
        want.by_digest = true;
        assert_int_equal(judge(&want, r), table[i].by_digest);
        want.by_digest = false;
        assert_int_equal(judge(&want, r), table[i].by_tag);
    }
}

static void manifests_have_a_size_and_a_media_type(void **state)
{
    (void)state;
    const struct mirror_query q = {.kind = MIRROR_MANIFEST, .range = "bytes=0-5"};
    const struct want want = {.query = &q, .by_digest = true, .whole_only = true};
    assert_int_equal(judge(&want, plain(200, LIMIT_VERIFIED_MANIFEST_BYTES)), VERDICT_GOOD);
    assert_int_equal(judge(&want, plain(200, LIMIT_VERIFIED_MANIFEST_BYTES + 1)), VERDICT_BAD);
    assert_int_equal(judge(&want, plain(200, 0)), VERDICT_BAD);
    struct http_response r = plain(200, 10);
    r.content_type[0] = 0;
    assert_int_equal(judge(&want, r), VERDICT_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_body_is_good_and_fixes_the_length),
        cmocka_unit_test(statuses_say_what_to_think_of_a_holder),
        cmocka_unit_test(encoded_bodies_are_refused),
        cmocka_unit_test(a_clients_range_must_come_back_as_asked),
        cmocka_unit_test(an_unsatisfiable_range_is_an_answer),
        cmocka_unit_test(who_goes_on_must_agree_to_the_byte),
        cmocka_unit_test(digests_named_in_the_head_must_fit),
        cmocka_unit_test(manifests_have_a_size_and_a_media_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
