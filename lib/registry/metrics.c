#include "registry/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define REGISTRIES_MAX 64
#define SERIES_MAX 128 /* handlers × methods × status codes that occur; more share the last */

static const double duration_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static const double size_bounds[] = {1024,    5120,     25600,    128000,    640000,
                                     3200000, 16000000, 80000000, 400000000, 2000000000};
static const double resolve_bounds[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                        0.025,  0.05,   0.1,   0.25,   0.5,   1};
static const char *const handler_names[] = {"/readyz", "/livez", "/v2/*", "other"};
static const char *const source_names[] = {"store", "peer"};

struct series {
    enum metrics_handler handler;
    char method[8];
    int status;
    struct histogram seconds, bytes;
};

struct registry_count {
    char name[262];
    uint64_t hits, misses;
};

struct metrics {
    struct series *series[SERIES_MAX];
    size_t series_count;
    struct registry_count *registries[REGISTRIES_MAX + 1];
    size_t registry_count;
    int64_t inflight[METRICS_OTHER + 1];
    uint64_t bytes[METRICS_SOURCES];
    struct histogram resolve;
    double last_success_unix_s;
};

int metrics_new(struct metrics **ret_metrics)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (!m) {
        return -ENOMEM;
    }
    histogram_init(&m->resolve, resolve_bounds, sizeof resolve_bounds / sizeof resolve_bounds[0]);
    *ret_metrics = m;
    return 0;
}

void metrics_free(struct metrics *m)
{
    if (!m) {
        return;
    }
    for (size_t i = 0; i < m->series_count; i++) {
        free(m->series[i]);
    }
    for (size_t i = 0; i < m->registry_count; i++) {
        free(m->registries[i]);
    }
    free(m);
}

void metrics_begin(struct metrics *m, enum metrics_handler handler)
{
    m->inflight[handler]++;
}

static struct series *metrics_series(struct metrics *m, enum metrics_handler handler,
                                     const char *method, int status)
{
    for (size_t i = 0; i < m->series_count; i++) {
        struct series *s = m->series[i];
        if (s->handler == handler && s->status == status && !strcmp(s->method, method)) {
            return s;
        }
    }
    if (m->series_count == SERIES_MAX) {
        return m->series[SERIES_MAX - 1];
    }
    struct series *s = calloc(1, sizeof *s);
    if (!s) {
        return NULL;
    }
    s->handler = handler;
    s->status = status;
    (void)snprintf(s->method, sizeof s->method, "%s", method);
    histogram_init(&s->seconds, duration_bounds, sizeof duration_bounds / sizeof *duration_bounds);
    histogram_init(&s->bytes, size_bounds, sizeof size_bounds / sizeof *size_bounds);
    m->series[m->series_count++] = s;
    return s;
}

void metrics_end(struct metrics *m, enum metrics_handler handler, const char *method, int status,
                 double seconds, uint64_t body_bytes)
{
    m->inflight[handler]--;
    struct series *s = metrics_series(m, handler, method, status);
    if (s) {
        histogram_observe(&s->seconds, seconds);
        histogram_observe(&s->bytes, (double)body_bytes);
    }
}

static struct registry_count *metrics_registry(struct metrics *m, const char *name)
{
    for (size_t i = 0; i < m->registry_count; i++) {
        if (!strcmp(m->registries[i]->name, name)) {
            return m->registries[i];
        }
    }
    if (m->registry_count > REGISTRIES_MAX) {
        return m->registries[REGISTRIES_MAX];
    }
    struct registry_count *r = calloc(1, sizeof *r);
    if (r) {
        (void)snprintf(r->name, sizeof r->name, "%s",
                       m->registry_count == REGISTRIES_MAX ? "other" : name);
        m->registries[m->registry_count++] = r;
    }
    return r;
}

void metrics_mirror_request(struct metrics *m, const char *registry, bool hit, double unix_s)
{
    struct registry_count *r = metrics_registry(m, registry);
    if (r) {
        r->hits += hit;
        r->misses += !hit;
    }
    if (hit) {
        m->last_success_unix_s = unix_s;
    }
}

void metrics_resolved(struct metrics *m, double seconds)
{
    histogram_observe(&m->resolve, seconds);
}

void metrics_bytes(struct metrics *m, enum metrics_source source, uint64_t bytes)
{
    m->bytes[source] += bytes;
}

