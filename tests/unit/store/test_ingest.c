#include "ingest_fixture.h"

/* --- finding --- */

static void its_directory_is_named_after_its_reference(void **state)
{
    /* printf 'k8s.io/1/layer-sha256:%064d' 0 | sha256sum */
    struct follow *f = *state;
    struct digest zeros = {{0}};
    struct download d = download_of(&f->place, "layer", &zeros);
    assert_string_equal(strrchr(d.directory, '/') + 1,
                        "f1ab3c1467780aeb5bcb333b5306f72e347bf2c02c12f4a1fd9397850be17be7");
}

static void one_that_is_under_way_is_found_at_once_whatever_it_holds(void **state)
{
    static const char *const kinds[] = {"layer", "config",      "manifest",
                                        "index", "attestation", "unknown"};
    struct follow *f = *state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct download d = download_begin(&f->place, kinds[k], &f->digest, "5000");
        download_write(&d, 0, 1000);
        open_it(f);
        assert_int_equal(ingest_state(f->ingest), INGEST_GROWING);
        assert_int_equal(ingest_size(f->ingest), 1000);
        assert_int_equal(ingest_total(f->ingest), 5000);
        assert_int_equal(f->changes, 0);
        ingest_close(f->ingest);
        f->ingest = NULL;
        download_abort(&d);
    }
}

static void one_of_another_name_space_or_digest_is_not_it(void **state)
{
    struct follow *f = *state;
    struct digest other;
    digest_of("another", 7, &other);
    struct download d = download_begin(&f->place, "layer", &other, "5000");
    struct ingests *elsewhere;
    open_it(f);
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    assert_int_equal(ingests_new(f->place.loop, f->place.dir, "moby", &elsewhere), 0);
    struct ingest *i;
    assert_int_equal(ingest_open(elsewhere, &other, changed, f, &i), 0);
    assert_int_equal(ingest_state(i), INGEST_ABSENT);
    ingest_close(i);
    ingests_free(elsewhere);
    download_abort(&d);
}

static void its_appearing_is_told_even_where_no_directory_was(void **state)
{
    struct follow *f = *state;
    open_it(f);
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    assert_int_equal(ingest_size(f->ingest), 0);
    assert_int_equal(ingest_total(f->ingest), -1);
    assert_int_equal(ingest_dup(f->ingest), -ENOENT);
    make_ingest_directory(f);
    struct download d = begin(f, "5000");
    expect(f, INGEST_GROWING, 0, 5000);
    assert_true(f->changes > 0);
    download_abort(&d);
}

static void
data_that_comes_long_after_its_directory_is_seen_without_waiting_for_the_timer(void **state)
{
    struct follow *f = *state;
    uint64_t waited_ms = 0;
    for (int round = 0; round < 10; round++) {
        open_it(f);
        struct download d = download_of(&f->place, "layer", &f->digest);
        download_prepare(&d, "5000");
        run_for(f, 30);
        assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
        uint64_t from_ms = clock_now_us() / 1000;
        download_open(&d);
        expect(f, INGEST_GROWING, 0, 5000);
        waited_ms += clock_now_us() / 1000 - from_ms;
        ingest_close(f->ingest);
        f->ingest = NULL;
        download_abort(&d);
    }
    assert_true(waited_ms < 10 * LIMIT_INGEST_LOOK_MS / 3);
}

static void what_is_no_regular_file_is_not_opened(void **state)
{
    struct follow *f = *state;
    struct download d = download_of(&f->place, "layer", &f->digest);
    download_prepare(&d, "5000");
    assert_int_equal(mkfifo(d.data, 0644), 0);
    open_it(f); /* and does not hang */
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    assert_int_equal(unlink(d.data), 0);
    assert_int_equal(symlink("/etc/passwd", d.data), 0);
    run_for(f, 50);
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    assert_int_equal(unlink(d.data), 0);
    assert_int_equal(mkdir(d.data, 0755), 0);
    run_for(f, 50);
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    assert_int_equal(rmdir(d.data), 0);
    download_open(&d);
    expect(f, INGEST_GROWING, 0, 5000);
    download_abort(&d);
}

