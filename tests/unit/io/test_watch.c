#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/watch.h"
#include "watched.h"

#define WAIT_MS 3000

struct seen {
    struct loop *loop;
    struct watch *watch;
    struct timer timeout;
    char base[64];
    char log[4096]; /* "+name", "-name", "?" (rescan), "!" (overflow), separated by spaces */
    const char *until;
    bool free_inside;
    unsigned added, overflows;
};

static void on_change(void *arg, enum watch_kind kind, const char *name)
{
    struct seen *s = arg;
    static const char marks[] = {'+', '-', '?', '!'};
    size_t n = strlen(s->log);
    if (n + 300 < sizeof(s->log)) {
        (void)snprintf(s->log + n, sizeof(s->log) - n, "%c%s ", marks[kind], name ? name : "");
    }
    s->added += kind == WATCH_ADDED;
    s->overflows += kind == WATCH_OVERFLOW;
    if (s->free_inside) {
        watch_free(s->watch);
        s->watch = NULL;
        loop_stop(s->loop);
    } else if (s->until && strstr(s->log, s->until)) {
        loop_stop(s->loop);
    }
}

static void on_timeout(void *arg)
{
    loop_stop(((struct seen *)arg)->loop);
}

/* Runs until the log holds `text`, and fails when it does not come. The log is cleared. */
static void expect(struct seen *s, const char *text)
{
    s->until = text;
    if (!strstr(s->log, text)) {
        assert_int_equal(timer_start(&s->timeout, WAIT_MS), 0);
        loop_run(s->loop);
        timer_stop(&s->timeout);
    }
    if (!strstr(s->log, text)) {
        fail_msg("waited for \"%s\", saw \"%s\"", text, s->log);
    }
    s->log[0] = 0;
}

static void run_for(struct seen *s, unsigned ms)
{
    s->until = NULL;
    assert_int_equal(timer_start(&s->timeout, ms), 0);
    loop_run(s->loop);
}

static const char *in(const struct seen *s, const char *name)
{
    return watched_path(s->base, name);
}

static void make_dir(const struct seen *s, const char *name)
{
    assert_int_equal(mkdir(in(s, name), 0755), 0);
}

