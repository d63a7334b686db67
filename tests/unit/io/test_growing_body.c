/* A server answers one request from a file that the client itself writes, so that it decides what
 * is there and when the owner is told. */
#include "scene.h"

#include <fcntl.h>

#include "base/limits.h"
#include "io/growing_body.h"
#include "io/server.h"

#define MIB (1024 * 1024)
#define FILE_BYTES (6 * MIB + 123)

struct owner {
    struct scene scene;
    struct server *server;
    struct growing_body *body;
    char path[64];
    int file;     /* the writer's */
    int commands; /* read by the loop: struct command */
    int orders;   /* written by the client */
    struct poll *poll;
    int64_t offset, length, size; /* of the next body */
    unsigned finished;
    int status;
    int64_t sent_bytes;
};

struct command { /* of the client to the owner */
    enum { GREW, FAIL } what;
    int64_t value;
};

static char byte_at(int64_t i)
{
    return (char)((i >> 12) * 31 + i * 7);
}

static void body_finished(void *arg, int status, int64_t bytes_sent)
{
    struct owner *o = arg;
    o->finished++;
    o->status = status;
    o->sent_bytes = bytes_sent;
    o->body = NULL;
}

static void on_request(void *arg, struct conn *c, const struct http_request *request)
{
    (void)request;
    struct owner *o = arg;
    int fd = open(o->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (growing_body_new(o->scene.loop, fd, o->offset, o->length, o->size, body_finished, o,
                         &o->body) < 0) {
        server_respond(c, 500, NULL, NULL, 0);
        return;
    }
    growing_body_grew(o->body, o->size); /* not the server's yet: nobody to wake */
    server_respond_body(c, 200, NULL, o->length, growing_body(o->body));
}

static void on_gone(void *arg, struct conn *c)
{
    (void)arg;
    (void)c;
}

static void on_command(void *arg, int events)
{
    (void)events;
    struct owner *o = arg;
    struct command command;
    assert_int_equal(read(o->commands, &command, sizeof(command)), sizeof(command));
    if (!o->body) {
        return; /* over already */
    }
    if (command.what == GREW) {
        growing_body_grew(o->body, command.value);
    } else {
        growing_body_fail(o->body, (int)command.value);
    }
}

/* --- what clients do --- */

static void owner_says(struct scene *scene, int what, int64_t value)
{
    struct owner *o = scene->arg;
    struct command command = {.what = what, .value = value};
    EXPECT(write(o->orders, &command, sizeof(command)) == sizeof(command));
}

static void file_write(struct scene *scene, int64_t from, int64_t to)
{
    struct owner *o = scene->arg;
    char *bytes = malloc((size_t)(to - from));
    for (int64_t i = from; i < to; i++) {
        bytes[i - from] = byte_at(i);
    }
    EXPECT(pwrite(o->file, bytes, (size_t)(to - from), from) == to - from);
    free(bytes);
}

static void file_evict(struct scene *scene)
{
    struct owner *o = scene->arg;
    EXPECT(fsync(o->file) == 0);
    EXPECT(posix_fadvise(o->file, 0, 0, POSIX_FADV_DONTNEED) == 0);
}

static int ask(struct scene *scene, int64_t offset, int64_t length, int64_t size)
{
    struct owner *o = scene->arg;
    o->offset = offset;
    o->length = length;
    o->size = size;
    o->finished = 0;
    int fd = scene_connect(scene, NULL);
    scene_send(scene, fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    return fd;
}

static void read_head(struct scene *scene, int fd, const char *status)
{
    char head[1024] = "";
    size_t n = 0;
    while (n + 1 < sizeof(head) && !strstr(head, "\r\n\r\n") && recv(fd, head + n, 1, 0) == 1) {
        head[++n] = 0;
    }
    EXPECT(strncmp(head, status, strlen(status)) == 0);
}

static bool has_bytes_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) > 0;
}

/* Reads bytes from .. to of the file; false on anything else. */
static bool reads(int fd, int64_t from, int64_t to)
{
    static char bytes[256 * 1024];
    while (from < to) {
        int64_t want = to - from < (int64_t)sizeof(bytes) ? to - from : (int64_t)sizeof(bytes);
        ssize_t n = recv(fd, bytes, (size_t)want, 0);
        if (n <= 0) {
            return false;
        }
        for (ssize_t i = 0; i < n; i++, from++) {
            if (bytes[i] != byte_at(from)) {
                return false;
            }
        }
    }
    return true;
}

static void wait_until_finished(struct scene *scene)
{
    struct owner *o = scene->arg;
    for (int i = 0; i < 500 && !*(volatile unsigned *)&o->finished; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(o->finished == 1);
}

static bool ends_with_fin(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) == 0;
}

