/* What the mirror answers while nothing, or little, goes wrong. Faults: test_mirror_faults.c. */
#include "registry/mirror_fixture.h"

static void a_blob_arrives_byte_for_byte(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    assert_whole_blob(f);
    assert_non_null(strstr(f->client.head, "\r\nContent-Type: application/octet-stream\r\n"));
    assert_non_null(strstr(f->client.head, "\r\nOCI-Namespace: docker.io\r\n"));
    assert_non_null(strstr(f->client.head, "\r\nAccept-Ranges: bytes\r\n"));
    assert_non_null(strstr(f->client.head, f->blob_digest));
    const struct mirror_counters *n = mirror_counters(f->mirror);
    assert_int_equal(n->hits, 1);
    assert_int_equal(n->bytes_spliced, BLOB_BYTES);
    assert_int_equal(n->bytes_copied, 0);
    assert_int_equal(n->resumed + n->hedged + n->peer_errors + n->misses, 0);
    assert_true(n->last_success_unix_s > 1e9);
    assert_int_equal(f->resolved, 1);
}

static void peers_are_asked_as_peers(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    f->query.registry = "[::1]:5000";
    fixture_run(f, "GET", "Range: bytes=100-199\r\n");
    char line[256];
    (void)snprintf(line, sizeof(line), "GET /v2/library/app/blobs/%s?ns=%%5B::1%%5D:5000 HTTP/1.1",
                   f->blob_digest);
    assert_non_null(strstr(p->last_request, line));
    assert_non_null(strstr(p->last_request, "\r\nX-Spegel-Mirrored: true\r\n"));
    assert_non_null(strstr(p->last_request, "\r\nAuthorization: Basic dTpw\r\n"));
    assert_non_null(strstr(p->last_request, "\r\nRange: bytes=100-199\r\n"));
    assert_non_null(strstr(p->last_request, "\r\nUser-Agent: spegel\r\n"));
}

static void ranges_are_passed_on(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    static const struct {
        const char *field;
        int status;
        int64_t first, last;
    } table[] = {
        {"Range: bytes=0-0\r\n", 206, 0, 0},
        {"Range: bytes=1000000-\r\n", 206, 1000000, BLOB_BYTES - 1},
        {"Range: bytes=100-2000100\r\n", 206, 100, 2000100},
        {"Range: bytes=5-1,7-9\r\n", 200, 0, BLOB_BYTES - 1}, /* several or malformed: all */
        {"Range: lines=1-2\r\n", 200, 0, BLOB_BYTES - 1},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int64_t n = table[i].last - table[i].first + 1;
        char range[96];
        fixture_run(f, "GET", table[i].field);
        assert_int_equal(f->client.status, table[i].status);
        assert_int_equal(f->client.body_bytes, n);
        assert_memory_equal(f->body, f->blob + table[i].first, (size_t)n);
        (void)snprintf(range, sizeof(range), "\r\nContent-Range: bytes %lld-%lld/%d\r\n",
                       (long long)table[i].first, (long long)table[i].last, BLOB_BYTES);
        assert_int_equal(strstr(f->client.head, range) != NULL, table[i].status == 206);
    }
}

static void a_range_beyond_the_end_is_416(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_run(f, "GET", "Range: bytes=99999999-\r\n");
    char range[64];
    (void)snprintf(range, sizeof(range), "\r\nContent-Range: bytes */%d\r\n", BLOB_BYTES);
    assert_int_equal(f->client.status, 416);
    assert_non_null(strstr(f->client.head, range));
}

static void a_head_is_answered_through_a_head(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    fixture_go_small(f, true);
    fixture_run(f, "HEAD", "Range: bytes=0-1\r\n");
    assert_int_equal(f->client.status, 200);
    assert_int_equal(f->client.content_length, SMALL_BYTES);
    assert_non_null(strstr(f->client.head, f->small_digest));
    assert_non_null(strstr(f->client.head, "manifest.v1+json"));
    assert_int_equal(strncmp(p->last_request, "HEAD ", 5), 0);
    assert_null(strstr(p->last_request, "Range"));
    assert_int_equal(atomic_load(&p->bytes_sent), 0);
}

