#include "herd.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_WITHIN_MS 5000
#define SEEDS_MAX 16

/* --- its OCI layout: one image of one layer --- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
        fprintf(stderr, "herd: %s: %s\n", path, strerror(errno));
        exit(2);
    }
}

/* Writes a blob; its descriptor as JSON goes to ret_descriptor. */
static void put(const char *directory, const char *type, const char *text, char ret_descriptor[320])
{
    uint8_t sha[SHA256_DIGEST_LENGTH];
    char hex[2 * sizeof(sha) + 1], path[256];
    (void)SHA256((const uint8_t *)text, strlen(text), sha);
    for (size_t i = 0; i < sizeof(sha); i++) {
        snprintf(hex + 2 * i, 3, "%02x", sha[i]);
    }
    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", directory, hex);
    write_file(path, text);
    snprintf(ret_descriptor, 320, "{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%zu}",
             type, hex, strlen(text));
}

static void make_layout(const char *directory)
{
    char path[256], config[320], layer[320], manifest[320], text[2048];
    snprintf(path, sizeof(path), "%s/blobs", directory);
    CHECK(mkdir(path, 0755) == 0);
    snprintf(path, sizeof(path), "%s/blobs/sha256", directory);
    CHECK(mkdir(path, 0755) == 0);
    put(directory, "application/vnd.oci.image.config.v1+json",
        "{\"os\":\"linux\",\"architecture\":\"amd64\"}", config);
    put(directory, "application/vnd.oci.image.layer.v1.tar", "a layer", layer);
    snprintf(text, sizeof(text),
             "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
             "\"config\":%s,\"layers\":[%s]}",
             config, layer);
    put(directory, "application/vnd.oci.image.manifest.v1+json", text, manifest);
    manifest[strlen(manifest) - 1] = '\0';
    snprintf(text, sizeof(text),
             "{\"schemaVersion\":2,\"manifests\":[%s,\"annotations\":{"
             "\"io.containerd.image.name\":\"example.com/herd:v1\"}}]}",
             manifest);
    snprintf(path, sizeof(path), "%s/index.json", directory);
    write_file(path, text);
    snprintf(path, sizeof(path), "%s/oci-layout", directory);
    write_file(path, "{\"imageLayoutVersion\":\"1.0.0\"}");
}

static void remove_layout(const char *directory)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf -- '%s'", directory);
    if (system(command) != 0) {
        fprintf(stderr, "herd: %s is left behind\n", directory);
    }
}

/* --- its life --- */

static uint16_t free_port(int type)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(any);
    int fd = socket(AF_INET, type, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&any, n) == 0 &&
          getsockname(fd, (struct sockaddr *)&any, &n) == 0);
    (void)close(fd);
    return ntohs(any.sin_port);
}

