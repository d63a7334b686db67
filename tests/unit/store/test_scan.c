#include <errno.h>

#include "base/limits.h"
#include "store/blob_file.h"
#include "store/place.h"
#include "store/scan.h"

struct scene {
    struct place place;
    struct scan *scan;
    size_t batches, blobs, manifests;
    int64_t bytes;
    int statuses[64];
    bool done, stop_early;
    int status;
};

static void batch(void *arg, const struct scan_blob *blobs, size_t count)
{
    struct scene *s = arg;
    s->batches++;
    s->blobs += count;
    assert_true(count > 0 && count <= LIMIT_SCAN_BLOBS);
    for (size_t i = 0; i < count; i++) {
        s->bytes += blobs[i].size_bytes;
    }
    if (s->stop_early) {
        scan_free(s->scan);
    }
}

static void manifest(void *arg, const struct digest *d, int status, const struct manifest *m,
                     const struct error *err)
{
    struct scene *s = arg;
    (void)d;
    assert_int_equal(m != NULL, status == 0);
    assert_true(status == 0 || err->text[0]);
    assert_true(s->manifests < 64);
    s->statuses[s->manifests++] = status;
    if (s->stop_early) {
        scan_free(s->scan);
    }
}

static void done(void *arg, int status)
{
    struct scene *s = arg;
    assert_false(s->done);
    s->done = true;
    s->status = status;
}

static bool is_done(void *arg)
{
    return ((struct scene *)arg)->done;
}

static bool has_begun(void *arg)
{
    struct scene *s = arg;
    return s->batches + s->manifests > 0;
}

static void a_directory_is_listed_in_steps(void **state)
{
    (void)state;
    struct scene s = {0};
    char path[256];
    place_init(&s.place);
    for (unsigned i = 0; i < LIMIT_SCAN_BLOBS + 50; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%04u", i);
        (void)place_blob(&s.place, text);
    }
    place_write(&s.place, "blobs/sha256/short", "x", 1);
    (void)snprintf(path, sizeof path, "%s/blobs/sha256/%064d", s.place.dir, 0);
    assert_int_equal(mkdir(path, 0700), 0); /* the name of a digest, and no file */
    (void)snprintf(path, sizeof path, "%s/blobs/sha256/%064d", s.place.dir, 1);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(scan_blobs(s.place.loop, s.place.dir, batch, done, &s, &s.scan), 0);
    assert_int_equal(s.batches, 0);
    assert_true(place_until(&s.place, is_done, &s));
    assert_int_equal(s.status, 0);
    assert_int_equal(s.blobs, LIMIT_SCAN_BLOBS + 50);
    assert_int_equal(s.bytes, 4 * (LIMIT_SCAN_BLOBS + 50));
    assert_int_equal(s.batches, 2);
    place_done(&s.place);
}

static void a_missing_directory_is_an_empty_one(void **state)
{
    (void)state;
    struct scene s = {0};
    place_init(&s.place);
    assert_int_equal(scan_blobs(s.place.loop, "/proc/nowhere", batch, done, &s, &s.scan), 0);
    assert_true(place_until(&s.place, is_done, &s));
    assert_int_equal(s.status, 0);
    assert_int_equal(s.blobs, 0);
    place_done(&s.place);
}

static void manifests_are_verified_before_they_are_parsed(void **state)
{
    (void)state;
    struct scene s = {0};
    place_init(&s.place);
    struct digest good = place_blob(&s.place, "{\"layers\":[]}"), absent, wrong, empty;
    struct digest text = place_blob(&s.place, "no manifest");
    char name[128];
    digest_of("absent", 6, &absent);
    digest_of("{\"layers\":[],\"x\":1}", 19, &wrong);
    place_blob_name(&wrong, name);
    place_write(&s.place, name, "{\"layers\":[],\"x\":2}", 19); /* would parse, too */
    empty = place_blob(&s.place, "");
    const struct scan_wanted wanted[] = {
        {good, s.place.dir}, {absent, s.place.dir}, {wrong, s.place.dir},
        {text, s.place.dir}, {empty, s.place.dir},  {good, "/proc/nowhere"},
    };
    assert_int_equal(scan_manifests(s.place.loop, wanted, 6, manifest, done, &s, &s.scan), 0);
    assert_true(place_until(&s.place, is_done, &s));
    const int expected[] = {0, -ENOENT, -EBADMSG, -EPROTO, -EPROTO, -ENOENT};
    assert_int_equal(s.manifests, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(s.statuses[i], expected[i]);
    }
    place_done(&s.place);
}