static void follows_growth(struct scene *scene)
{
    int fd = ask(scene, 0, FILE_BYTES, 0);
    EXPECT(!has_bytes_within(fd, 100)); /* no 200 before the first byte */
    int64_t at = 0;
    for (int64_t step = 1; at < FILE_BYTES; step = step * 3 + 1) {
        int64_t to = at + step < FILE_BYTES ? at + step : FILE_BYTES;
        file_write(scene, at, to);
        EXPECT(!has_bytes_within(fd, 5)); /* nobody said so yet */
        owner_says(scene, GREW, to);
        if (at == 0) {
            read_head(scene, fd, "HTTP/1.1 200 ");
        }
        EXPECT(reads(fd, at, to));
        at = to;
    }
    EXPECT(ends_with_fin(fd));
    (void)close(fd);
    wait_until_finished(scene);
}

static void bytes_are_sent_as_they_are_told_and_no_head_before_the_first(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, follows_growth));
    assert_int_equal(o->status, 0);
    assert_int_equal(o->sent_bytes, FILE_BYTES);
}

static void sees_only_what_was_told(struct scene *scene)
{
    struct owner *o = scene->arg;
    file_write(scene, 0, FILE_BYTES); /* all of it is there, and more: the owner decides */
    int fd = ask(scene, 1000, 3 * MIB, 2000);
    read_head(scene, fd, "HTTP/1.1 200 ");
    EXPECT(reads(fd, 1000, 2000));
    EXPECT(!has_bytes_within(fd, 50));
    owner_says(scene, GREW, 1500); /* less than before */
    owner_says(scene, GREW, 2000);
    EXPECT(!has_bytes_within(fd, 50));
    owner_says(scene, GREW, 2 * MIB);
    EXPECT(reads(fd, 2000, 2 * MIB));
    owner_says(scene, GREW, INT64_MAX); /* beyond the body: only it is sent */
    EXPECT(reads(fd, 2 * MIB, 1000 + 3 * MIB));
    EXPECT(ends_with_fin(fd));
    (void)close(fd);
    wait_until_finished(scene);
    EXPECT(o->sent_bytes == 3 * MIB);
}

static void nothing_beyond_what_was_told_is_sent_whatever_lies_in_the_file(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, sees_only_what_was_told));
    assert_int_equal(o->status, 0);
}

static void reads_cold_parts(struct scene *scene)
{
    file_write(scene, 0, 4 * MIB + 77);
    file_evict(scene);
    int fd = ask(scene, 5, FILE_BYTES - 5, 4 * MIB + 77);
    read_head(scene, fd, "HTTP/1.1 200 ");
    file_write(scene, 4 * MIB + 77, FILE_BYTES);
    file_evict(scene);
    owner_says(scene, GREW, FILE_BYTES);
    EXPECT(reads(fd, 5, FILE_BYTES));
    EXPECT(ends_with_fin(fd));
    (void)close(fd);
    wait_until_finished(scene);
}

static void parts_that_left_the_cache_arrive_whole(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, reads_cold_parts));
    assert_int_equal(o->status, 0);
}

static void fails_at_the_end(struct scene *scene)
{
    file_write(scene, 0, 2 * MIB);
    int fd = ask(scene, 0, FILE_BYTES, MIB);
    read_head(scene, fd, "HTTP/1.1 200 ");
    EXPECT(reads(fd, 0, MIB));
    file_evict(scene); /* so that the pool is still reading when it is told */
    owner_says(scene, GREW, 2 * MIB);
    owner_says(scene, FAIL, -ESTALE);
    EXPECT(reads(fd, MIB, 2 * MIB)); /* what is there is still sent … */
    EXPECT(ends_with_fin(fd));       /* … and no reset follows */
    (void)close(fd);
    wait_until_finished(scene);
}

static void one_that_fails_ends_with_fin_after_what_is_there(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, fails_at_the_end));
    assert_int_equal(o->status, -ESTALE);
    assert_int_equal(o->sent_bytes, 2 * MIB);
}

static void fails_before_it_begins(struct scene *scene)
{
    char answer[1024];
    int fd = ask(scene, 0, FILE_BYTES, 0);
    EXPECT(!has_bytes_within(fd, 50));
    owner_says(scene, FAIL, -ESTALE);
    EXPECT(scene_read_to_end(fd, answer, sizeof(answer)) > 0);
    EXPECT(strncmp(answer, "HTTP/1.1 404 ", 13) == 0);
    (void)close(fd);
    wait_until_finished(scene);
}

static void one_that_fails_before_its_first_byte_is_a_404(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, fails_before_it_begins));
    assert_int_equal(o->status, -ESTALE);
    assert_int_equal(o->sent_bytes, 0);
}

