/* Corrupt copies of large blobs: met once, never twice (architecture.md, "Failing", "Doubt"). */
#include <fcntl.h>
#include <sys/stat.h>

#include "registry/mirror_fixture.h"

static const struct mirror_counters *count(struct mirror_fixture *f)
{
    return mirror_counters(f->mirror);
}

static bool was_told(void *arg)
{
    struct scripted_peer *p = arg;
    return atomic_load(&p->told) > 0;
}

static void a_corrupt_copy_is_doubted_told_and_avoided(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_CORRUPT, 12345);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f); /* relayed unverified: containerd's own check fails */
    assert_int_equal(f->client.body_bytes, BLOB_BYTES);
    assert_memory_not_equal(f->body, f->blob, BLOB_BYTES);
    assert_int_equal(count(f)->bytes_verified, 0);

    fixture_get(f); /* from the start again: another holder, and hashed */
    assert_whole_blob(f);
    assert_int_equal(count(f)->doubted, 1);
    assert_int_equal(count(f)->bytes_verified, BLOB_BYTES);
    assert_int_equal(count(f)->mismatches, 0);
    assert_true(loop_run_until(f->loop, was_told, &f->peers[0], 1000));
    char line[128];
    (void)snprintf(line, sizeof(line), "\r\nX-Spegel-Doubt: %s\r\n", f->blob_digest);
    assert_non_null(strstr(f->peers[0].last_request, line));
    assert_int_equal(strncmp(f->peers[0].last_request, "HEAD /v2/library/app/blobs/", 27), 0);
    assert_int_equal(atomic_load(&f->peers[1].told), 0);
}

static void a_lone_corrupt_copy_is_cut_before_its_end_then_excluded(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_CORRUPT, 12345);
    fixture_get(f);
    assert_int_equal(f->client.body_bytes, BLOB_BYTES);
    fixture_get(f); /* it is all there is, so it is tried, but hashed */
    assert_cut_short(f, BLOB_BYTES / 2);
    assert_int_equal(count(f)->mismatches, 1);
    assert_int_equal(count(f)->excluded, 1);
    assert_int_equal(count(f)->cut_short, 1);
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
    fixture_run(f, "GET", "Range: bytes=16000000-\r\n");
    assert_int_equal(f->client.status, 404);
    static const uint8_t node[6] = {0, 1, 2, 3, 4, 5};
    mirror_node_restarted(f->mirror, node); /* it may have been repaired */
    atomic_store(&f->peers[0].script, SCRIPT_GOOD);
    fixture_get(f);
    assert_whole_blob(f);
}

/* Bad only near its end: the part that was held back comes from elsewhere. */
static void the_range_retry_after_a_mismatch_is_served_by_another(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_CORRUPT, BLOB_BYTES - 1);
    fixture_get(f);
    fixture_get(f);
    assert_cut_short(f, BLOB_BYTES / 2);
    int64_t got = f->client.body_bytes;
    assert_memory_equal(f->body, f->blob, (size_t)got);
    fixture_add(f, SCRIPT_GOOD, 0); /* somebody has pulled it meanwhile */
    char range[64];
    (void)snprintf(range, sizeof(range), "Range: bytes=%lld-\r\n", (long long)got);
    fixture_run(f, "GET", range);
    assert_int_equal(f->client.status, 206);
    assert_int_equal(f->client.body_bytes, BLOB_BYTES - got);
    assert_memory_equal(f->body, f->blob + got, (size_t)(BLOB_BYTES - got));
    assert_int_equal(atomic_load(&f->peers[0].requests), 4); /* two bodies; doubt, and proof */
}

static void what_containerd_holds_is_not_doubted(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    f->held = true;
    fixture_get(f);
    assert_whole_blob(f);
    assert_int_equal(count(f)->doubted, 0);
    assert_int_equal(count(f)->bytes_verified, 0);
}