static void a_file_too_large_is_not_read(void **state)
{
    (void)state;
    struct place p;
    char name[128], path[256];
    struct digest d;
    struct manifest m;
    struct error err = {0};
    place_init(&p);
    digest_of("x", 1, &d);
    place_blob_name(&d, name);
    place_write(&p, name, "x", 1);
    (void)snprintf(path, sizeof path, "%s/%s", p.dir, name);
    assert_int_equal(truncate(path, LIMIT_MANIFEST_BYTES + 1), 0);
    assert_int_equal(blob_file_manifest(p.dir, &d, &m, &err), -E2BIG);
    assert_true(err.text[0]);
    place_done(&p);
}

static void many_manifests_come_in_steps_and_in_order(void **state)
{
    (void)state;
    struct scene s = {0};
    struct scan_wanted wanted[40];
    place_init(&s.place);
    for (unsigned i = 0; i < 40; i++) {
        char json[64];
        (void)snprintf(json, sizeof json, i % 3 ? "{\"layers\":[],\"x\":%u}" : "no %u", i);
        wanted[i] = (struct scan_wanted){place_blob(&s.place, json), s.place.dir};
    }
    assert_int_equal(scan_manifests(s.place.loop, wanted, 40, manifest, done, &s, &s.scan), 0);
    assert_true(place_until(&s.place, is_done, &s));
    assert_int_equal(s.manifests, 40);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(s.statuses[i], i % 3 ? 0 : -EPROTO);
    }
    place_done(&s.place);
}

static bool never(void *arg)
{
    return ((struct place *)arg)->ticks > 10;
}

static void a_freed_scan_calls_nobody(void **state)
{
    (void)state;
    for (int when = 0; when < 4; when++) {
        struct scene s = {.stop_early = when >= 2};
        place_init(&s.place);
        struct scan_wanted wanted[] = {{place_blob(&s.place, "one"), s.place.dir},
                                       {place_blob(&s.place, "two"), s.place.dir}};
        int r = when % 2 ? scan_manifests(s.place.loop, wanted, 2, manifest, done, &s, &s.scan)
                         : scan_blobs(s.place.loop, s.place.dir, batch, done, &s, &s.scan);
        assert_int_equal(r, 0);
        if (s.stop_early) { /* from within its callback */
            assert_true(place_until(&s.place, has_begun, &s));
        } else {
            scan_free(s.scan);
        }
        assert_true(place_until(&s.place, never, &s.place));
        assert_false(s.done);
        assert_int_equal(s.batches + s.manifests, s.stop_early);
        place_done(&s.place);
    }
}

static void allocation_failures_leave_nothing_behind(void **state)
{
    (void)state;
    struct scene s = {0};
    place_init(&s.place);
    struct scan_wanted wanted = {place_blob(&s.place, "one"), s.place.dir};
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct scan *scan = NULL;
        int r = scan_manifests(s.place.loop, &wanted, 1, manifest, done, &s, &scan);
        assert_true(r == 0 || r == -ENOMEM);
        scan_free(scan);
        scan = NULL;
        r = scan_blobs(s.place.loop, s.place.dir, batch, done, &s, &scan);
        assert_true(r == 0 || r == -ENOMEM);
        scan_free(scan);
    });
    place_done(&s.place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_is_listed_in_steps),
        cmocka_unit_test(a_missing_directory_is_an_empty_one),
        cmocka_unit_test(manifests_are_verified_before_they_are_parsed),
        cmocka_unit_test(a_file_too_large_is_not_read),
        cmocka_unit_test(many_manifests_come_in_steps_and_in_order),
        cmocka_unit_test(a_freed_scan_calls_nobody),
        cmocka_unit_test(allocation_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
