/* A real file on a real loop, looked at every LIMIT_KEY_FILE_LOOK_MS. */
#include "cluster/key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "scripted_peer.h"

#define ONES "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define AS "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="

struct fixture {
    struct loop *loop;
    char dir[64], path[96];
    struct key_file *file;
    struct key_ring told; /* what `changed` was last called with */
    unsigned changes;
    int answer; /* of `changed` */
    uint64_t failures_wanted;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *f = (struct fixture){.dir = "/tmp/spegel-key-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/keys", f->dir);
    assert_int_equal(loop_new(&f->loop), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    key_file_free(f->file);
    loop_free(f->loop);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void write_text(const char *path, const char *text)
{
    char beside[128];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(beside, path), 0);
}

static int on_changed(void *arg, const struct key_ring *ring)
{
    struct fixture *f = arg;
    f->told = *ring;
    f->changes++;
    return f->answer;
}

static int start(struct fixture *f, struct error *err)
{
    return key_file_new(f->loop, f->path, on_changed, f, &f->file, err);
}

static bool has_changed(void *arg)
{
    const struct fixture *f = arg;
    return f->changes > 0;
}

static bool has_failed(void *arg)
{
    const struct fixture *f = arg;
    return key_file_counters(f->file)->failures >= f->failures_wanted;
}

static void wait_change(struct fixture *f, uint8_t first, size_t count)
{
    f->changes = 0;
    assert_true(loop_run_until(f->loop, has_changed, f, 5 * LIMIT_KEY_FILE_LOOK_MS));
    assert_int_equal(f->changes, 1);
    assert_int_equal(f->told.keys[0][0], first);
    assert_int_equal(f->told.count, count);
}

static void wait_failures(struct fixture *f, uint64_t more)
{
    f->failures_wanted = key_file_counters(f->file)->failures + more;
    assert_true(loop_run_until(f->loop, has_failed, f, (more + 4) * LIMIT_KEY_FILE_LOOK_MS));
}

static void a_file_that_cannot_be_used_ends_the_start(void **state)
{
    struct fixture *f = *state;
    char longer[LIMIT_KEY_FILE_BYTES + 2];
    struct error err;
    assert_int_equal(start(f, &err), -ENOENT);
    assert_non_null(strstr(err.text, f->path));
    write_text(f->path, ONES "\nswordfish\n");
    assert_int_equal(start(f, &err), -EINVAL);
    assert_non_null(strstr(err.text, f->path));
    assert_non_null(strstr(err.text, "line 2"));
    write_text(f->path, "# none yet\n");
    assert_int_equal(start(f, &err), -EINVAL);
    memset(longer, '\n', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    write_text(f->path, longer);
    assert_int_equal(start(f, &err), -E2BIG);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(start(f, &err), -EINVAL);
    assert_int_equal(rmdir(f->path), 0);
    assert_int_equal(mkfifo(f->path, 0600), 0); /* without a writer, and it does not wait for one */
    assert_int_equal(start(f, &err), -EINVAL);
    assert_non_null(strstr(err.text, "not a regular file"));
}

static void a_file_as_long_as_may_be_is_read(void **state)
{
    struct fixture *f = *state;
    char text[LIMIT_KEY_FILE_BYTES + 1];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = 0;
    memcpy(text + sizeof text - 1 - strlen(ONES), ONES, strlen(ONES));
    write_text(f->path, text);
    assert_int_equal(start(f, NULL), 0);
    assert_int_equal(key_file_ring(f->file)->count, 1);
}

static void a_new_file_is_taken_up_and_a_bad_one_changes_nothing(void **state)
{
    struct fixture *f = *state;
    write_text(f->path, ONES "\n");
    assert_int_equal(start(f, NULL), 0);
    assert_int_equal(f->changes, 0); /* the first ring is for whoever asks */
    assert_int_equal(key_file_ring(f->file)->keys[0][0], 1);
    write_text(f->path, ONES "\n" AS "\n");
    wait_change(f, 1, 2);
    write_text(f->path, AS "\n" ONES "\n");
    wait_change(f, 0x41, 2);
    assert_int_equal(key_file_counters(f->file)->loads, 3);

    f->changes = 0;
    write_text(f->path, AS "\nswordfish\n");
    wait_failures(f, 1);
    assert_int_equal(unlink(f->path), 0);
    wait_failures(f, 1);
    write_text(f->path, "# the same\n" AS "\n\n" ONES); /* reads the same, so nothing changed */
    uint64_t failures = key_file_counters(f->file)->failures;
    assert_false(loop_run_until(f->loop, has_changed, f, 2 * LIMIT_KEY_FILE_LOOK_MS));
    assert_int_equal(key_file_ring(f->file)->keys[0][0], 0x41);
    assert_int_equal(key_file_counters(f->file)->failures, failures);
    assert_int_equal(key_file_counters(f->file)->loads, 3);
}

/* Kubernetes: keys -> ..data/keys, ..data -> ..<time>; an update renames a new ..data into place
 * and takes the old directory away. */
static void a_secret_is_swapped_under_its_links(void **state)
{
    struct fixture *f = *state;
    char path[128], data[128], beside[128];
    (void)snprintf(data, sizeof data, "%s/..data", f->dir);
    (void)snprintf(beside, sizeof beside, "%s/..data_tmp", f->dir);
    for (int time = 1; time <= 2; time++) {
        char name[8];
        (void)snprintf(name, sizeof name, "..%d", time);
        (void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
        assert_int_equal(mkdir(path, 0700), 0);
        (void)snprintf(path, sizeof path, "%s/%s/keys", f->dir, name);
        write_text(path, time == 1 ? ONES "\n" : AS "\n" ONES "\n");
    }
    assert_int_equal(symlink("..1", data), 0);
    assert_int_equal(symlink("..data/keys", f->path), 0);
    assert_int_equal(start(f, NULL), 0);
    assert_int_equal(key_file_ring(f->file)->keys[0][0], 1);
    assert_int_equal(symlink("..2", beside), 0);
    assert_int_equal(rename(beside, data), 0);
    wait_change(f, 0x41, 2);
}

static void a_ring_that_is_not_taken_is_offered_again(void **state)
{
    struct fixture *f = *state;
    write_text(f->path, ONES "\n");
    assert_int_equal(start(f, NULL), 0);
    f->answer = -ENOMEM;
    write_text(f->path, AS "\n");
    wait_failures(f, 1);
    assert_int_equal(key_file_ring(f->file)->keys[0][0], 1);
    f->answer = 0;
    wait_change(f, 0x41, 1);
    assert_int_equal(key_file_ring(f->file)->keys[0][0], 0x41);
}

static void running_out_of_memory_ends_the_start_cleanly(void **state)
{
    struct fixture *f = *state;
    write_text(f->path, ONES "\n");
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct error err;
        int r = start(f, &err);
        assert_true(r == 0 || r == -ENOMEM);
        key_file_free(f->file);
        f->file = NULL;
    });
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_cannot_be_used_ends_the_start),
        TEST(a_file_as_long_as_may_be_is_read),
        TEST(a_new_file_is_taken_up_and_a_bad_one_changes_nothing),
        TEST(a_secret_is_swapped_under_its_links),
        TEST(a_ring_that_is_not_taken_is_offered_again),
        TEST(running_out_of_memory_ends_the_start_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