static void a_match_clears_the_doubt(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    for (int i = 0; i < 3; i++) {
        fixture_get(f);
        assert_whole_blob(f);
    }
    /* delivered; doubted, hashed and cleared; and so unverified again */
    assert_int_equal(count(f)->doubted, 1);
    assert_int_equal(count(f)->bytes_verified, BLOB_BYTES);
    assert_int_equal(count(f)->bytes_spliced, 2 * (uint64_t)BLOB_BYTES);
}

static void neither_neighbours_nor_aborted_pulls_raise_doubt(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    f->query.local_client = false;
    fixture_get(f);
    fixture_get(f);
    f->query.local_client = true;
    f->client.abort_at = 100000;
    f->client.receive_buffer = 8192;
    fixture_get(f);
    fixture_get(f);
    assert_whole_blob(f);
    assert_int_equal(count(f)->doubted, 0);
}

/* Its beginning from one request, the rest from another one's Range: both holders are doubted. */
static void pieces_of_two_requests_are_doubted_together(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_SHORT, 1000000);
    fixture_get(f);
    assert_int_equal(f->client.body_bytes, 1000000);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_run(f, "GET", "Range: bytes=1000000-\r\n");
    assert_int_equal(f->client.status, 206);
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    assert_whole_blob(f);
    assert_int_equal(count(f)->doubted, 2);
    assert_int_equal(atomic_load(&f->peers[2].requests), 1); /* neither of the two */
}

/* --- our own copy --- */

struct own {
    struct mirror_fixture *f;
    unsigned wrong;
};

static void on_wrong(void *arg, const struct digest *digest)
{
    struct own *own = arg;
    assert_true(digest_equal(digest, &own->f->query.digest));
    own->wrong++;
}

static int file_with(const char *bytes, size_t n)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    return fd;
}

static bool is_wrong(void *arg)
{
    return ((struct own *)arg)->wrong > 0;
}

static void our_own_copy_is_hashed_once_an_hour(void **state)
{
    struct mirror_fixture *f = *state;
    struct own own = {.f = f};
    char zeros[1000] = {0};
    int fd = file_with(zeros, sizeof(zeros));
    mirror_check_own(f->mirror, &f->query.digest, dup(fd), on_wrong, &own);
    assert_int_equal(own.wrong, 0);
    assert_true(loop_run_until(f->loop, is_wrong, &own, 2000));
    mirror_check_own(f->mirror, &f->query.digest, dup(fd), on_wrong, &own);
    own.wrong = 0;
    assert_false(loop_run_until(f->loop, is_wrong, &own, 100));
    close(fd);
}

static void a_right_copy_of_our_own_stays(void **state)
{
    struct mirror_fixture *f = *state;
    struct own own = {.f = f};
    mirror_check_own(f->mirror, &f->query.digest, file_with(f->blob, BLOB_BYTES), on_wrong, &own);
    assert_false(loop_run_until(f->loop, is_wrong, &own, 300));
}

static void a_check_under_way_survives_the_mirror(void **state)
{
    struct mirror_fixture *f = *state;
    struct own own = {.f = f};
    for (uint8_t i = 0; i < 3; i++) {
        struct digest digest = f->query.digest;
        digest.bytes[0] = (uint8_t)(digest.bytes[0] + i);
        mirror_check_own(f->mirror, &digest, file_with(f->blob, BLOB_BYTES), on_wrong, &own);
    }
    server_free(f->server);
    f->server = NULL;
    mirror_free(f->mirror);
    f->mirror = NULL;
    (void)loop_run_until(f->loop, is_wrong, &own, 200);
    assert_int_equal(own.wrong, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_corrupt_copy_is_doubted_told_and_avoided),
        TEST(a_lone_corrupt_copy_is_cut_before_its_end_then_excluded),
        TEST(the_range_retry_after_a_mismatch_is_served_by_another),
        TEST(what_containerd_holds_is_not_doubted),
        TEST(a_match_clears_the_doubt),
        TEST(neither_neighbours_nor_aborted_pulls_raise_doubt),
        TEST(pieces_of_two_requests_are_doubted_together),
        TEST(our_own_copy_is_hashed_once_an_hour),
        TEST(a_right_copy_of_our_own_stays),
        TEST(a_check_under_way_survives_the_mirror),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
