#include "registry/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define STATUS_CLIENT_GONE 499 /* in metrics only: the client left before an answer */

static const char *record_method(const struct http_request *request)
{
    return request->method == HTTP_METHOD_GET    ? "GET"
           : request->method == HTTP_METHOD_HEAD ? "HEAD"
                                                 : "other";
}

static enum metrics_handler record_handler(const char *target)
{
    if (!strncmp(target, "/v2", 3)) {
        return METRICS_V2;
    }
    if (!strncmp(target, "/readyz", 7)) {
        return METRICS_READYZ;
    }
    if (!strncmp(target, "/livez", 6) || !strncmp(target, "/healthz", 8)) {
        return METRICS_LIVEZ;
    }
    return METRICS_OTHER;
}

static void record_finished(void *arg, struct conn *c, int status, uint64_t bytes)
{
    (void)c;
    struct request_record *record = arg;
    struct registry *r = record->registry;
    double seconds = (double)(clock_now_us() - record->started_us) / 1e6;
    bool good = status >= 200 && status < 400;
    metrics_end(r->config.metrics, record->handler, record->method, status, seconds, bytes);
    if (record->is_mirrored) {
        metrics_mirror_request(r->config.metrics, record->registry_name, good,
                               (double)clock_wall_ms() / 1000.0);
    }
    if (good && record->handler == METRICS_V2) {
        metrics_bytes(r->config.metrics, record->source, bytes);
    }
    if (record->handler == METRICS_V2 || record->handler == METRICS_OTHER) {
        log_debug("request", LOG_STR("method", record->method), LOG_STR("target", record->target),
                  LOG_INT("status", status), LOG_INT("bytes", bytes), LOG_INT("us", seconds * 1e6));
    }
    free(record);
}

void record_new(struct registry *r, struct conn *c, const struct http_request *request)
{
    struct request_record *record = malloc(sizeof *record);
    if (!record) {
        return;
    }
    /* Field by field: most of it is text that the next lines write. */
    record->registry = r;
    record->handler = record_handler(request->target);
    record->method = record_method(request);
    record->started_us = conn_request_started_us(c);
    record->is_mirrored = false;
    record->source = METRICS_STORE;
    record->registry_name[0] = 0;
    size_t n = strnlen(request->target, sizeof record->target - 1);
    memcpy(record->target, request->target, n);
    record->target[n] = 0;
    metrics_begin(r->config.metrics, record->handler);
    conn_on_finished(c, record_finished, record);
    conn_set_user(c, record);
}

void record_gone(struct conn *c)
{
    struct request_record *record = conn_user(c);
    if (record) { /* `finished` will not come */
        metrics_end(record->registry->config.metrics, record->handler, record->method,
                    STATUS_CLIENT_GONE, (double)(clock_now_us() - record->started_us) / 1e6, 0);
        conn_set_user(c, NULL);
        free(record);
    }
}
