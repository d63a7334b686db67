#include "base/exposition.h"

#include <math.h>
#include <stdio.h>

#include "base/check.h"

void histogram_init(struct histogram *h, const double *bounds, size_t bound_count)
{
    CHECK(bound_count <= HISTOGRAM_BOUNDS_MAX);
    *h = (struct histogram){.bounds = bounds, .bound_count = bound_count};
}

void histogram_observe(struct histogram *h, double value)
{
    size_t i = 0;
    while (i < h->bound_count && value > h->bounds[i]) {
        i++;
    }
    h->counts[i]++;
    h->count++;
    h->sum += value;
}

static void put(struct exposition *e, const char *text)
{
    if (buf_puts(e->out, text) < 0) {
        e->failed = true;
    }
}

static void put_escaped(struct exposition *e, const char *text)
{
    for (const char *p = text; *p; p++) {
        char one[3] = {*p, 0, 0};
        if (*p == '\\' || *p == '"') {
            one[0] = '\\';
            one[1] = *p;
        } else if (*p == '\n') {
            one[0] = '\\';
            one[1] = 'n';
        }
        put(e, one);
    }
}

static void put_number(struct exposition *e, double value)
{
    char text[64];
    if (value == floor(value) && fabs(value) < 1e15) {
        (void)snprintf(text, sizeof text, "%.0f", value);
    } else {
        (void)snprintf(text, sizeof text, "%.15g", value);
    }
    put(e, text);
}

/* `le` (may be NULL) is appended to the labels: histograms need one more. */
static void put_series(struct exposition *e, const char *name, const char *suffix,
                       const struct label *labels, const char *le)
{
    put(e, name);
    put(e, suffix);
    bool open = false;
    for (; labels && labels->name; labels++) {
        put(e, open ? "," : "{");
        put(e, labels->name);
        put(e, "=\"");
        put_escaped(e, labels->value ? labels->value : "");
        put(e, "\"");
        open = true;
    }
    if (le) {
        put(e, open ? ",le=\"" : "{le=\"");
        put(e, le);
        put(e, "\"");
        open = true;
    }
    put(e, open ? "} " : " ");
}

void exposition_family(struct exposition *e, const char *name, const char *kind, const char *help)
{
    put(e, "# HELP ");
    put(e, name);
    put(e, " ");
    put(e, help);
    put(e, "\n# TYPE ");
    put(e, name);
    put(e, " ");
    put(e, kind);
    put(e, "\n");
}

void exposition_sample(struct exposition *e, const char *name, const struct label *labels,
                       double value)
{
    put_series(e, name, "", labels, NULL);
    put_number(e, value);
    put(e, "\n");
}

void exposition_histogram(struct exposition *e, const char *name, const struct label *labels,
                          const struct histogram *h)
{
    uint64_t cumulative = 0;
    for (size_t i = 0; i <= h->bound_count; i++) {
        char le[32] = "+Inf";
        if (i < h->bound_count) {
            (void)snprintf(le, sizeof le, "%g", h->bounds[i]);
        }
        cumulative += h->counts[i];
        put_series(e, name, "_bucket", labels, le);
        put_number(e, (double)cumulative);
        put(e, "\n");
    }
    put_series(e, name, "_sum", labels, NULL);
    put_number(e, h->sum);
    put(e, "\n");
    put_series(e, name, "_count", labels, NULL);
    put_number(e, (double)h->count);
    put(e, "\n");
}

void exposition_counter(struct exposition *e, const char *name, const char *help, double value)
{
    exposition_family(e, name, "counter", help);
    exposition_sample(e, name, NULL, value);
}

void exposition_gauge(struct exposition *e, const char *name, const char *help, double value)
{
    exposition_family(e, name, "gauge", help);
    exposition_sample(e, name, NULL, value);
}

void exposition_named(struct exposition *e, const char *family, const char *help, const char *label,
                      const struct named_count *counts, size_t n)
{
    exposition_family(e, family, "counter", help);
    for (size_t i = 0; i < n; i++) {
        exposition_sample(e, family, (struct label[]){{label, counts[i].name}, {0}},
                          (double)counts[i].count);
    }
}
