#include "site.h"

#include "base/limits.h"

#define BODIES 6

static void evict(const char *path)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    (void)close(fd);
}

static void client_reads_ranges(struct scene *scene)
{
    static const long ranges[][2] = {{0, SITE_FILE_BYTES},
                                     {0, 1},
                                     {4095, 2},
                                     {LIMIT_READAHEAD_BYTES - 1, 2},
                                     {LIMIT_READAHEAD_BYTES, LIMIT_READAHEAD_BYTES},
                                     {SITE_FILE_BYTES - 1, 1},
                                     {1000000, 3000000},
                                     {7, 0}};
    struct site *site = scene->arg;
    char *out = malloc(SITE_FILE_BYTES + 4096);
    int fd = scene_connect(scene, NULL);
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        char request[100];
        (void)snprintf(request, sizeof(request), "GET /file/%ld/%ld HTTP/1.1\r\nHost: a\r\n\r\n",
                       ranges[i][0], ranges[i][1]);
        evict(site->path);
        scene_send(scene, fd, request);
        ssize_t n = scene_read_response(fd, out, SITE_FILE_BYTES + 4096, false);
        EXPECT(n >= ranges[i][1]);
        const char *body = out + n - ranges[i][1];
        long wrong = 0;
        for (long k = 0; k < ranges[i][1]; k++) {
            wrong += body[k] != site_file_byte((size_t)(ranges[i][0] + k));
        }
        EXPECT(wrong == 0 && body - strstr(out, "\r\n\r\n") == 4);
    }
    (void)close(fd);
    free(out);
}

static void any_range_arrives_whole_from_a_cold_file(void **state)
{
    struct site *site = *state;
    assert_true(site_serve(site, NULL, client_reads_ranges));
    assert_int_equal(site->last_body_status, 0);
}

static char *shared_buffers[BODIES];

static void client_reads_many_at_once(struct scene *scene)
{
    struct site *site = scene->arg;
    evict(site->path);
    struct pollfd fds[BODIES];
    size_t got[BODIES] = {0};
    for (int i = 0; i < BODIES; i++) {
        fds[i] = (struct pollfd){.fd = scene_connect(scene, NULL), .events = POLLIN};
        scene_send(scene, fds[i].fd,
                   "GET /file/0/5243003 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    for (int open_count = BODIES; open_count > 0;) {
        EXPECT(poll(fds, BODIES, 5000) > 0);
        if (scene->failure) {
            break;
        }
        for (int i = 0; i < BODIES; i++) {
            if (fds[i].fd < 0 || !fds[i].revents) {
                continue;
            }
            ssize_t n =
                recv(fds[i].fd, shared_buffers[i] + got[i], SITE_FILE_BYTES + 4096 - got[i], 0);
            if (n <= 0) {
                EXPECT(n == 0 && got[i] > SITE_FILE_BYTES);
                (void)close(fds[i].fd);
                fds[i].fd = -1;
                open_count--;
            } else {
                got[i] += (size_t)n;
            }
        }
    }
}

static void more_cold_bodies_than_reading_threads_all_get_their_turn(void **state)
{
    for (int i = 0; i < BODIES; i++) {
        shared_buffers[i] = malloc(SITE_FILE_BYTES + 4096);
        assert_non_null(shared_buffers[i]);
    }
    assert_true(site_serve(*state, NULL, client_reads_many_at_once));
    for (int i = 0; i < BODIES; i++) {
        free(shared_buffers[i]);
    }
    assert_int_equal(((struct site *)*state)->last_status, 200);
}

static void client_reads_too_much(struct scene *scene)
{
    struct site *site = scene->arg;
    char *out = malloc(SITE_FILE_BYTES + 4096);
    for (int cold = 0; cold <= 1; cold++) {
        if (cold) {
            evict(site->path);
        }
        /* The file ends inside what was promised: FIN after the bytes there are; or 404, when
         * that is found out before the first byte. */
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd,
                   "GET /file/5000000/999999 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        ssize_t n = scene_read_to_end(fd, out, SITE_FILE_BYTES + 4096);
        if (n >= 0 && strncmp(out, "HTTP/1.1 404 ", 13) != 0) {
            const char *body = strstr(out, "\r\n\r\n");
            EXPECT(body && n - (body + 4 - out) == SITE_FILE_BYTES - 5000000);
        }
        EXPECT(n > 0 && site->last_body_status == -EIO);
        (void)close(fd);
    }
    free(out);
}

static void a_file_shorter_than_promised_ends_with_fin(void **state)
{
    assert_true(site_serve(*state, NULL, client_reads_too_much));
}

static void client_leaves_during_a_cold_read(struct scene *scene)
{
    struct site *site = scene->arg;
    for (int i = 0; i < 10; i++) {
        evict(site->path);
        int fd = scene_connect(scene, NULL);
        scene_send(scene, fd, "GET /file/0/5243003 HTTP/1.1\r\nHost: a\r\n\r\n");
        struct linger now = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        if (i % 2) {
            scene_sleep_ms(1);
        }
        (void)close(fd);
    }
    for (int i = 0; i < 200 && server_connections(site->server) > 0; i++) {
        scene_sleep_ms(5);
    }
    EXPECT(server_connections(site->server) == 0 && server_streams(site->server) == 0);
}

static void a_client_may_leave_while_the_pool_reads_for_it(void **state)
{
    assert_true(site_serve(*state, NULL, client_leaves_during_a_cold_read));
}

static int setup(void **state)
{
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    site_make_file(site);
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    struct site *site = *state;
    (void)unlink(site->path);
    free(site);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_range_arrives_whole_from_a_cold_file),
        TEST(more_cold_bodies_than_reading_threads_all_get_their_turn),
        TEST(a_file_shorter_than_promised_ends_with_fin),
        TEST(a_client_may_leave_while_the_pool_reads_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
