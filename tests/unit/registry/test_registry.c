/* Routes, access, listings; the content itself is test_registry_content.c. */
#include "registry_image.h"

static void routes_that_are_about_no_content(void **state)
{
    static const struct row rows[] = {
        {"GET", "/v2/", "", 200, 2, {"Docker-Distribution-API-Version: registry/2.0"}, NULL},
        {"HEAD", "/v2/", "", 200, 2, {0}, NULL},
        {"GET", "/v2", "", 307, -1, {"Location: /v2/\r\n"}, NULL},
        {"GET", "/readyz", "", 200, -1, {"Content-Type: application/json"}, NULL},
        {"GET", "/livez", "", 200, -1, {0}, NULL},
        {"HEAD", "/healthz", "", 200, -1, {0}, NULL},
        {"GET", "/", "", 404, -1, {0}, NULL},
        {"GET", "/id", "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/uploads/", "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/%61pp/manifests/v1", "", 400, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/v1?ns=not%20a%20registry", "", 400, -1, {0}, NULL},
        {"GET", "/v2/library/app/blobs/sha256:short", "", 400, -1, {0}, NULL},
        {"DELETE", "/v2/library/app/manifests/v1", "", 405, -1, {"Allow: GET, HEAD\r\n"}, NULL},
        {"PUT", "/readyz", "", 405, -1, {0}, NULL},
        {"GET", "/cluster/v1/snapshot", "", 403, -1, {0}, NULL},
        {"GET", "/cluster/v1/snapshot", "X-Spegel-Auth: x\r\n", 200, 6, {"octet-stream"}, NULL},
        {"GET", "/cluster/v1/other", "X-Spegel-Auth: x\r\n", 404, -1, {0}, NULL},
        {"GET", "/cluster/v1/busy", "X-Spegel-Auth: x\r\n", 503, -1, {"Retry-After: 1"}, NULL},
    };
    RUN(*state, rows);
}

static void readiness_follows_the_node_until_it_leaves(void **state)
{
    struct fixture *f = *state;
    f->site.ready = false;
    ask(f, "GET", "/readyz", "");
    assert_int_equal(f->site.client.status, 503);
    assert_string_equal(f->site.reply, "{\"listed\":false,\"ok\":false}\n");
    ask(f, "GET", "/livez", "");
    assert_int_equal(f->site.client.status, 200);
    f->site.ready = true;
    ask(f, "GET", "/readyz", "");
    assert_int_equal(f->site.client.status, 200);
    registry_set_leaving(f->site.registry);
    ask(f, "GET", "/readyz", "");
    assert_int_equal(f->site.client.status, 503);
    assert_non_null(strstr(f->site.reply, "\"leaving\":true"));
}

static void a_draining_node_begins_nothing_and_answers_its_probes(void **state)
{
    static const struct row before[] = {
        {"GET", "/v2/library/app/manifests/v1" NS, "", 200, -1, {0}, NULL},
    };
    static const struct row rows[] = {
        /* A peer asks the next holder; containerd goes to the next host: only a 404 makes it. */
        {"GET", "/v2/library/app/manifests/v1" NS, "", 404, -1, {0}, NULL},
        {"GET",
         "/v2/library/app/manifests/v1" NS,
         "X-Spegel-Mirrored: true\r\n",
         503,
         -1,
         {"Retry-After: 1"},
         NULL},
        {"HEAD", "/v2/library/app/manifests/v1" NS, "", 404, -1, {0}, NULL},
        {"GET", "/cluster/v1/snapshot", "X-Spegel-Auth: x\r\n", 503, -1, {"Retry-After"}, NULL},
        {"GET", "/v2/", "", 200, -1, {0}, NULL},
        {"GET", "/v2/_catalog", "", 200, -1, {0}, NULL},
        {"GET", "/livez", "", 200, -1, {0}, NULL},
        {"GET", "/readyz", "", 503, -1, {0}, NULL},
    };
    struct fixture *f = *state;
    RUN(f, before);
    f->site.ready = true;
    registry_set_leaving(f->site.registry);
    RUN(f, before); /* asked by who chose this node before it said so */
    registry_set_draining(f->site.registry);
    RUN(f, rows);
    assert_string_equal(f->site.reply, "{\"listed\":true,\"leaving\":true,\"ok\":false}\n");
    ask(f, "GET", "/v2/library/app/blobs/$L" NS, "");
    assert_int_equal(f->site.client.status, 404);
    assert_non_null(strstr(f->site.reply, "\"this node is leaving\""));
}

static void several_registries_with_one_tag_are_named(void **state)
{
    struct fixture *f = *state;
    site_image(&f->site, "quay.io/library/app:v1", f->manifest_digest);
    ask(f, "GET", "/v2/library/app/manifests/v1", "");
    assert_int_equal(f->site.client.status, 404);
    assert_non_null(strstr(f->site.reply, "{\"registries\":[\"docker.io\",\"quay.io\"]}"));
    assert_int_equal(f->site.lookups, 0);
}

static void what_is_filtered_is_nowhere(void **state)
{
    static const struct row rows[] = {
        {"GET", "/v2/private/app/manifests/v1" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/private/app/manifests/$P" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/$P" NS, "", 404, -1, {0}, NULL},
        {"GET", "/v2/library/app/manifests/$P", "", 404, -1, {0}, NULL},
        {"GET", "/v2/private/app/blobs/$L" NS, "", 404, -1, {0}, NULL},
    };
    struct fixture *f = *state;
    RUN(f, rows);
    assert_int_equal(registry_counters(f->site.registry)->filtered, 5);
    assert_int_equal(f->site.lookups, 0);
}

static void who_asks_on_behalf_of_others_is_served_from_here_only(void **state)
{
    struct fixture *f = *state;
    static const char *const fields[] = {"X-Spegel-Mirrored: true\r\n",
                                         "X-Spegel-Mirror: false\r\n",
                                         "X-Spegel-Mirror: FALSE\r\nX-Spegel-External: true\r\n"};
    for (size_t i = 0; i < 3; i++) {
        ask(f, "GET", "/v2/library/app/manifests/v9" NS, fields[i]);
        assert_int_equal(f->site.client.status, 404);
        assert_non_null(strstr(f->site.reply, "MANIFEST_UNKNOWN"));
        assert_non_null(strstr(f->site.reply, "\"attempts\":[]"));
        assert_int_equal(f->site.lookups, 0);
    }
    ask(f, "GET", "/v2/library/app/manifests/v9" NS, "X-Spegel-Mirror: true\r\n");
    assert_int_equal(f->site.client.status, 404);
    assert_true(f->site.lookups > 0);
}

static void write_secret(const struct fixture *f, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/secret/%s", f->site.dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool auth_is_on(void *arg)
{
    return auth_enabled(((struct fixture *)arg)->site.auth);
}

static void basic_auth_guards_all_but_the_probes(void **state)
{
    static const struct row rows[] = {
        {"GET", "/v2/", "", 401, -1, {"WWW-Authenticate: Basic realm=\"spegel\"\r\n"}, NULL},
        {"GET", "/v2/library/app/blobs/$L" NS, "", 401, -1, {0}, NULL},
        {"GET", "/v2/_catalog", "Authorization: Basic bm86bm8=\r\n", 401, -1, {0}, NULL},
        {"GET", "/v2/_catalog", "Authorization: Bearer dTpw\r\n", 401, -1, {0}, NULL},
        {"GET", "/cluster/v1/snapshot", "X-Spegel-Auth: x\r\n", 401, -1, {0}, NULL},
        {"GET", "/readyz", "", 200, -1, {0}, "WWW-Authenticate"},
        {"GET", "/livez", "", 200, -1, {0}, NULL},
        {"GET", "/v2/", "Authorization: Basic dTpw\r\n", 200, -1, {0}, NULL},
        {"GET",
         "/v2/library/app/blobs/$L" NS,
         "Authorization: basic dTpw\r\n",
         200,
         LAYER_BYTES,
         {0},
         NULL},
        {"GET",
         "/cluster/v1/snapshot",
         "X-Spegel-Auth: x\r\nAuthorization: Basic dTpw\r\n",
         200,
         6,
         {0},
         NULL},
    };
    struct fixture *f = *state;
    write_secret(f, "username", "u\n");
    write_secret(f, "password", "p");
    assert_true(loop_run_until(f->loop, auth_is_on, f, 5000));
    RUN(f, rows);
    assert_int_equal(registry_counters(f->site.registry)->unauthorized, 5);
}

static void listings_are_sorted_and_come_in_pages(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *target;
        int status;
        const char *body, *link;
    } rows[] = {
        {"/v2/_catalog", 200,
         "{\"repositories\":[\"library/app\",\"library/big\",\"library/unread\",\"org/tool\"]}\n",
         NULL},
        {"/v2/_catalog?n=2", 200, "{\"repositories\":[\"library/app\",\"library/big\"]}\n",
         "Link: </v2/_catalog?n=2&last=library/big>; rel=\"next\"\r\n"},
        {"/v2/_catalog?n=2&last=library/big", 200,
         "{\"repositories\":[\"library/unread\",\"org/tool\"]}\n", NULL},
        {"/v2/_catalog?n=0", 200, "{\"repositories\":[]}\n", NULL},
        {"/v2/_catalog?ns=ghcr.io", 200, "{\"repositories\":[\"org/tool\"]}\n", NULL},
        {"/v2/library/app/tags/list" NS, 200,
         "{\"name\":\"library/app\",\"tags\":[\"v1\",\"v2\"]}\n", NULL},
        {"/v2/library/app/tags/list?n=1&ns=docker.io", 200,
         "{\"name\":\"library/app\",\"tags\":[\"v1\"]}\n",
         "Link: </v2/library/app/tags/list?n=1&last=v1&ns=docker.io>; rel=\"next\"\r\n"},
        {"/v2/library/none/tags/list", 404, NULL, NULL},
        {"/v2/library/app/tags/list?ns=quay.io", 404, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask(f, "GET", rows[i].target, "");
        assert_int_equal(f->site.client.status, rows[i].status);
        if (rows[i].body) {
            assert_string_equal(f->site.reply, rows[i].body);
        } else {
            assert_non_null(strstr(f->site.reply, "NAME_UNKNOWN"));
        }
        assert_true(rows[i].link ? site_said(&f->site, rows[i].link)
                                 : !site_said(&f->site, "Link:"));
    }
}

static void referrers_are_an_index_even_when_there_are_none(void **state)
{
    struct fixture *f = *state;
    char json[1024], digest[DIGEST_TEXT_BYTES], target[256];
    (void)snprintf(json, sizeof json,
                   "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE "\","
                   "\"artifactType\":\"application/signature\",\"config\":{\"mediaType\":"
                   "\"application/vnd.oci.empty.v1+json\",\"digest\":\"%s\",\"size\":24},"
                   "\"layers\":[],\"subject\":{\"mediaType\":\"" MANIFEST_TYPE
                   "\",\"digest\":\"%s\",\"size\":%zu},\"annotations\":{\"by\":\"me\"}}",
                   f->config_digest, f->manifest_digest, strlen(f->manifest_json));
    site_add(&f->site, json, strlen(json), digest);
    site_know_manifest(&f->site, json, digest);
    ask(f, "GET", "/v2/library/app/referrers/$M" NS, "");
    assert_int_equal(f->site.client.status, 200);
    assert_true(site_said(&f->site, "Content-Type: application/vnd.oci.image.index.v1+json\r\n"));
    assert_non_null(strstr(f->site.reply, digest));
    assert_non_null(strstr(f->site.reply, "\"artifactType\":\"application/signature\""));
    assert_non_null(strstr(f->site.reply, "\"annotations\":{\"by\":\"me\"}"));
    ask(f, "GET", "/v2/library/app/referrers/$M?artifactType=application/other", "");
    assert_true(site_said(&f->site, "OCI-Filters-Applied: artifactType\r\n"));
    assert_non_null(strstr(f->site.reply, "\"manifests\":[]"));
    (void)snprintf(target, sizeof target, "/v2/library/app/referrers/sha256:%064d", 0);
    ask(f, "GET", target, "");
    assert_int_equal(f->site.client.status, 200);
    assert_non_null(strstr(f->site.reply, "\"manifests\":[]"));
    ask(f, "GET", "/v2/library/app/referrers/latest", "");
    assert_int_equal(f->site.client.status, 400);
}

static void requests_are_counted_by_route_method_and_status(void **state)
{
    struct fixture *f = *state;
    ask(f, "GET", "/v2/library/app/blobs/$L" NS, "");
    ask(f, "HEAD", "/v2/library/app/manifests/v1" NS, "");
    ask(f, "GET", "/v2/library/app/manifests/v9" NS, "");
    ask(f, "GET", "/readyz", "");
    assert_metric(&f->site, "http_request_duration_seconds_count{handler=\"/v2/*\","
                            "method=\"GET\",code=\"200\"} 1\n");
    assert_metric(&f->site, "http_request_duration_seconds_count{handler=\"/v2/*\","
                            "method=\"HEAD\",code=\"200\"} 1\n");
    assert_metric(&f->site, "http_request_duration_seconds_count{handler=\"/v2/*\","
                            "method=\"GET\",code=\"404\"} 1\n");
    assert_metric(&f->site, "http_request_duration_seconds_count{handler=\"/readyz\","
                            "method=\"GET\",code=\"200\"} 1\n");
    assert_metric(&f->site, "http_requests_inflight{handler=\"/v2/*\"} 0\n");
    assert_metric(&f->site, "spegel_served_bytes_total{source=\"store\"} 300000\n");
    assert_true(registry_last_containerd_request(f->site.registry) == 0);
    ask(f, "GET", "/v2/", "User-Agent: containerd/2.1.9\r\n");
    assert_true(registry_last_containerd_request(f->site.registry) > 1e9);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(routes_that_are_about_no_content),
        TEST(readiness_follows_the_node_until_it_leaves),
        TEST(a_draining_node_begins_nothing_and_answers_its_probes),
        TEST(several_registries_with_one_tag_are_named),
        TEST(what_is_filtered_is_nowhere),
        TEST(who_asks_on_behalf_of_others_is_served_from_here_only),
        TEST(basic_auth_guards_all_but_the_probes),
        TEST(listings_are_sorted_and_come_in_pages),
        TEST(referrers_are_an_index_even_when_there_are_none),
        TEST(requests_are_counted_by_route_method_and_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