static void a_tag_is_answered_with_its_digest(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    fixture_go_small(f, true);
    f->query.tag = "v1";
    for (int i = 0; i < 2; i++) {
        fixture_run(f, i ? "GET" : "HEAD", "");
        assert_int_equal(f->client.status, 200);
        assert_int_equal(f->client.content_length, SMALL_BYTES);
        assert_non_null(strstr(f->client.head, f->small_digest));
        assert_non_null(strstr(p->last_request, "/v2/library/app/manifests/v1?ns=docker.io "));
    }
    assert_int_equal(f->client.body_bytes, SMALL_BYTES);
    assert_memory_equal(f->body, f->small, SMALL_BYTES);
    p->digest = NULL; /* then there is nothing to check the bytes against */
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
}

static void small_bodies_are_verified_and_connections_kept(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    for (int manifest = 0; manifest < 2; manifest++) {
        fixture_go_small(f, manifest);
        for (int i = 0; i < 5; i++) {
            fixture_get(f);
            assert_int_equal(f->client.status, 200);
            assert_int_equal(f->client.body_bytes, SMALL_BYTES);
            assert_memory_equal(f->body, f->small, SMALL_BYTES);
        }
    }
    assert_int_equal(mirror_counters(f->mirror)->bytes_verified, 10 * SMALL_BYTES);
    assert_int_equal(atomic_load(&p->connections), 1);
}

static void nobody_known_is_404_after_the_resolve_timeout(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
    assert_in_range(f->client.all_ms, 18, 500);
    assert_in_range(f->lookups, 2, 8);
    fixture_run(f, "GET", "");
    assert_int_equal(mirror_counters(f->mirror)->misses, 2);
    f->settled = true; /* the index is complete: no reason to wait */
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
    assert_in_range(f->client.all_ms, 0, 15);
    assert_int_equal(f->resolved, 3);
}

static void the_404_is_the_specs_and_says_who_was_asked(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_ABSENT, 0);
    fixture_add(f, SCRIPT_BUSY, 0);
    char holder[128];
    fixture_get(f);
    f->client.body[f->client.body_bytes] = 0;
    assert_int_equal(f->client.status, 404);
    assert_non_null(strstr(f->client.head, "application/json"));
    assert_non_null(strstr(f->body, "\"BLOB_UNKNOWN\""));
    for (int i = 0; i < 2; i++) {
        (void)snprintf(holder, sizeof(holder), "{\"holder\":\"127.0.0.1:%d\",\"outcome\":\"%s\"}",
                       ntohs(f->peers[i].address.in4.sin_port), i ? "busy" : "not found");
        assert_non_null(strstr(f->body, holder));
    }
    fixture_go_small(f, true);
    fixture_get(f);
    f->client.body[f->client.body_bytes] = 0;
    assert_non_null(strstr(f->body, "\"MANIFEST_UNKNOWN\""));
}

static void a_holder_that_becomes_known_in_time_is_used(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    f->known_from_ms = clock_now_us() / 1000 + 12;
    fixture_get(f);
    assert_whole_blob(f);
    assert_true(f->lookups > 1);
}

static void no_more_holders_are_asked_than_configured(void **state)
{
    struct mirror_fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        fixture_add(f, SCRIPT_ABSENT, 0);
    }
    fixture_add(f, SCRIPT_GOOD, 0);
    fixture_get(f);
    assert_int_equal(f->client.status, 404);
    assert_int_equal(atomic_load(&f->peers[3].requests), 0);
    fixture_get(f); /* the three are remembered as lacking it: the fourth gets its turn */
    assert_whole_blob(f);
}

static bool peer_was_asked(void *arg)
{
    struct scripted_peer *p = arg;
    return atomic_load(&p->requests) > 0;
}

static bool client_went(void *arg)
{
    struct mirror_fixture *f = arg;
    return f->gone > 0;
}

