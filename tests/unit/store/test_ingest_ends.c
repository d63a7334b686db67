#include "ingest_fixture.h"

#include <dirent.h>
#include <sys/resource.h>

/* --- how it ends --- */

static void a_commit_is_told_and_a_descriptor_stays_good(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 3000);
    open_it(f);
    int fd = ingest_dup(f->ingest);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    download_write(&d, 3000, 2000);
    download_commit(&d); /* with the last write, in one turn */
    expect(f, INGEST_COMMITTED, 5000, 5000);
    char bytes[5001];
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 5000);
    assert_int_equal(bytes[4999], download_byte(4999));
    (void)close(fd);
    assert_int_equal(unlink(d.blob), 0); /* collected: nothing is said any more */
    f->changes = 0;
    run_for(f, LIMIT_INGEST_LOOK_MS + 50);
    assert_int_equal(f->changes, 0);
    assert_int_equal(ingest_state(f->ingest), INGEST_COMMITTED);
    fd = ingest_dup(f->ingest);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 5000);
    (void)close(fd);
}

static void a_blob_of_another_size_than_its_total_has_that_size(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 3000);
    open_it(f);
    download_commit(&d);
    expect(f, INGEST_COMMITTED, 3000, 3000);
}

static void an_abort_is_told(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 3000);
    open_it(f);
    download_abort(&d);
    expect(f, INGEST_GONE, 3000, 5000);
    assert_int_equal(f->changes, 1);
    assert_int_equal(ingest_dup(f->ingest), -ENOENT);
}

static void one_whose_digest_was_committed_by_another_is_gone(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "6");
    download_write(&d, 0, 6);
    open_it(f);
    (void)place_blob(&f->place, "a blob"); /* the same digest, another inode */
    download_abort(&d);                    /* what containerd does on that collision */
    expect(f, INGEST_GONE, 6, 6);
}

static void one_renamed_elsewhere_is_gone(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    struct digest other;
    digest_of("another", 7, &other);
    struct download wrong = download_of(&f->place, "layer", &other);
    download_write(&d, 0, 5000);
    open_it(f);
    assert_int_equal(rename(d.data, wrong.blob), 0);
    expect(f, INGEST_GONE, 5000, 5000);
    (void)close(d.fd);
}

static void one_that_shrinks_is_gone_and_can_be_opened_anew(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 3000);
    open_it(f);
    assert_int_equal(ftruncate(d.fd, 0), 0);
    expect(f, INGEST_GONE, 3000, 5000);
    ingest_reopen(f->ingest);
    assert_int_equal(ingest_state(f->ingest), INGEST_GROWING);
    assert_int_equal(ingest_size(f->ingest), 0);
    assert_int_equal(lseek(d.fd, 0, SEEK_SET), 0);
    download_write(&d, 0, 5000);
    expect(f, INGEST_GROWING, 5000, 5000);
    download_commit(&d);
    expect(f, INGEST_COMMITTED, 5000, 5000);
}

static void one_written_again_from_its_start_is_gone(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 3000);
    open_it(f);
    assert_int_equal(lseek(d.fd, 0, SEEK_SET), 0);
    for (int n = 0; n < 3; n++) {
        download_write(&d, 0, 500);
        run_for(f, 50);
    }
    expect(f, INGEST_GONE, 3000, 5000);
    download_abort(&d);
}

static void a_retry_on_the_same_path_is_followed_anew(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    download_write(&d, 0, 3000);
    open_it(f);
    f->reopen_inside = true;
    download_abort(&d);
    expect(f, INGEST_ABSENT, 0, -1);
    d = begin(f, "5000");
    expect(f, INGEST_GROWING, 0, 5000);
    download_write(&d, 0, 100);
    download_abort(&d); /* and again, all in one turn */
    d = begin(f, "5000");
    download_write(&d, 0, 200);
    expect(f, INGEST_GROWING, 200, 5000);
    download_abort(&d);
}

/* --- events that are lost --- */

/* Takes away what the kernel had to tell, on all inotify descriptors of this process. */
static void lose_events(void)
{
    DIR *fds = opendir("/proc/self/fd");
    assert_non_null(fds);
    for (struct dirent *e; (e = readdir(fds));) {
        char path[300], target[64] = "", events[65536];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "inotify")) {
            while (read(atoi(e->d_name), events, sizeof events) > 0) {
            }
        }
    }
    (void)closedir(fds);
}

static void whatever_was_missed_is_seen_by_looking_now_and_then(void **state)
{
    struct follow *f = *state;
    open_it(f);
    struct download d = begin(f, "5000");
    lose_events();
    expect(f, INGEST_GROWING, 0, 5000);
    download_write(&d, 0, 3000);
    lose_events();
    expect(f, INGEST_GROWING, 3000, 5000);
    download_write(&d, 3000, 2000);
    download_commit(&d);
    lose_events();
    expect(f, INGEST_COMMITTED, 5000, 5000);
    assert_int_equal(unlink(d.blob), 0);
    ingest_reopen(f->ingest);
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    d = begin(f, "5000");
    expect(f, INGEST_GROWING, 0, 5000);
    download_abort(&d);
    lose_events();
    expect(f, INGEST_GONE, 0, 5000);
}

static void without_descriptors_to_spare_it_is_found_later(void **state)
{
    struct follow *f = *state;
    struct download d = begin(f, "5000");
    struct rlimit usual, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    open_it(f);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_equal(ingest_state(f->ingest), INGEST_ABSENT);
    expect(f, INGEST_GROWING, 0, 5000);
    download_abort(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_commit_is_told_and_a_descriptor_stays_good),
        TEST(a_blob_of_another_size_than_its_total_has_that_size),
        TEST(an_abort_is_told),
        TEST(one_whose_digest_was_committed_by_another_is_gone),
        TEST(one_renamed_elsewhere_is_gone),
        TEST(one_that_shrinks_is_gone_and_can_be_opened_anew),
        TEST(one_written_again_from_its_start_is_gone),
        TEST(a_retry_on_the_same_path_is_followed_anew),
        TEST(whatever_was_missed_is_seen_by_looking_now_and_then),
        TEST(without_descriptors_to_spare_it_is_found_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
