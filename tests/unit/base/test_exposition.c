#include "support.h"

#include <string.h>

#include "base/exposition.h"

static void families_labels_and_histograms_read_as_the_format_says(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct exposition e = {.out = &out};
    exposition_counter(&e, "a_total", "Some help.", 3);
    exposition_sample(&e, "b", (struct label[]){{"x", "q\"\\\n"}, {"y", NULL}, {0}}, 0.25);
    const double bounds[] = {1, 2.5};
    struct histogram h;
    histogram_init(&h, bounds, 2);
    histogram_observe(&h, 1);
    histogram_observe(&h, 2);
    histogram_observe(&h, 99);
    exposition_histogram(&e, "h", (struct label[]){{"k", "v"}, {0}}, &h);
    assert_false(e.failed);
    assert_string_equal(out.data, "# HELP a_total Some help.\n"
                                  "# TYPE a_total counter\n"
                                  "a_total 3\n"
                                  "b{x=\"q\\\"\\\\\\n\",y=\"\"} 0.25\n"
                                  "h_bucket{k=\"v\",le=\"1\"} 1\n"
                                  "h_bucket{k=\"v\",le=\"2.5\"} 2\n"
                                  "h_bucket{k=\"v\",le=\"+Inf\"} 3\n"
                                  "h_sum{k=\"v\"} 102\n"
                                  "h_count{k=\"v\"} 3\n");
    buf_done(&out);
}

static void what_does_not_fit_is_told(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10);
    struct exposition e = {.out = &out};
    exposition_counter(&e, "a_total", "Some help.", 3);
    assert_true(e.failed);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_labels_and_histograms_read_as_the_format_says),
        cmocka_unit_test(what_does_not_fit_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