/* --- its size and its total --- */

static void each_growth_is_told_sooner_than_the_timer_would(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "20000");
    open_it(f);
    uint64_t from_ms = clock_now_us() / 1000, grown_ms = ingest_grown_ms(f->ingest);
    for (int n = 1; n <= 20; n++) {
        download_write(&d, 0, 1000);
        expect(f, INGEST_GROWING, n * 1000, 20000);
        assert_int_equal(f->changes, n);
        assert_true(ingest_grown_ms(f->ingest) >= grown_ms);
        grown_ms = ingest_grown_ms(f->ingest);
    }
    assert_true(clock_now_us() / 1000 - from_ms < 20 * LIMIT_INGEST_LOOK_MS / 3);
    download_abort(&d);
}

static void many_growths_of_one_turn_are_told_once(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "20000");
    open_it(f);
    for (int n = 0; n < 20; n++) {
        download_write(&d, 0, 1000);
        (void)fchmod(d.fd, 0640 + (unsigned)n % 2); /* so that the kernel cannot merge events */
    }
    expect(f, INGEST_GROWING, 20000, 20000);
    run_for(f, 50);
    assert_int_equal(f->changes, 1);
    download_abort(&d);
}

static void a_pause_changes_nothing_and_growth_goes_on_after_it(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 2000);
    open_it(f);
    (void)close(d.fd);
    run_for(f, LIMIT_INGEST_LOOK_MS * 2 + 100);
    assert_int_equal(f->changes, 0);
    assert_int_equal(ingest_state(f->ingest), INGEST_GROWING);
    assert_true(loop_now_ms(f->place.loop) - ingest_grown_ms(f->ingest) >= LIMIT_INGEST_LOOK_MS);
    download_open(&d); /* a new writer, which goes on where the last one was */
    assert_int_equal(lseek(d.fd, 0, SEEK_END), 2000);
    download_write(&d, 2000, 3000);
    expect(f, INGEST_GROWING, 5000, 5000);
    download_commit(&d);
    expect(f, INGEST_COMMITTED, 5000, 5000);
}

static void a_total_is_a_number_above_zero_or_unknown(void **state)
{
    static const struct {
        const char *text;
        int64_t total;
        unsigned bad;
    } rows[] = {
        {NULL, -1, 0},
        {"", -1, 0}, /* about to be written */
        {"1", 1, 0},
        {"33554432", 33554432, 0},
        {"9223372036854775807", INT64_MAX, 0},
        {"9223372036854775808", -1, 1},
        {"99999999999999999999999999999999", -1, 1},
        {"0", -1, 1},
        {"-5", -1, 1},
        {"+5", -1, 1},
        {" 5", -1, 1},
        {"5 ", -1, 1},
        {"5\n", -1, 1},
        {"0x10", -1, 1},
        {"garbage", -1, 1},
    };
    struct follow *f = *state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        uint64_t bad = ingests_bad_totals(f->ingests);
        struct download d = begin(f, rows[r].text);
        open_it(f);
        assert_int_equal(ingest_state(f->ingest), INGEST_GROWING);
        download_write(&d, 0, 100);
        expect(f, INGEST_GROWING, 100, rows[r].total);
        assert_int_equal(ingests_bad_totals(f->ingests) - bad, rows[r].bad);
        ingest_close(f->ingest);
        f->ingest = NULL;
        download_abort(&d);
    }
}

static void a_total_that_comes_late_is_told(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, NULL);
    open_it(f);
    download_file(&d, "total", "5000");
    download_write(&d, 0, 100);
    expect(f, INGEST_GROWING, 100, 5000);
    download_abort(&d);
}

static void a_total_that_is_a_pipe_or_a_link_is_unknown(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, NULL);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/total", d.directory);
    assert_int_equal(mkfifo(path, 0644), 0);
    open_it(f);
    assert_int_equal(ingest_total(f->ingest), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/proc/sys/kernel/pid_max", path), 0);
    download_write(&d, 0, 100);
    expect(f, INGEST_GROWING, 100, -1);
    download_abort(&d);
}

