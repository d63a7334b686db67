/* exposition.h - metrics as Prometheus' text exposition format 0.0.4.
 *
 * Writers into a struct buf; an append that fails (cap, memory) is remembered in the buf only by
 * its absence: the caller checks exposition_failed once at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct exposition {
    struct buf *out;
    bool failed;
};

struct label {
    const char *name, *value; /* values are escaped here; name NULL ends a list */
};

struct histogram {
    const double *bounds; /* upper bounds, ascending, without +Inf */
    size_t bound_count;   /* at most HISTOGRAM_BOUNDS_MAX */
    uint64_t counts[16];  /* not cumulative; the last used one is +Inf */
    uint64_t count;
    double sum;
};
#define HISTOGRAM_BOUNDS_MAX 15

void histogram_init(struct histogram *h, const double *bounds, size_t bound_count);
void histogram_observe(struct histogram *h, double value);

/* "# HELP" and "# TYPE"; kind is "counter", "gauge" or "histogram". */
void exposition_family(struct exposition *e, const char *name, const char *kind, const char *help);
void exposition_sample(struct exposition *e, const char *name, const struct label *labels,
                       double value);
void exposition_histogram(struct exposition *e, const char *name, const struct label *labels,
                          const struct histogram *h);
/* A family of one sample without labels. */
void exposition_counter(struct exposition *e, const char *name, const char *help, double value);
void exposition_gauge(struct exposition *e, const char *name, const char *help, double value);

/* A counter family with one sample for each name, told apart by one label. */
struct named_count {
    const char *name;
    uint64_t count;
};
void exposition_named(struct exposition *e, const char *family, const char *help, const char *label,
                      const struct named_count *counts, size_t n);
