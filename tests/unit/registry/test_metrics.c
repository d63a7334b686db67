#include "registry/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support.h"

static char *written(const struct metrics *m)
{
    struct buf text;
    buf_init(&text, 1024 * 1024);
    struct exposition e = {.out = &text};
    metrics_write(m, &e);
    assert_false(e.failed);
    return text.data;
}

static void assert_says(const struct metrics *m, const char *line)
{
    char *text = written(m);
    if (!strstr(text, line)) {
        fail_msg("no \"%s\" in\n%s", line, text);
    }
    free(text);
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text++) {
        n++;
    }
    return n;
}

static void mirror_requests_are_counted_by_registry_and_outcome(void **state)
{
    (void)state;
    struct metrics *m;
    assert_int_equal(metrics_new(&m), 0);
    metrics_mirror_request(m, "docker.io", true, 1700000000);
    metrics_mirror_request(m, "docker.io", false, 1700000005);
    metrics_mirror_request(m, "docker.io", true, 1700000001);
    metrics_mirror_request(m, "ghcr.io", false, 1700000009);
    assert_says(m, "spegel_mirror_requests_total{registry=\"docker.io\",cache=\"hit\"} 2\n");
    assert_says(m, "spegel_mirror_requests_total{registry=\"docker.io\",cache=\"miss\"} 1\n");
    assert_says(m, "spegel_mirror_requests_total{registry=\"ghcr.io\",cache=\"hit\"} 0\n");
    assert_says(m, "spegel_mirror_last_success_timestamp_seconds 1700000001\n");
    metrics_free(m);
}

/* The name comes from whoever asks. */
static void a_flood_of_registries_ends_under_one_label(void **state)
{
    (void)state;
    struct metrics *m;
    char name[32];
    assert_int_equal(metrics_new(&m), 0);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "r%d.example", i);
        metrics_mirror_request(m, name, false, 0);
    }
    metrics_mirror_request(m, "r3.example", true, 1);
    char *text = written(m);
    assert_int_equal(count_of(text, "spegel_mirror_requests_total{"), 65 * 2);
    free(text);
    assert_says(m, "{registry=\"other\",cache=\"miss\"} 936\n");
    assert_says(m, "{registry=\"r3.example\",cache=\"hit\"} 1\n");
    metrics_free(m);
}

static void requests_are_in_flight_until_they_end(void **state)
{
    (void)state;
    struct metrics *m;
    assert_int_equal(metrics_new(&m), 0);
    metrics_begin(m, METRICS_V2);
    metrics_begin(m, METRICS_V2);
    metrics_begin(m, METRICS_READYZ);
    assert_says(m, "http_requests_inflight{handler=\"/v2/*\"} 2\n");
    metrics_end(m, METRICS_V2, "GET", 200, 0.02, 5000);
    metrics_end(m, METRICS_V2, "HEAD", 404, 0.0001, 0);
    assert_says(m, "http_requests_inflight{handler=\"/v2/*\"} 0\n");
    assert_says(m, "http_requests_inflight{handler=\"/readyz\"} 1\n");
    /* Go's default buckets, and 1024·5ⁿ. */
    static const char *const lines[] = {
        "http_request_duration_seconds_bucket{handler=\"/v2/*\",method=\"GET\",code=\"200\","
        "le=\"0.01\"} 0\n",
        "http_request_duration_seconds_bucket{handler=\"/v2/*\",method=\"GET\",code=\"200\","
        "le=\"0.025\"} 1\n",
        "http_response_size_bytes_bucket{handler=\"/v2/*\",method=\"GET\",code=\"200\","
        "le=\"1024\"} 0\n",
        "http_response_size_bytes_bucket{handler=\"/v2/*\",method=\"GET\",code=\"200\","
        "le=\"5120\"} 1\n",
        "http_response_size_bytes_sum{handler=\"/v2/*\",method=\"GET\",code=\"200\"} 5000\n",
        "http_request_duration_seconds_count{handler=\"/v2/*\",method=\"HEAD\",code=\"404\"} 1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_says(m, lines[i]);
    }
    metrics_free(m);
}

static void there_are_ten_sizes_each_five_times_the_last(void **state)
{
    (void)state;
    struct metrics *m;
    assert_int_equal(metrics_new(&m), 0);
    metrics_begin(m, METRICS_V2);
    metrics_end(m, METRICS_V2, "GET", 200, 0.02, 5000);
    char *text = written(m);
    const char *family = "http_response_size_bytes_bucket{", *at = text;
    assert_int_equal(count_of(text, family), 11);
    double bound = 1024;
    for (int i = 0; i < 10; i++, bound *= 5) {
        at = strstr(strstr(at, family), "le=\"") + 4;
        assert_true(strtod(at, NULL) == bound);
    }
    free(text);
    metrics_free(m);
}

static void what_the_process_uses_is_plausible(void **state)
{
    (void)state;
    struct buf text;
    double value = 0;
    buf_init(&text, 65536);
    struct exposition e = {.out = &text};
    metrics_write_process(&e);
    assert_false(e.failed);
    static const struct {
        const char *name;
        double least, most;
    } rows[] = {
        {"\nprocess_cpu_seconds_total ", 0, 1000},
        {"\nprocess_resident_memory_bytes ", 100000, 1e11},
        {"\nprocess_open_fds ", 3, 10000},
        {"\nprocess_max_fds ", 3, 1e10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *at = strstr(text.data, rows[i].name);
        assert_non_null(at);
        value = atof(at + strlen(rows[i].name));
        assert_true(value >= rows[i].least && value <= rows[i].most);
    }
    const char *at = strstr(text.data, "\nprocess_start_time_seconds ");
    assert_non_null(at);
    value = atof(at + strlen("\nprocess_start_time_seconds "));
    double now = (double)time(NULL);
    assert_true(value > now - 600 && value < now + 5);
    buf_done(&text);
}

static void without_memory_a_request_goes_uncounted(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct metrics *m;
        if (metrics_new(&m) == 0) {
            metrics_begin(m, METRICS_V2);
            metrics_end(m, METRICS_V2, "GET", 200, 1, 1);
            metrics_mirror_request(m, "docker.io", true, 1);
            metrics_free(m);
        }
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mirror_requests_are_counted_by_registry_and_outcome),
        cmocka_unit_test(a_flood_of_registries_ends_under_one_label),
        cmocka_unit_test(requests_are_in_flight_until_they_end),
        cmocka_unit_test(there_are_ten_sizes_each_five_times_the_last),
        cmocka_unit_test(what_the_process_uses_is_plausible),
        cmocka_unit_test(without_memory_a_request_goes_uncounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