static void write_file(const struct seen *s, const char *name)
{
    int fd = open(in(s, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(close(fd), 0);
}

static int setup(void **state)
{
    struct seen *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    strcpy(s->base, "/tmp/spegel-watch-XXXXXX");
    assert_non_null(mkdtemp(s->base));
    assert_int_equal(loop_new(&s->loop), 0);
    timer_init(&s->timeout, s->loop, on_timeout, s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct seen *s = *state;
    char command[128];
    timer_stop(&s->timeout);
    watch_free(s->watch);
    loop_free(s->loop);
    (void)snprintf(command, sizeof(command), "rm -rf %s", s->base);
    assert_int_equal(system(command), 0);
    free(s);
    return 0;
}

static void start(struct seen *s, const char *name)
{
    assert_int_equal(watch_new(s->loop, in(s, name), on_change, s, &s->watch), 0);
}

static void tells_of_entries_renamed_linked_written_and_removed(void **state)
{
    struct seen *s = *state;
    make_dir(s, "d");
    write_file(s, "outside");
    start(s, "d");
    assert_int_equal(watch_status(s->watch), 0);

    assert_int_equal(rename(in(s, "outside"), in(s, "d/moved")), 0);
    expect(s, "+moved ");
    assert_int_equal(link(in(s, "d/moved"), in(s, "d/linked")), 0);
    expect(s, "+linked ");
    write_file(s, "d/written");
    expect(s, "+written +written ");
    assert_int_equal(unlink(in(s, "d/linked")), 0);
    expect(s, "-linked ");
    assert_int_equal(rename(in(s, "d/moved"), in(s, "outside")), 0);
    expect(s, "-moved ");
}

static void says_nothing_when_nothing_changes_in_it(void **state)
{
    struct seen *s = *state;
    make_dir(s, "d");
    make_dir(s, "d/sub");
    write_file(s, "d/old");
    start(s, "d");
    write_file(s, "beside");
    write_file(s, "d/sub/deep");
    assert_int_equal(access(in(s, "d/old"), R_OK), 0);
    run_for(s, 100);
    assert_string_equal(s->log, "");
}

static void waits_for_a_directory_whose_parents_are_missing(void **state)
{
    struct seen *s = *state;
    start(s, "a/b/c");
    assert_int_equal(watch_status(s->watch), -ENOENT);
    make_dir(s, "a");
    run_for(s, 50);
    assert_string_equal(s->log, "");
    make_dir(s, "a/b");
    make_dir(s, "a/b/c");
    expect(s, "? ");
    assert_int_equal(watch_status(s->watch), 0);
    write_file(s, "a/b/c/first");
    expect(s, "+first ");
}

static void sees_a_whole_tree_renamed_into_place(void **state)
{
    struct seen *s = *state;
    start(s, "a/b");
    make_dir(s, "x");
    make_dir(s, "x/b");
    assert_int_equal(rename(in(s, "x"), in(s, "a")), 0);
    expect(s, "? ");
    assert_int_equal(watch_status(s->watch), 0);
}

static void survives_the_directory_being_deleted_and_made_again(void **state)
{
    struct seen *s = *state;
    make_dir(s, "d");
    start(s, "d");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(rmdir(in(s, "d")), 0);
        expect(s, "? ");
        assert_int_equal(watch_status(s->watch), -ENOENT);
        make_dir(s, "d");
        expect(s, "? ");
        assert_int_equal(watch_status(s->watch), 0);
        write_file(s, "d/f");
        expect(s, "+f ");
        assert_int_equal(unlink(in(s, "d/f")), 0);
        expect(s, "-f ");
    }
}

static void sees_deletion_and_return_that_happened_in_one_turn(void **state)
{
    struct seen *s = *state;
    make_dir(s, "d");
    start(s, "d");
    assert_int_equal(rmdir(in(s, "d")), 0);
    make_dir(s, "d");
    expect(s, "? ");
    write_file(s, "d/f");
    expect(s, "+f ");
}

static void follows_the_name_when_a_parent_is_replaced(void **state)
{
    struct seen *s = *state;
    make_dir(s, "a");
    make_dir(s, "a/d");
    start(s, "a/d");
    assert_int_equal(rename(in(s, "a"), in(s, "old")), 0);
    expect(s, "? ");
    write_file(s, "old/d/ghost");
    run_for(s, 50);
    assert_string_equal(s->log, "");
    make_dir(s, "a");
    make_dir(s, "a/d");
    expect(s, "? ");
    write_file(s, "a/d/real");
    expect(s, "+real ");
}

static void follows_a_symbolic_link_that_is_switched(void **state)
{
    struct seen *s = *state;
    make_dir(s, "one");
    make_dir(s, "two");
    assert_int_equal(symlink("one", in(s, "current")), 0);
    start(s, "current");
    write_file(s, "one/f");
    expect(s, "+f ");
    assert_int_equal(symlink("two", in(s, "next")), 0);
    assert_int_equal(rename(in(s, "next"), in(s, "current")), 0);
    expect(s, "? ");
    write_file(s, "two/g");
    expect(s, "+g ");
}

static void an_overflowing_queue_is_told_and_watching_goes_on(void **state)
{
    struct seen *s = *state;
    int limit = watched_queue_limit();
    make_dir(s, "d");
    start(s, "d");
    write_file(s, "outside");
    char name[32];
    for (int i = 0; i < limit + 100; i++) {
        (void)snprintf(name, sizeof(name), "d/%d", i & 1);
        assert_int_equal(rename(in(s, i & 1 ? "d/0" : i ? "d/1" : "outside"), in(s, name)), 0);
    }
    s->until = "!";
    assert_int_equal(timer_start(&s->timeout, WAIT_MS), 0);
    while (s->overflows == 0 && timer_running(&s->timeout)) {
        s->log[0] = 0;
        s->until = "";
        loop_run(s->loop);
    }
    timer_stop(&s->timeout);
    assert_int_equal(s->overflows, 1);
    s->log[0] = 0;
    write_file(s, "d/after");
    expect(s, "+after ");
}

static void may_be_freed_inside_its_callback(void **state)
{
    struct seen *s = *state;
    make_dir(s, "d");
    start(s, "d");
    s->free_inside = true;
    write_file(s, "d/a");
    write_file(s, "d/b");
    run_for(s, 200);
    assert_null(s->watch);
    assert_string_equal(s->log, "+a ");
}

static void a_file_in_the_way_counts_as_missing_until_it_goes(void **state)
{
    struct seen *s = *state;
    write_file(s, "d");
    start(s, "d");
    assert_int_equal(watch_status(s->watch), -ENOENT);
    assert_int_equal(unlink(in(s, "d")), 0);
    make_dir(s, "d");
    expect(s, "? ");
    assert_int_equal(watch_status(s->watch), 0);
}

static void
one_that_may_not_be_read_says_so_again_and_again_and_is_watched_once_it_may(void **state)
{
    struct seen *s = *state;
    if (geteuid() != 0) {
        skip(); /* it takes root to become somebody else */
    }
    make_dir(s, "d");
    assert_int_equal(chmod(s->base, 0755), 0);
    assert_int_equal(chmod(in(s, "d"), 0700), 0);
    assert_int_equal(seteuid(65534), 0);
    start(s, "d");
    assert_int_equal(watch_status(s->watch), -EACCES);
    run_for(s, LIMIT_WATCH_RETRY_MS + 500);
    assert_string_equal(s->log, "? ");
    s->log[0] = 0;
    assert_int_equal(seteuid(0), 0);
    run_for(s, LIMIT_WATCH_RETRY_MS);
    assert_string_equal(s->log, "? ");
    assert_int_equal(watch_status(s->watch), 0);
    write_file(s, "d/f");
    expect(s, "+f ");
}

static void refuses_paths_that_are_relative_or_too_deep(void **state)
{
    struct seen *s = *state;
    char deep[2 * LIMIT_WATCH_DEPTH + 10] = "";
    for (int i = 0; i <= LIMIT_WATCH_DEPTH; i++) {
        strcat(deep, "/a");
    }
    assert_int_equal(watch_new(s->loop, "relative", on_change, s, &s->watch), -EINVAL);
    assert_int_equal(watch_new(s->loop, "", on_change, s, &s->watch), -EINVAL);
    assert_int_equal(watch_new(s->loop, deep, on_change, s, &s->watch), -EINVAL);
    assert_null(s->watch);
    make_dir(s, "d");
    start(s, "/d//");
    write_file(s, "d/f");
    expect(s, "+f ");
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    struct seen *s = *state;
    make_dir(s, "d");
    const char *path = in(s, "d");
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct watch *w = NULL;
        int r = watch_new(s->loop, path, on_change, s, &w);
        assert_true(r == 0 || r == -ENOMEM);
        watch_free(w);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(tells_of_entries_renamed_linked_written_and_removed),
        TEST(says_nothing_when_nothing_changes_in_it),
        TEST(waits_for_a_directory_whose_parents_are_missing),
        TEST(sees_a_whole_tree_renamed_into_place),
        TEST(survives_the_directory_being_deleted_and_made_again),
        TEST(sees_deletion_and_return_that_happened_in_one_turn),
        TEST(follows_the_name_when_a_parent_is_replaced),
        TEST(follows_a_symbolic_link_that_is_switched),
        TEST(an_overflowing_queue_is_told_and_watching_goes_on),
        TEST(may_be_freed_inside_its_callback),
        TEST(a_file_in_the_way_counts_as_missing_until_it_goes),
        TEST(one_that_may_not_be_read_says_so_again_and_again_and_is_watched_once_it_may),
        TEST(refuses_paths_that_are_relative_or_too_deep),
        TEST(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
