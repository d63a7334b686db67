/* What the follower of a download does with it: a server gives it to clients as it comes. The
 * client's thread plays containerd's part too, so that it decides what comes when. */
#include "io/scene.h"

#include "downloads.h"
#include "io/growing_body.h"
#include "io/server.h"

#define BLOB_BYTES (3 * DOWNLOADS_MIB + 77)
#define TOTAL "3145805"
#define CLIENTS 3

struct serving { /* one response */
    struct feeder *feeder;
    struct ingest *ingest;
    struct growing_body *body;
};

struct feeder {
    struct scene scene;
    struct place place;
    struct server *server;
    struct ingests *ingests;
    struct digest digest;
    unsigned served, broken;
};

static void serving_finished(void *arg, int status, int64_t bytes_sent)
{
    struct serving *s = arg;
    (void)bytes_sent;
    s->feeder->served += status == 0;
    s->feeder->broken += status == -ESTALE;
    ingest_close(s->ingest);
    free(s);
}

static void serving_changed(void *arg)
{
    struct serving *s = arg;
    growing_body_grew(s->body, ingest_size(s->ingest));
    if (ingest_state(s->ingest) == INGEST_GONE) {
        growing_body_fail(s->body, -ESTALE);
    }
}

static void on_request(void *arg, struct conn *c, const struct http_request *request)
{
    struct feeder *f = arg;
    struct serving *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    (void)request;
    s->feeder = f;
    assert_int_equal(ingest_open(f->ingests, &f->digest, serving_changed, s, &s->ingest), 0);
    assert_int_equal(ingest_total(s->ingest), BLOB_BYTES);
    assert_int_equal(growing_body_new(f->place.loop, ingest_dup(s->ingest), 0, BLOB_BYTES,
                                      ingest_size(s->ingest), serving_finished, s, &s->body),
                     0);
    server_respond_body(c, 200, NULL, BLOB_BYTES, growing_body(s->body));
}

static void on_gone(void *arg, struct conn *c)
{
    (void)arg;
    (void)c;
}

/* Reads bytes from .. to of the blob; with from 0 the head before them. False on anything else. */
static bool reads(int fd, int64_t from, int64_t to)
{
    char head[1024] = "", byte;
    size_t n = 0;
    while (from == 0 && n + 1 < sizeof(head) && !strstr(head, "\r\n\r\n")) {
        if (recv(fd, head + n, 1, 0) != 1) {
            return false;
        }
        head[++n] = 0;
    }
    while (from < to) {
        char bytes[4096];
        size_t want = to - from < 4096 ? (size_t)(to - from) : sizeof(bytes);
        ssize_t got = recv(fd, bytes, want, 0);
        if (got <= 0) {
            return false;
        }
        for (ssize_t i = 0; i < got; i++, from++) {
            if (bytes[i] != download_byte(from)) {
                return false;
            }
        }
    }
    return to < BLOB_BYTES || recv(fd, &byte, 1, 0) == 0;
}

static void ask(struct scene *scene, int fds[CLIENTS])
{
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = scene_connect(scene, NULL);
        scene_send(scene, fds[i], "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
}

static void all_read(struct scene *scene, const int fds[CLIENTS], int64_t from, int64_t to)
{
    for (int i = 0; i < CLIENTS; i++) {
        EXPECT(reads(fds[i], from, to));
    }
}

static void clients_read_through_a_commit(struct scene *scene)
{
    struct feeder *f = scene->arg;
    struct download d = download_begin(&f->place, "layer", &f->digest, TOTAL);
    int fds[CLIENTS];
    ask(scene, fds);
    download_write(&d, 0, DOWNLOADS_MIB);
    all_read(scene, fds, 0, DOWNLOADS_MIB);
    (void)close(d.fd); /* FIN from upstream, or containerd killed: somebody goes on after a pause */
    scene_sleep_ms(50);
    download_open(&d);
    EXPECT(lseek(d.fd, 0, SEEK_END) == DOWNLOADS_MIB);
    download_write(&d, DOWNLOADS_MIB, DOWNLOADS_MIB);
    all_read(scene, fds, DOWNLOADS_MIB, 2 * DOWNLOADS_MIB);
    download_write(&d, 2 * DOWNLOADS_MIB, BLOB_BYTES - 2 * DOWNLOADS_MIB);
    download_commit(&d);
    all_read(scene, fds, 2 * DOWNLOADS_MIB, BLOB_BYTES);
    for (int i = 0; i < CLIENTS; i++) {
        (void)close(fds[i]);
    }
}

static void a_download_is_served_to_several_as_it_comes_and_through_its_commit(void **state)
{
    struct feeder *f = *state;
    assert_true(scene_run(&f->scene, clients_read_through_a_commit));
    assert_int_equal(f->served, CLIENTS);
}

static void clients_read_until_it_is_gone(struct scene *scene)
{
    struct feeder *f = scene->arg;
    for (int way = 0; way < 2; way++) {
        struct download d = download_begin(&f->place, "layer", &f->digest, TOTAL);
        int fds[CLIENTS];
        char byte;
        download_write(&d, 0, DOWNLOADS_MIB);
        ask(scene, fds);
        all_read(scene, fds, 0, DOWNLOADS_MIB);
        if (way == 0) {
            download_abort(&d);
        } else {
            EXPECT(ftruncate(d.fd, 1000) == 0);
        }
        for (int i = 0; i < CLIENTS; i++) {
            EXPECT(recv(fds[i], &byte, 1, 0) == 0); /* FIN: nothing made up, and no reset */
            (void)close(fds[i]);
        }
        if (way == 1) {
            download_abort(&d);
        }
    }
}

static void one_that_is_aborted_or_truncated_ends_with_fin(void **state)
{
    struct feeder *f = *state;
    assert_true(scene_run(&f->scene, clients_read_until_it_is_gone));
    assert_int_equal(f->served, 0);
    assert_int_equal(f->broken, 2 * CLIENTS);
}

static int setup(void **state)
{
    struct feeder *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    struct server_handler handler = {.request = on_request, .gone = on_gone, .arg = f};
    char path[128];
    place_init(&f->place);
    (void)snprintf(path, sizeof(path), "%s/ingest", f->place.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    digest_of("a blob", 6, &f->digest);
    assert_int_equal(ingests_new(f->place.loop, f->place.dir, "k8s.io", &f->ingests), 0);
    assert_int_equal(server_new(f->place.loop, &handler, &f->server), 0);
    assert_int_equal(server_listen(f->server, "127.0.0.1:0", NULL), 0);
    f->scene.loop = f->place.loop;
    f->scene.port = server_port(f->server);
    f->scene.arg = f;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct feeder *f = *state;
    server_free(f->server);
    ingests_free(f->ingests);
    place_done(&f->place);
    free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_download_is_served_to_several_as_it_comes_and_through_its_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_aborted_or_truncated_ends_with_fin, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