static _Noreturn void execute(const struct herd_daemon *d, const char *program,
                              const struct herd_world *w, size_t seeds)
{
    char ports[3][32], store[96], peers[SEEDS_MAX][32], log[96];
    const char *argv[32 + SEEDS_MAX] = {program,
                                        "registry",
                                        "--registry-addr",
                                        ports[0],
                                        "--router-addr",
                                        ports[1],
                                        "--metrics-addr",
                                        ports[2],
                                        "--store",
                                        store,
                                        "--cluster-label",
                                        HERD_LABEL,
                                        "--zone",
                                        "herd",
                                        "--bootstrap-kind",
                                        "static",
                                        "--static-bootstrap-peers"};
    size_t n = 17;
    snprintf(ports[0], sizeof(ports[0]), "127.0.0.1:%u", d->registry_port);
    snprintf(ports[1], sizeof(ports[1]), "127.0.0.1:%u", d->gossip_port);
    snprintf(ports[2], sizeof(ports[2]), "127.0.0.1:%u", d->metrics_port);
    snprintf(store, sizeof(store), "oci-layout:%s", d->directory);
    for (size_t i = 0; i < seeds && i < SEEDS_MAX; i++) {
        uint32_t ip = herd_member_ip(i);
        snprintf(peers[i], sizeof(peers[i]), "127.%u.%u.%u:%u", ip >> 16 & 255, ip >> 8 & 255,
                 ip & 255, w->gossip_port);
        argv[n++] = peers[i];
    }
    snprintf(log, sizeof(log), "%s/spegel.log", d->directory);
    int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
        _exit(126);
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

void herd_daemon_start(struct herd_daemon *d, const char *program, const struct herd_world *w,
                       size_t seeds)
{
    snprintf(d->directory, sizeof(d->directory), "/tmp/spegel-herd-XXXXXX");
    if (!mkdtemp(d->directory)) {
        fprintf(stderr, "herd: %s: %s\n", d->directory, strerror(errno));
        exit(2);
    }
    make_layout(d->directory);
    d->registry_port = free_port(SOCK_STREAM);
    d->metrics_port = free_port(SOCK_STREAM);
    d->gossip_port = free_port(SOCK_DGRAM);
    d->pid = fork();
    if (d->pid == 0) {
        execute(d, program, w, seeds < w->count ? seeds : w->count);
    }
    CHECK(d->pid > 0);
}

int herd_daemon_end(struct herd_daemon *d)
{
    struct timespec pause = {.tv_nsec = 10000000};
    int status = -1;
    uint64_t until_ms = herd_now_ms() + END_WITHIN_MS;
    (void)kill(d->pid, SIGTERM);
    while (waitpid(d->pid, &status, WNOHANG) == 0) {
        if (herd_now_ms() > until_ms) {
            (void)kill(d->pid, SIGKILL);
        }
        (void)nanosleep(&pause, NULL);
    }
    remove_layout(d->directory);
    return status;
}

bool herd_daemon_ready(struct herd_daemon *d)
{
    struct herd_http http;
    struct buf body;
    buf_init(&body, 65536);
    herd_http_init(&http, INADDR_LOOPBACK, d->registry_port);
    int status = herd_http_ask(&http, "GET", "/readyz", "", &body);
    herd_http_done(&http);
    buf_done(&body);
    return status == 200;
}

/* --- looking at it --- */

static uint64_t status_bytes(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

void herd_daemon_look(const struct herd_daemon *d, struct herd_look *ret_look)
{
    char path[64], text[8192] = "";
    struct timespec cpu = {0};
    clockid_t clock;
    struct herd_http http;
    *ret_look = (struct herd_look){.at_us = herd_now_us()};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)d->pid);
    FILE *f = fopen(path, "re");
    if (f) {
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        (void)fclose(f);
    }
    ret_look->rss_bytes = status_bytes(text, "VmRSS:");
    ret_look->anon_bytes = status_bytes(text, "RssAnon:");
    if (clock_getcpuclockid(d->pid, &clock) == 0 && clock_gettime(clock, &cpu) == 0) {
        ret_look->cpu_us = (uint64_t)cpu.tv_sec * 1000000 + (uint64_t)cpu.tv_nsec / 1000;
    }
    buf_init(&ret_look->metrics, 1024 * 1024);
    herd_http_init(&http, INADDR_LOOPBACK, d->metrics_port);
    if (herd_http_ask(&http, "GET", "/metrics", "", &ret_look->metrics) != 200) {
        buf_clear(&ret_look->metrics);
    }
    herd_http_done(&http);
}

void herd_look_done(struct herd_look *look)
{
    buf_done(&look->metrics);
}

double herd_metric(const struct herd_look *look, const char *series)
{
    size_t n = strlen(series);
    for (const char *line = look->metrics.data; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, n) == 0 && line[n] == ' ') {
            return strtod(line + n, NULL);
        }
    }
    return 0;
}

double herd_loop_delay_ms(const struct herd_look *before, const struct herd_look *after,
                          double share)
{
    static const char prefix[] = "spegel_loop_delay_seconds_bucket{le=\"";
    static const char count[] = "spegel_loop_delay_seconds_count";
    double all = herd_metric(after, count) - herd_metric(before, count);
    const char *line = after->metrics.data ? strstr(after->metrics.data, prefix) : NULL;
    for (; line; line = strstr(line + 1, prefix)) {
        char series[96];
        snprintf(series, sizeof(series), "%.*s", (int)strcspn(line, " \n"), line);
        if (herd_metric(after, series) - herd_metric(before, series) >= share * all) {
            return strtod(line + sizeof(prefix) - 1, NULL) * 1000;
        }
    }
    return 0;
}