static void metrics_write_http(const struct metrics *m, struct exposition *e)
{
    exposition_family(e, "http_request_duration_seconds", "histogram",
                      "The latency of the HTTP requests.");
    for (size_t i = 0; i < m->series_count; i++) {
        const struct series *s = m->series[i];
        char code[16];
        (void)snprintf(code, sizeof code, "%d", s->status);
        exposition_histogram(
            e, "http_request_duration_seconds",
            (struct label[]){
                {"handler", handler_names[s->handler]}, {"method", s->method}, {"code", code}, {0}},
            &s->seconds);
    }
    exposition_family(e, "http_response_size_bytes", "histogram",
                      "The size of the HTTP responses.");
    for (size_t i = 0; i < m->series_count; i++) {
        const struct series *s = m->series[i];
        char code[16];
        (void)snprintf(code, sizeof code, "%d", s->status);
        exposition_histogram(
            e, "http_response_size_bytes",
            (struct label[]){
                {"handler", handler_names[s->handler]}, {"method", s->method}, {"code", code}, {0}},
            &s->bytes);
    }
    exposition_family(e, "http_requests_inflight", "gauge",
                      "The number of inflight requests being handled at the same time.");
    for (int i = 0; i <= METRICS_V2; i++) {
        exposition_sample(e, "http_requests_inflight",
                          (struct label[]){{"handler", handler_names[i]}, {0}},
                          (double)m->inflight[i]);
    }
}

void metrics_write(const struct metrics *m, struct exposition *e)
{
    exposition_family(e, "spegel_mirror_requests_total", "counter",
                      "Total number of mirror requests.");
    for (size_t i = 0; i < m->registry_count; i++) {
        const struct registry_count *r = m->registries[i];
        exposition_sample(e, "spegel_mirror_requests_total",
                          (struct label[]){{"registry", r->name}, {"cache", "hit"}, {0}},
                          (double)r->hits);
        exposition_sample(e, "spegel_mirror_requests_total",
                          (struct label[]){{"registry", r->name}, {"cache", "miss"}, {0}},
                          (double)r->misses);
    }
    exposition_gauge(e, "spegel_mirror_last_success_timestamp_seconds",
                     "The timestamp of the last successful mirror request.",
                     m->last_success_unix_s);
    exposition_family(e, "spegel_resolve_duration_seconds", "histogram",
                      "The duration for router to resolve a peer.");
    exposition_histogram(e, "spegel_resolve_duration_seconds",
                         (struct label[]){{"router", "gossip"}, {0}}, &m->resolve);
    exposition_family(e, "spegel_served_bytes_total", "counter",
                      "Body bytes of manifests and blobs sent, by where they came from.");
    for (int i = 0; i < METRICS_SOURCES; i++) {
        exposition_sample(e, "spegel_served_bytes_total",
                          (struct label[]){{"source", source_names[i]}, {0}}, (double)m->bytes[i]);
    }
    metrics_write_http(m, e);
}

static double process_rss_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%*d %ld", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(f);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* Unix seconds; the kernel tells it in ticks since the machine started. 0 when it does not. */
static double process_start_time(void)
{
    unsigned long long ticks = 0;
    struct timespec since_boot, wall;
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f) {
        return 0;
    }
    /* The name, in parentheses, is ours and has no space; the 22nd field is the start. */
    int fields = fscanf(f,
                        "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d"
                        " %*d %*d %*d %*d %llu",
                        &ticks);
    (void)fclose(f);
    if (fields != 1 || clock_gettime(CLOCK_BOOTTIME, &since_boot) < 0 ||
        clock_gettime(CLOCK_REALTIME, &wall) < 0) {
        return 0;
    }
    return (double)(wall.tv_sec - since_boot.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double process_open_fds(void)
{
    double count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir) {
        while (readdir(dir)) {
            count++;
        }
        (void)closedir(dir);
    }
    return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

void metrics_write_process(struct exposition *e)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    exposition_counter(e, "process_cpu_seconds_total",
                       "Total user and system CPU time spent in seconds.", cpu);
    exposition_gauge(e, "process_resident_memory_bytes", "Resident memory size in bytes.",
                     process_rss_bytes());
    exposition_gauge(e, "process_start_time_seconds",
                     "Start time of the process since unix epoch in seconds.",
                     process_start_time());
    exposition_gauge(e, "process_open_fds", "Number of open file descriptors.", process_open_fds());
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        exposition_gauge(e, "process_max_fds", "Maximum number of open file descriptors.",
                         (double)files.rlim_cur);
    }
}
