/* Manifests and blobs: what is answered, from where, and what happens to clients that leave. */
#include "registry_image.h"

static void manifests_are_answered_by_tag_and_by_digest(void **state)
{
    static const struct row rows[] = {
        {"GET",
         "/v2/library/app/manifests/v1" NS,
         "",
         200,
         -1,
         {"Docker-Content-Digest: $M\r\n", "Content-Type: " MANIFEST_TYPE "\r\n",
          "OCI-Namespace: docker.io\r\n"},
         NULL},
        {"HEAD",
         "/v2/library/app/manifests/v1" NS,
         "",
         200,
         -1,
         {"Docker-Content-Digest: $M\r\n", "Content-Type: " MANIFEST_TYPE "\r\n",
          "OCI-Namespace: docker.io\r\n"},
         NULL},
        {"GET", "/v2/library/app/manifests/$M", "", 200, -1, {"ETag: \"$M\""}, "OCI-Namespace"},
        {"GET",
         "/v2/library/app/manifests/$M" NS,
         "If-None-Match: \"$M\"\r\n",
         304,
         -1,
         {"ETag: \"$M\""},
         "Content-Length: 0"},
        {"GET",
         "/v2/library/app/manifests/$M" NS,
         "Range: bytes=5-\r\n",
         200,
         -1,
         {0},
         "Content-Range"},
        /* Without ns: the one registry here that has it, else the choices. */
        {"GET", "/v2/library/app/manifests/v2", "", 200, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/v9", "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/v9" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/v1?ns=quay.io", "", 404, -1, {0}, NULL},
        /* The registry's other names: ns first. */
        {"GET",
         "/v2/library/app/manifests/v1",
         "X-Spegel-Registry: https://docker.io\r\n",
         200,
         -1,
         {"OCI-Namespace: docker.io\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/manifests/v1",
         "X-Spegel-Registry: https://docker.io/\r\n",
         200,
         -1,
         {"OCI-Namespace: docker.io\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/manifests/v1",
         "OCI-Namespace: docker.io\r\n",
         200,
         -1,
         {"OCI-Namespace: docker.io\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/manifests/v1" NS,
         "X-Spegel-Registry: https://quay.io\r\n",
         200,
         -1,
         {"OCI-Namespace: docker.io\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/manifests/v1",
         "X-Spegel-Registry: https://quay.io\r\n",
         404,
         -1,
         {0},
         NULL},
        /* Larger than what is kept in memory. */
        {"GET",
         "/v2/library/big/manifests/v1" NS,
         "",
         200,
         -1,
         {"Docker-Content-Digest: $B\r\n", "Content-Type: " MANIFEST_TYPE},
         NULL},
        {"HEAD", "/v2/library/big/manifests/$B" NS, "", 200, -1, {0}, NULL},
        /* No image names it, or it was not read yet: it is what its bytes are. */
        {"GET", "/v2/library/app/manifests/$m" NS, "", 200, -1, {MANIFEST_TYPE}, NULL},
        {"HEAD", "/v2/library/app/manifests/$m" NS, "", 200, -1, {MANIFEST_TYPE}, NULL},
        {"GET", "/v2/library/unread/manifests/v1" NS, "", 200, -1, {MANIFEST_TYPE}, NULL},
        /* Blobs are no manifests. */
        {"GET", "/v2/library/app/manifests/$L" NS, "", 404, -1, {0}, NULL},
        {"HEAD", "/v2/library/app/manifests/$C" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/$c" NS, "", 404, -1, {0}, NULL},
    };
    struct fixture *f = *state;
    RUN(f, rows);
    ask(f, "GET", "/v2/library/app/manifests/v1" NS, "");
    assert_string_equal(f->site.reply, f->manifest_json);
    ask(f, "GET", "/v2/library/big/manifests/v1" NS, "");
    assert_string_equal(f->site.reply, f->big);
    assert_int_equal(registry_counters(f->site.registry)->wrong_manifests, 0);
}

static void blobs_are_answered_whole_or_in_part(void **state)
{
    static const struct row rows[] = {
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "",
         200,
         LAYER_BYTES,
         {"Accept-Ranges: bytes\r\n", "Docker-Content-Digest: $L\r\n",
          "Content-Type: application/octet-stream\r\n"},
         "Content-Range"},
        {"HEAD",
         "/v2/library/app/blobs/$L" NS,
         "",
         200,
         LAYER_BYTES,
         {"Accept-Ranges: bytes\r\n", "Docker-Content-Digest: $L\r\n",
          "Content-Type: application/octet-stream\r\n"},
         NULL},
        {"GET", "/v2/any/name/blobs/$L", "", 200, LAYER_BYTES, {0}, "OCI-Namespace"},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=299990-\r\n",
         206,
         10,
         {"Content-Range: bytes 299990-299999/300000\r\n", "OCI-Namespace: docker.io\r\n",
          "Docker-Content-Digest: $L\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=-10\r\n",
         206,
         10,
         {"Content-Range: bytes 299990-299999/300000\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=300000-\r\n",
         416,
         0,
         {"Content-Range: bytes */300000\r\n"},
         NULL},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=0-1,5-6\r\n",
         200,
         LAYER_BYTES,
         {0},
         "Content-Range"},
        /* Range is for GET, and If-Range for the content that it names. */
        {"HEAD",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=5-\r\n",
         200,
         LAYER_BYTES,
         {0},
         "Content-Range"},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=5-\r\nIf-Range: \"$L\"\r\n",
         206,
         LAYER_BYTES - 5,
         {0},
         NULL},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Range: bytes=5-\r\nIf-Range: \"$C\"\r\n",
         200,
         LAYER_BYTES,
         {0},
         "Content-Range"},
        {"GET", "/v2/library/app/blobs/$L" NS, "If-None-Match: \"$L\"\r\n", 304, -1, {0}, NULL},
        /* What nobody named yet is what its bytes are. */
        {"GET", "/v2/library/app/blobs/$C" NS, "", 200, 24, {0}, NULL},
        {"GET", "/v2/library/app/blobs/$c" NS, "", 200, 15, {0}, NULL},
        {"GET", "/v2/library/app/blobs/$l" NS, "Range: bytes=10-\r\n", 206, 4990, {0}, NULL},
        /* And containerd asks for a manifest this way when all else failed. */
        {"HEAD", "/v2/library/app/blobs/$M" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/blobs/$B" NS, "", 404, -1, {0}, NULL},
        {"HEAD", "/v2/library/app/blobs/$m" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/unread/blobs/$U" NS, "", 404, -1, {0}, NULL},
        {"GET",
         "/v2/library/app/blobs/sha512:"
         "0000000000000000000000000000000000000000000000000000000000000000"
         "0000000000000000000000000000000000000000000000000000000000000000" NS,
         "",
         404,
         -1,
         {0},
         NULL},
    };
    struct fixture *f = *state;
    RUN(f, rows);
    ask(f, "GET", "/v2/library/app/blobs/$L" NS, "Range: bytes=1000-\r\n");
    assert_memory_equal(f->site.reply, f->layer + 1000, LAYER_BYTES - 1000);
    assert_int_equal(f->site.registry->streams, 0);
}

static void a_file_that_is_gone_or_wrong_is_withdrawn(void **state)
{
    struct fixture *f = *state;
    char path[160];
    struct digest layer = digest_from(f->layer_digest), config = digest_from(f->config_digest),
                  manifest = digest_from(f->manifest_digest), big = digest_from(f->big_digest);
    site_path(&f->site, &layer, path);
    assert_int_equal(unlink(path), 0);
    ask(f, "GET", "/v2/library/app/blobs/$L" NS, "");
    assert_int_equal(f->site.client.status, 404);
    assert_null(inventory_blob(f->site.inventory, &layer));
    site_write(&f->site, &config, "{}", 2); /* another size */
    ask(f, "HEAD", "/v2/library/app/blobs/$C" NS, "");
    assert_int_equal(f->site.client.status, 404);
    assert_null(inventory_blob(f->site.inventory, &config));
    assert_int_equal(registry_counters(f->site.registry)->withdrawn, 2);
    /* Other bytes of the same size: found out before any of them leaves, small or large. */
    char *wrong = strdup(f->big);
    wrong[strlen(wrong) - 4] ^= 1;
    site_write(&f->site, &big, wrong, strlen(wrong));
    free(wrong);
    ask(f, "GET", "/v2/library/big/manifests/v1" NS, "");
    assert_int_equal(f->site.client.status, 404);
    assert_null(inventory_blob(f->site.inventory, &big));
    f->manifest_json[40] ^= 1;
    site_write(&f->site, &manifest, f->manifest_json, strlen(f->manifest_json));
    ask(f, "GET", "/v2/library/app/manifests/v1" NS, "");
    assert_int_equal(f->site.client.status, 404);
    assert_null(inventory_blob(f->site.inventory, &manifest));
    assert_int_equal(registry_counters(f->site.registry)->wrong_manifests, 2);
    assert_int_equal(f->site.lookups, 4); /* each time the others were asked */
}

static bool is_withdrawn(void *arg)
{
    struct fixture *f = arg;
    struct digest layer = digest_from(f->layer_digest);
    return inventory_blob(f->site.inventory, &layer) == NULL;
}

static void a_doubted_copy_is_hashed_and_withdrawn_when_wrong(void **state)
{
    struct fixture *f = *state;
    struct digest layer = digest_from(f->layer_digest);
    f->layer[1000] ^= 1;
    site_write(&f->site, &layer, f->layer, LAYER_BYTES);
    ask(f, "HEAD", "/v2/library/app/blobs/$L" NS,
        "X-Spegel-Mirrored: true\r\nX-Spegel-Doubt: $L\r\n");
    assert_true(loop_run_until(f->loop, is_withdrawn, f, 5000));
    ask(f, "HEAD", "/v2/library/app/blobs/$L" NS, "X-Spegel-Mirrored: true\r\n");
    assert_int_equal(f->site.client.status, 404);
}

static void containerd_is_never_told_to_come_later(void **state)
{
    static const struct row rows[] = {
        {"GET", "/v2/library/app/blobs/$L" NS, "", 404, -1, {0}, "Retry-After"},
        {"GET", "/v2/library/app/blobs/$L" NS, "X-Spegel-Mirror: false\r\n", 404, -1, {0}, NULL},
        {"GET", "/v2/library/big/manifests/v1" NS, "", 404, -1, {0}, NULL},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "X-Spegel-Mirrored: true\r\n",
         503,
         -1,
         {"Retry-After: 1\r\n"},
         NULL},
        /* What costs no stream is answered. */
        {"HEAD", "/v2/library/app/blobs/$L" NS, "", 200, LAYER_BYTES, {0}, NULL},
        {"GET", "/v2/library/app/manifests/v1" NS, "", 200, -1, {0}, NULL},
    };
    struct fixture *f = *state;
    f->site.registry->streams = LIMIT_STREAMS;
    RUN(f, rows);
    assert_int_equal(registry_counters(f->site.registry)->over_stream_cap, 4);
    f->site.registry->streams = 0;
    static const struct row again[] = {
        {"GET", "/v2/library/big/manifests/v1" NS, "", 404, -1, {0}, NULL},
        {"GET",
         "/v2/library/big/manifests/v1" NS,
         "X-Spegel-Mirrored: true\r\n",
         503,
         -1,
         {0},
         NULL},
    };
    f->site.registry->job_count = LIMIT_SERVE_JOBS;
    RUN(f, again);
    f->site.registry->job_count = 0;
}

/* --- from another node --- */

static void what_is_not_held_comes_from_a_node_that_has_it(void **state)
{
    struct fixture *f = *state;
    struct site *other = calloc(1, sizeof *other);
    char target[256], want[256];
    site_start(other, f->loop, NULL);
    other->holder = &f->site;
    (void)snprintf(target, sizeof target, "/v2/library/app/blobs/%s" NS, f->layer_digest);
    site_ask(other, "GET", target, "");
    assert_int_equal(other->client.status, 200);
    assert_int_equal(other->client.body_bytes, LAYER_BYTES);
    assert_memory_equal(other->reply, f->layer, LAYER_BYTES);
    (void)snprintf(want, sizeof want, "Docker-Content-Digest: %s\r\n", f->layer_digest);
    assert_true(site_said(other, want));
    (void)snprintf(want, sizeof want, "ETag: \"%s\"\r\n", f->layer_digest);
    assert_true(site_said(other, want));
    assert_true(site_said(other, "OCI-Namespace: docker.io\r\n"));
    assert_true(site_said(other, "Accept-Ranges: bytes\r\n"));
    site_ask(other, "GET", target, "Range: bytes=299000-\r\n");
    assert_int_equal(other->client.status, 206);
    assert_memory_equal(other->reply, f->layer + 299000, 1000);
    (void)snprintf(want, sizeof want, "Range: bytes=299000-\r\nIf-Range: \"sha256:%064d\"\r\n", 1);
    site_ask(other, "GET", target, want);
    assert_int_equal(other->client.status, 200);
    site_ask(other, "HEAD", "/v2/library/app/manifests/v1" NS, "");
    assert_int_equal(other->client.status, 200);
    assert_int_equal(other->client.content_length, strlen(f->manifest_json));
    site_ask(other, "GET", "/v2/library/app/manifests/v1" NS, "");
    assert_string_equal(other->reply, f->manifest_json);
    site_ask(other, "GET", "/v2/library/app/manifests/v9" NS, "");
    assert_int_equal(other->client.status, 404);
    assert_non_null(strstr(other->reply, "not found")); /* what the one attempt came to */
    /* Asked of the mirror is what is counted, at the node that was asked. */
    assert_metric(other, "spegel_mirror_requests_total{registry=\"docker.io\",cache=\"hit\"} 5\n");
    assert_metric(other, "spegel_mirror_requests_total{registry=\"docker.io\",cache=\"miss\"} 1\n");
    assert_metric(other, "spegel_served_bytes_total{source=\"store\"} 0\n");
    assert_metric(&f->site, "spegel_mirror_last_success_timestamp_seconds 0\n");
    assert_int_equal(f->site.lookups, 0);
    /* The holder is gone: a miss like any other. */
    server_free(f->site.server);
    f->site.server = NULL;
    other->holder = NULL;
    site_ask(other, "GET", target, "");
    assert_int_equal(other->client.status, 404);
    site_stop(other);
    free(other);
}

/* --- clients that leave --- */

#define LEAVERS 24

static int leaver_connect(const struct fixture *f, const char *target)
{
    char request[512];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(server_port(f->site.server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

static bool jobs_wait(void *arg)
{
    return ((struct fixture *)arg)->site.registry->job_count > LEAVERS / 2;
}

static bool jobs_are_over(void *arg)
{
    return ((struct fixture *)arg)->site.registry->job_count == 0;
}

static void clients_leave_while_their_manifest_is_read(void **state)
{
    struct fixture *f = *state;
    int fds[LEAVERS];
    for (int i = 0; i < LEAVERS; i++) {
        fds[i] = leaver_connect(f, "/v2/library/big/manifests/v1" NS);
    }
    assert_true(loop_run_until(f->loop, jobs_wait, f, 5000));
    for (int i = 0; i < LEAVERS; i++) {
        scripted_reset(fds[i]);
        close(fds[i]);
    }
    assert_true(loop_run_until(f->loop, jobs_are_over, f, 5000));
    ask(f, "GET", "/v2/library/big/manifests/v1" NS, "");
    assert_int_equal(f->site.client.status, 200);
    assert_metric(&f->site, "http_requests_inflight{handler=\"/v2/*\"} 0\n");
}

static void the_registry_ends_while_manifests_are_read(void **state)
{
    struct fixture *f = *state;
    int fds[LEAVERS];
    for (int i = 0; i < LEAVERS; i++) {
        fds[i] = leaver_connect(f, "/v2/library/big/manifests/v1" NS);
    }
    assert_true(loop_run_until(f->loop, jobs_wait, f, 5000));
    server_free(f->site.server);
    registry_free(f->site.registry);
    f->site.server = NULL;
    f->site.registry = NULL;
    for (int i = 0; i < LEAVERS; i++) {
        close(fds[i]);
    }
}

static void without_memory_requests_fail_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    static const char *const targets[] = {
        "/v2/",
        "/readyz",
        "/v2/_catalog",
        "/v2/library/app/manifests/v1" NS,
        "/v2/library/big/manifests/v1" NS,
        "/v2/library/app/manifests/v9" NS,
        "/v2/library/app/blobs/$L" NS,
        "/v2/library/app/blobs/$m" NS,
        "/v2/library/app/referrers/$M" NS,
    };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        bool content = strstr(targets[i], "manifests") || strstr(targets[i], "blobs");
        SUPPORT_OUT_OF_MEMORY_SWEEP({
            ask(f, "GET", targets[i], "");
            int status = f->site.client.status; /* 0: closed, which containerd survives */
            assert_true(status == 0 || status == 200 || status == 404 ||
                        (!content && status == 503));
        });
    }
    ask(f, "GET", "/v2/library/app/manifests/v1" NS, "");
    assert_int_equal(f->site.client.status, 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(manifests_are_answered_by_tag_and_by_digest),
        TEST(blobs_are_answered_whole_or_in_part),
        TEST(a_file_that_is_gone_or_wrong_is_withdrawn),
        TEST(a_doubted_copy_is_hashed_and_withdrawn_when_wrong),
        TEST(containerd_is_never_told_to_come_later),
        TEST(what_is_not_held_comes_from_a_node_that_has_it),
        TEST(clients_leave_while_their_manifest_is_read),
        TEST(the_registry_ends_while_manifests_are_read),
        TEST(without_memory_requests_fail_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