static void loses_its_file(struct scene *scene)
{
    struct owner *o = scene->arg;
    for (int cold = 0; cold <= 1; cold++) {
        file_write(scene, 0, 3 * MIB);
        int fd = ask(scene, 0, FILE_BYTES, MIB);
        read_head(scene, fd, "HTTP/1.1 200 ");
        EXPECT(reads(fd, 0, MIB));
        EXPECT(ftruncate(o->file, 2 * MIB) == 0);
        if (cold) {
            file_evict(scene);
        }
        owner_says(scene, GREW, 3 * MIB); /* it was so a moment ago */
        EXPECT(reads(fd, MIB, 2 * MIB));
        EXPECT(ends_with_fin(fd));
        (void)close(fd);
        wait_until_finished(scene);
        EXPECT(o->status == -EIO);
    }
}

static void one_shorter_than_was_told_ends_with_fin_and_no_byte_made_up(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, loses_its_file));
}

static void leaves_while_it_waits(struct scene *scene)
{
    struct owner *o = scene->arg;
    struct linger now = {.l_onoff = 1};
    file_write(scene, 0, MIB);
    for (int there = 0; there <= 1; there++) {
        int fd = ask(scene, 0, FILE_BYTES, there ? MIB : 0);
        if (there) {
            read_head(scene, fd, "HTTP/1.1 200 ");
            EXPECT(reads(fd, 0, MIB));
        }
        scene_sleep_ms(30);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        (void)close(fd);
        owner_says(scene, GREW, MIB + 1);
        wait_until_finished(scene);
        EXPECT(o->status == -ECANCELED);
    }
}

static void a_client_may_leave_while_it_waits(void **state)
{
    struct owner *o = *state;
    assert_true(scene_run(&o->scene, leaves_while_it_waits));
}

/* --- set up --- */

static int setup(void **state)
{
    struct owner *o = calloc(1, sizeof(*o));
    assert_non_null(o);
    struct server_handler handler = {.request = on_request, .gone = on_gone, .arg = o};
    struct server_limits limits = {.head_timeout_ms = 10000,
                                   .idle_timeout_ms = 20000,
                                   .stall_ms = 10000,
                                   .drain_ms = 500,
                                   .connections = 100};
    int fds[2];
    strcpy(o->path, "./test_growing_XXXXXX");
    o->file = mkstemp(o->path);
    assert_true(o->file >= 0);
    assert_int_equal(pipe(fds), 0);
    o->commands = fds[0];
    o->orders = fds[1];
    assert_int_equal(loop_new(&o->scene.loop), 0);
    assert_int_equal(poll_new(o->scene.loop, o->commands, on_command, o, &o->poll), 0);
    assert_int_equal(poll_set(o->poll, POLL_READABLE), 0);
    assert_int_equal(server_new(o->scene.loop, &handler, &o->server), 0);
    server_set_limits(o->server, &limits);
    assert_int_equal(server_listen(o->server, "127.0.0.1:0", NULL), 0);
    o->scene.port = server_port(o->server);
    o->scene.arg = o;
    *state = o;
    return 0;
}

static int teardown(void **state)
{
    struct owner *o = *state;
    poll_free(o->poll);
    server_free(o->server);
    loop_free(o->scene.loop);
    assert_int_equal(o->finished, 1);
    (void)close(o->commands);
    (void)close(o->orders);
    (void)close(o->file);
    (void)unlink(o->path);
    free(o);
    return 0;
}

static void running_out_of_memory_closes_the_file(void **state)
{
    struct owner *o = *state;
    int before = dup(o->file);
    (void)close(before);
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct growing_body *b = NULL;
        int r = growing_body_new(o->scene.loop, dup(o->file), 0, 10, 0, body_finished, o, &b);
        assert_true(r == 0 || r == -ENOMEM);
        if (r == 0) {
            growing_body(b)->ops->done(growing_body(b), -ECANCELED);
        }
    });
    int after = dup(o->file);
    assert_int_equal(after, before); /* the lowest free one */
    (void)close(after);
    assert_int_equal(o->status, -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(bytes_are_sent_as_they_are_told_and_no_head_before_the_first),
        TEST(nothing_beyond_what_was_told_is_sent_whatever_lies_in_the_file),
        TEST(parts_that_left_the_cache_arrive_whole),
        TEST(one_that_fails_ends_with_fin_after_what_is_there),
        TEST(one_that_fails_before_its_first_byte_is_a_404),
        TEST(one_shorter_than_was_told_ends_with_fin_and_no_byte_made_up),
        TEST(a_client_may_leave_while_it_waits),
        TEST(running_out_of_memory_closes_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