static void a_client_that_leaves_before_the_answer_ends_it(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_FROZEN, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(server_port(f->server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_true(send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, 0) > 0);
    assert_true(loop_run_until(f->loop, peer_was_asked, p, 2000));
    scripted_reset(fd); /* a mere FIN could be a client that still listens */
    close(fd);
    assert_true(loop_run_until(f->loop, client_went, f, 500));
    assert_int_equal(mirror_counters(f->mirror)->hits + mirror_counters(f->mirror)->misses, 0);
}

static bool peer_was_cut_off(void *arg)
{
    struct scripted_peer *p = arg;
    return atomic_load(&p->fds[0]) < 0;
}

static void a_client_that_leaves_mid_body_stops_the_peer_at_once(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    f->client.abort_at = 100000;
    f->client.receive_buffer = 8192;
    fixture_start(f, "GET", "");
    client_finish(&f->client, f->loop, 5000);
    assert_true(loop_run_until(f->loop, peer_was_cut_off, p, 500));
    assert_true(atomic_load(&p->bytes_sent) < BLOB_BYTES);
    assert_int_equal(mirror_counters(f->mirror)->cut_short, 0);
    assert_int_equal(mirror_counters(f->mirror)->peer_errors, 0);
}

static bool client_paused(void *arg)
{
    struct blocking_client *c = arg;
    return atomic_load(&c->paused);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* 2.5 s of a client that takes nothing is no fault of the peer's. */
static void a_slow_client_holds_up_the_peer_and_is_no_stall(void **state)
{
    struct mirror_fixture *f = *state;
    struct scripted_peer *p = fixture_add(f, SCRIPT_GOOD, 0);
    f->client.pause_at = 50000;
    f->client.pause_ms = 2500;
    f->client.receive_buffer = 8192;
    int small = 65536; /* the kernel's own would take the whole blob */
    (void)setsockopt(p->listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    fixture_start(f, "GET", "");
    assert_true(loop_run_until(f->loop, client_paused, &f->client, 5000));
    (void)loop_run_until(f->loop, never, NULL, 1000);
    uint64_t taken = mirror_counters(f->mirror)->bytes_spliced;
    (void)loop_run_until(f->loop, never, NULL, 1200);
    assert_int_equal(mirror_counters(f->mirror)->bytes_spliced, taken); /* nothing moves */
    client_finish(&f->client, f->loop, 20000);
    assert_whole_blob(f);
    assert_int_equal(mirror_counters(f->mirror)->stalled, 0);
    assert_int_equal(mirror_counters(f->mirror)->resumed, 0);
}

static void many_clients_at_once_all_get_it(void **state)
{
    struct mirror_fixture *f = *state;
    fixture_add(f, SCRIPT_GOOD, 0);
    static struct blocking_client clients[12];
    char *bodies = malloc(12 * (size_t)BLOB_BYTES);
    for (int i = 0; i < 12; i++) {
        clients[i] = (struct blocking_client){0};
        client_start(&clients[i], server_port(f->server), "GET", "/", "",
                     bodies + i * (size_t)BLOB_BYTES, BLOB_BYTES);
    }
    for (int i = 0; i < 12; i++) {
        client_finish(&clients[i], f->loop, 20000);
        assert_int_equal(clients[i].body_bytes, BLOB_BYTES);
        assert_memory_equal(clients[i].body, f->blob, BLOB_BYTES);
    }
    free(bodies);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_blob_arrives_byte_for_byte),
        TEST(peers_are_asked_as_peers),
        TEST(ranges_are_passed_on),
        TEST(a_range_beyond_the_end_is_416),
        TEST(a_head_is_answered_through_a_head),
        TEST(a_tag_is_answered_with_its_digest),
        TEST(small_bodies_are_verified_and_connections_kept),
        TEST(nobody_known_is_404_after_the_resolve_timeout),
        TEST(the_404_is_the_specs_and_says_who_was_asked),
        TEST(a_holder_that_becomes_known_in_time_is_used),
        TEST(no_more_holders_are_asked_than_configured),
        TEST(a_client_that_leaves_before_the_answer_ends_it),
        TEST(a_client_that_leaves_mid_body_stops_the_peer_at_once),
        TEST(a_slow_client_holds_up_the_peer_and_is_no_stall),
        TEST(many_clients_at_once_all_get_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
