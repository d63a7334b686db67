/* record.h - what is remembered of one request until its response is over, for metrics and the log.
 * Private to registry/. */
#pragma once

#include "registry/answer.h"

struct request_record {
    struct registry *registry;
    enum metrics_handler handler;
    const char *method;
    uint64_t started_us;
    bool is_mirrored; /* not held here: the mirror was asked */
    enum metrics_source source;
    char target[128];                             /* cut; for the log */
    char registry_name[REFERENCE_REGISTRY_BYTES]; /* while is_mirrored */
};

/* Puts a record beside the conn (conn_user) until the response is over, which frees it. Without
 * memory there is none, and the request goes uncounted. */
void record_new(struct registry *r, struct conn *c, const struct http_request *request);

/* The client left before any answer: counts it so. Nothing to do when there is no record. */
void record_gone(struct conn *c);