/* --- several, and memory --- */

#define READERS 30

static unsigned told[READERS];

static void reader_changed(void *arg)
{
    ++*(unsigned *)arg;
}

static bool all_are_told(void *arg)
{
    const unsigned *times = arg;
    for (int r = 0; r < READERS; r++) {
        if (told[r] < *times) {
            return false;
        }
    }
    return true;
}

static void many_may_follow_one_download_and_leave_when_they_like(void **state)
{
    struct follow *f = *state;
    struct ingest *readers[READERS];
    struct download d = begin(f, "5000");
    unsigned times = 1;
    memset(told, 0, sizeof told);
    for (int r = 0; r < READERS; r++) {
        assert_int_equal(ingest_open(f->ingests, &f->digest, reader_changed, &told[r], &readers[r]),
                         0);
    }
    download_write(&d, 0, 1000);
    assert_true(place_until(&f->place, all_are_told, &times));
    for (int r = 0; r < READERS; r += 2) {
        ingest_close(readers[r]);
        told[r] = 100;
    }
    times = 2;
    download_write(&d, 1000, 1000);
    assert_true(place_until(&f->place, all_are_told, &times));
    for (int r = 1; r < READERS; r += 2) {
        assert_int_equal(ingest_size(readers[r]), 2000);
        assert_int_equal(told[r], 2);
        ingest_close(readers[r]);
    }
    download_abort(&d);
}

static void it_may_be_closed_inside_its_callback(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    open_it(f);
    f->close_inside = true;
    download_write(&d, 0, 1000);
    run_for(f, 50);
    assert_null(f->ingest);
    assert_int_equal(f->changes, 1);
    download_abort(&d);
}

static void paths_and_names_too_long_or_relative_are_refused(void **state)
{
    struct follow *f = *state;
    struct ingests *s;
    char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    longest[0] = '/';
    assert_int_equal(ingests_new(f->place.loop, longest, "k8s.io", &s), -EINVAL);
    assert_int_equal(ingests_new(f->place.loop, "relative", "k8s.io", &s), -EINVAL);
    longest[400] = 0;
    assert_int_equal(ingests_new(f->place.loop, f->place.dir, longest, &s), -EINVAL);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 1000);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct ingests *s = NULL;
        struct ingest *i = NULL;
        int r = ingests_new(f->place.loop, f->place.dir, "k8s.io", &s);
        if (r == 0) {
            r = ingest_open(s, &f->digest, changed, f, &i);
        }
        assert_true(r == 0 || r == -ENOMEM);
        if (i) {
            assert_int_equal(ingest_size(i), 1000);
        }
        ingest_close(i);
        ingests_free(s);
    });
    download_abort(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(its_directory_is_named_after_its_reference),
        TEST(one_that_is_under_way_is_found_at_once_whatever_it_holds),
        TEST(one_of_another_name_space_or_digest_is_not_it),
        cmocka_unit_test_setup_teardown(its_appearing_is_told_even_where_no_directory_was,
                                        setup_without_directory, teardown),
        TEST(data_that_comes_long_after_its_directory_is_seen_without_waiting_for_the_timer),
        TEST(what_is_no_regular_file_is_not_opened),
        TEST(each_growth_is_told_sooner_than_the_timer_would),
        TEST(many_growths_of_one_turn_are_told_once),
        TEST(a_pause_changes_nothing_and_growth_goes_on_after_it),
        TEST(a_total_is_a_number_above_zero_or_unknown),
        TEST(a_total_that_comes_late_is_told),
        TEST(a_total_that_is_a_pipe_or_a_link_is_unknown),
        TEST(many_may_follow_one_download_and_leave_when_they_like),
        TEST(it_may_be_closed_inside_its_callback),
        TEST(paths_and_names_too_long_or_relative_are_refused),
        TEST(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
