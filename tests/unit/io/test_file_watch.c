#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file_watch.h"
#include "watched.h"

struct told {
    struct loop *loop;
    struct file_watch watch;
    unsigned written, moved;
};

struct seen {
    struct loop *loop;
    struct file_watches *watches;
    struct timer timeout;
    char base[64];
    int fd;
    struct told a, b;
};

static void on_change(void *arg, enum file_change change)
{
    struct told *t = arg;
    *(change == FILE_WRITTEN ? &t->written : &t->moved) += 1;
}

static void on_timeout(void *arg)
{
    loop_stop(((struct seen *)arg)->loop);
}

static void run_for(struct seen *s, unsigned ms)
{
    assert_int_equal(timer_start(&s->timeout, ms), 0);
    loop_run(s->loop);
}

static void clear(struct seen *s)
{
    s->a.written = s->a.moved = s->b.written = s->b.moved = 0;
}

static const char *in(const struct seen *s, const char *name)
{
    return watched_path(s->base, name);
}

static int make_file(const struct seen *s, const char *name)
{
    int fd = open(in(s, name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    struct seen *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    strcpy(s->base, "/tmp/spegel-file-watch-XXXXXX");
    assert_non_null(mkdtemp(s->base));
    assert_int_equal(loop_new(&s->loop), 0);
    timer_init(&s->timeout, s->loop, on_timeout, s);
    assert_int_equal(file_watches_new(s->loop, &s->watches), 0);
    s->fd = make_file(s, "f");
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct seen *s = *state;
    char command[128];
    file_watch_stop(&s->a.watch);
    file_watch_stop(&s->b.watch);
    file_watches_free(s->watches);
    loop_free(s->loop);
    (void)close(s->fd);
    (void)snprintf(command, sizeof(command), "rm -rf %s", s->base);
    assert_int_equal(system(command), 0);
    free(s);
    return 0;
}

static void start(struct seen *s, struct told *t, int fd)
{
    assert_int_equal(file_watch_start(s->watches, &t->watch, fd, on_change, t), 0);
    assert_true(file_watch_running(&t->watch));
}

static void tells_of_writing_and_of_whatever_happens_to_the_inode(void **state)
{
    struct seen *s = *state;
    start(s, &s->a, s->fd);
    assert_int_equal(write(s->fd, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);
    assert_int_equal(s->a.moved, 0);

    clear(s);
    assert_int_equal(ftruncate(s->fd, 0), 0);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);

    clear(s);
    assert_int_equal(rename(in(s, "f"), in(s, "g")), 0);
    run_for(s, 30);
    assert_int_equal(s->a.moved, 1);

    clear(s);
    assert_int_equal(unlink(in(s, "g")), 0);
    run_for(s, 30);
    assert_int_equal(s->a.moved, 1); /* though it is held open */
    assert_true(file_watch_running(&s->a.watch));
}

static void it_is_the_inode_that_is_watched_not_its_name(void **state)
{
    struct seen *s = *state;
    assert_int_equal(rename(in(s, "f"), in(s, "g")), 0);
    int other = make_file(s, "f");
    start(s, &s->a, s->fd);
    assert_int_equal(write(other, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written + s->a.moved, 0);
    assert_int_equal(write(s->fd, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);
    (void)close(other);
}

static void a_directory_tells_of_its_entries(void **state)
{
    struct seen *s = *state;
    int directory = open(s->base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    start(s, &s->a, directory);
    (void)close(directory);
    int other = make_file(s, "new");
    run_for(s, 30);
    assert_true(s->a.written > 0);
    (void)close(other);
}

static void two_watches_of_one_inode_stop_one_by_one(void **state)
{
    struct seen *s = *state;
    int again = open(in(s, "f"), O_RDONLY | O_CLOEXEC);
    start(s, &s->a, s->fd);
    start(s, &s->b, again);
    assert_int_equal(write(s->fd, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);
    assert_int_equal(s->b.written, 1);
    file_watch_stop(&s->a.watch);
    file_watch_stop(&s->a.watch);
    assert_false(file_watch_running(&s->a.watch));
    assert_int_equal(write(s->fd, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);
    assert_int_equal(s->b.written, 2);
    (void)close(again);
}

static void what_was_queued_when_it_stopped_is_not_told(void **state)
{
    struct seen *s = *state;
    start(s, &s->a, s->fd);
    assert_int_equal(write(s->fd, "x", 1), 1);
    file_watch_stop(&s->a.watch);
    start(s, &s->a, s->fd); /* of the same inode, at once */
    run_for(s, 30);
    assert_int_equal(s->a.written + s->a.moved, 0);
    assert_int_equal(write(s->fd, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);
}

static void an_inode_that_ended_is_not_watched_any_more(void **state)
{
    struct seen *s = *state;
    int other = make_file(s, "other");
    start(s, &s->a, other);
    (void)close(other);
    assert_int_equal(unlink(in(s, "other")), 0);
    run_for(s, 30);
    assert_true(s->a.moved > 0);
    assert_false(file_watch_running(&s->a.watch));
}

static void an_overflow_makes_everybody_look(void **state)
{
    struct seen *s = *state;
    int limit = watched_queue_limit();
    int other = make_file(s, "other"), third = make_file(s, "third");
    struct told noise = {0};
    start(s, &noise, third);
    start(s, &s->a, s->fd);
    start(s, &s->b, other);
    for (int i = 0; i < limit + 100; i++) { /* alternating: the kernel merges equal ones */
        assert_int_equal(i & 1 ? fchmod(third, 0600) : (int)pwrite(third, "x", 1, 0), !(i & 1));
    }
    assert_int_equal(write(s->fd, "x", 1), 1); /* lost */
    for (int turn = 0; turn < 100 && s->b.moved == 0; turn++) {
        run_for(s, 20);
    }
    assert_int_equal(s->a.moved, 1);
    assert_int_equal(s->a.written, 0);
    assert_int_equal(s->b.moved, 1);
    clear(s);
    assert_int_equal(write(s->fd, "x", 1), 1);
    run_for(s, 30);
    assert_int_equal(s->a.written, 1);
    file_watch_stop(&noise.watch);
    (void)close(other);
    (void)close(third);
}

static void a_descriptor_that_is_none_is_refused(void **state)
{
    struct seen *s = *state;
    assert_int_equal(file_watch_start(s->watches, &s->a.watch, 12345, on_change, &s->a), -ENOENT);
    assert_false(file_watch_running(&s->a.watch));
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    struct seen *s = *state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct file_watches *w = NULL;
        struct file_watch one = {0};
        int r = file_watches_new(s->loop, &w);
        if (r == 0) {
            r = file_watch_start(w, &one, s->fd, on_change, &s->a);
        }
        assert_true(r == 0 || r == -ENOMEM);
        file_watch_stop(&one);
        file_watches_free(w);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(tells_of_writing_and_of_whatever_happens_to_the_inode),
        TEST(it_is_the_inode_that_is_watched_not_its_name),
        TEST(a_directory_tells_of_its_entries),
        TEST(two_watches_of_one_inode_stop_one_by_one),
        TEST(what_was_queued_when_it_stopped_is_not_told),
        TEST(an_inode_that_ended_is_not_watched_any_more),
        TEST(an_overflow_makes_everybody_look),
        TEST(a_descriptor_that_is_none_is_refused),
        TEST(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
