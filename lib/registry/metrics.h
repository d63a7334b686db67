/* metrics.h - what the registry counts about its requests, under the names users graph today.
 *
 * Names, labels and buckets: surface.md of the Go implementation's current release. Label values
 * that come from outside (the registry's name) are capped; what is over goes under "other". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/exposition.h"

struct metrics;

/* The route a request took, as the label `handler` says it. */
enum metrics_handler { METRICS_READYZ, METRICS_LIVEZ, METRICS_V2, METRICS_OTHER };
enum metrics_source { METRICS_STORE, METRICS_PEER, METRICS_SOURCES };

int metrics_new(struct metrics **ret_metrics); /* 0 or -ENOMEM */
void metrics_free(struct metrics *m);

void metrics_begin(struct metrics *m, enum metrics_handler handler);
void metrics_end(struct metrics *m, enum metrics_handler handler, const char *method, int status,
                 double seconds, uint64_t body_bytes);

/* A manifest or blob that this node lacks was asked of the mirror: did a peer have it? What is held
 * here is not counted, nor was it in the Go implementation. */
void metrics_mirror_request(struct metrics *m, const char *registry, bool hit, double unix_s);

void metrics_resolved(struct metrics *m, double seconds);
void metrics_bytes(struct metrics *m, enum metrics_source source, uint64_t bytes);

/* Appends every family it has. */
void metrics_write(const struct metrics *m, struct exposition *e);

/* process_* families: RSS, descriptors, CPU, start time. */
void metrics_write_process(struct exposition *e);
