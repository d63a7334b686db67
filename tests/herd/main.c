/* main.c - `./dev herd`: a daemon joins a thousand members, rests among them, hears a rollout, and
 * rests again; what it weighed and how it answered meanwhile is printed.
 *
 * Exit status 1 when it did not join, a member was lost sight of, a look-up was answered wrongly,
 * the views did not become equal, or a goal for memory was missed; 2 for wrong arguments. */
#include "herd.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SEEDS 5
#define JOIN_WITHIN_MS 30000
#define EQUAL_WITHIN_MS 30000
#define SAMPLE_MS 500
/* The goals, stated for 1,000 members of 600 digests each. */
#define GOAL_MEMBERS 1000
#define GOAL_KEYS 600
#define GOAL_ANON_BYTES 8e6
#define GOAL_RSS_BYTES 18e6

struct options {
    size_t members, keys;
    unsigned seconds; /* of each phase: rest, rollout */
    uint64_t seed;
    bool json;
    const char *daemon;
};

struct phase {
    const char *name;
    double cpu_percent, loop_p99_ms, anon_mb, rss_mb, packets_in_s, bytes_in_s, packets_out_s,
        bytes_out_s;
    double asked_ms[HERD_ASKED][3]; /* p50, p99, max */
    size_t asked[HERD_ASKED], unexpected;
};

struct herd {
    struct options options;
    struct herd_world world;
    struct herd_daemon daemon;
    struct herd_lookups lookups;
    double join_ms, equal_ms, loop_max_ms, anon_max_mb, rss_max_mb;
    size_t alive_min, suspicions, deaths, dropped;
    struct phase phases[3];
    size_t phase_count, failures;
};

static void fail(struct herd *h, const char *what)
{
    printf("FAIL %s\n", what);
    h->failures++;
}

static void sample(struct herd *h)
{
    struct herd_look look;
    herd_daemon_look(&h->daemon, &look);
    size_t alive = (size_t)herd_metric(&look, "spegel_gossip_members{state=\"alive\"}");
    h->alive_min = alive < h->alive_min ? alive : h->alive_min;
    h->suspicions = (size_t)herd_metric(&look, "spegel_gossip_suspicions_total");
    h->deaths = (size_t)herd_metric(&look, "spegel_gossip_deaths_total");
    h->loop_max_ms = herd_metric(&look, "spegel_loop_delay_max_seconds") * 1000;
    h->anon_max_mb = fmax(h->anon_max_mb, (double)look.anon_bytes / 1e6);
    h->rss_max_mb = fmax(h->rss_max_mb, (double)look.rss_bytes / 1e6);
    herd_look_done(&look);
}

static void live(struct herd *h, uint64_t until_ms, bool (*stop)(struct herd_world *w))
{
    for (uint64_t now_ms = herd_now_ms(); now_ms < until_ms; now_ms = herd_now_ms()) {
        uint64_t next_ms = now_ms + SAMPLE_MS < until_ms ? now_ms + SAMPLE_MS : until_ms;
        herd_world_run(&h->world, next_ms, stop);
        sample(h);
        if (stop && stop(&h->world)) {
            return;
        }
    }
}

/* Lives for a while and writes down what it was like. */
static void phase(struct herd *h, const char *name, uint64_t ms)
{
    struct herd_world *w = &h->world;
    struct phase *p = &h->phases[h->phase_count++];
    struct herd_look before, after;
    uint64_t packets_in = w->packets_out, bytes_in = w->bytes_out;
    uint64_t packets_out = w->packets_in, bytes_out = w->bytes_in;
    p->name = name;
    herd_lookups_start(&h->lookups, &h->daemon, w->count);
    herd_daemon_look(&h->daemon, &before);
    live(h, herd_now_ms() + ms, NULL);
    herd_daemon_look(&h->daemon, &after);
    herd_lookups_end(&h->lookups);
    double seconds = (double)(after.at_us - before.at_us) / 1e6;
    p->cpu_percent = (double)(after.cpu_us - before.cpu_us) / 1e4 / seconds;
    p->loop_p99_ms = fmin(herd_loop_delay_ms(&before, &after, 0.99), 10000);
    p->anon_mb = (double)after.anon_bytes / 1e6;
    p->rss_mb = (double)after.rss_bytes / 1e6;
    p->packets_in_s = (double)(w->packets_out - packets_in) / seconds;
    p->bytes_in_s = (double)(w->bytes_out - bytes_in) / seconds;
    p->packets_out_s = (double)(w->packets_in - packets_out) / seconds;
    p->bytes_out_s = (double)(w->bytes_in - bytes_out) / seconds;
    for (size_t i = 0; i < HERD_ASKED; i++) {
        const struct herd_samples *s = &h->lookups.samples[i];
        p->asked_ms[i][0] = herd_share_ms(s->us, s->count, 0.5);
        p->asked_ms[i][1] = herd_share_ms(s->us, s->count, 0.99);
        p->asked_ms[i][2] = herd_share_ms(s->us, s->count, 1);
        p->asked[i] = s->count;
        p->unexpected += s->unexpected;
    }
    if (p->unexpected) {
        fail(h, "look-ups were answered wrongly");
    }
    herd_look_done(&before);
    herd_look_done(&after);
}

static bool views_equal(struct herd_world *w)
{
    return (!w->rollout_ms || herd_rollout_over(w)) && w->daemon_hash == w->archive->cluster_hash;
}

static bool join(struct herd *h)
{
    struct herd_world *w = &h->world;
    uint64_t begun_us = herd_now_us(), until_ms = herd_now_ms() + JOIN_WITHIN_MS;
    herd_daemon_start(&h->daemon, h->options.daemon, w, SEEDS);
    w->daemon = (struct gossip_addr){
        .family = GOSSIP_IPV4, .ip = {127, 0, 0, 1}, .port = h->daemon.gossip_port};
    while (!herd_daemon_ready(&h->daemon)) {
        herd_world_run(w, herd_now_ms() + 5, NULL);
        if (herd_now_ms() > until_ms) {
            fail(h, "the daemon is not ready");
            return false;
        }
    }
    h->join_ms = (double)(herd_now_us() - begun_us) / 1000;
    herd_world_run(w, herd_now_ms() + 5000, views_equal);
    h->alive_min = SIZE_MAX;
    return true;
}

static void story(struct herd *h)
{
    if (!join(h)) {
        return;
    }
    live(h, herd_now_ms() + 3000, NULL);
    phase(h, "idle", h->options.seconds * 1000);
    herd_rollout_begin(&h->world, h->options.seconds * 1000);
    phase(h, "rollout", h->options.seconds * 1000);
    uint64_t begun_ms = herd_now_ms();
    live(h, begun_ms + EQUAL_WITHIN_MS, views_equal);
    h->equal_ms = (double)(herd_now_ms() - begun_ms);
    if (!views_equal(&h->world)) {
        fail(h, "the views did not become equal after the rollout");
    }
    live(h, herd_now_ms() + 2000, NULL);
    phase(h, "after", h->options.seconds * 1000);
    if (h->alive_min != h->world.count) {
        fail(h, "a member was lost sight of");
    }
    if (h->options.members <= GOAL_MEMBERS && h->options.keys <= GOAL_KEYS &&
        (h->phases[2].anon_mb > GOAL_ANON_BYTES / 1e6 ||
         h->phases[2].rss_mb > GOAL_RSS_BYTES / 1e6)) {
        fail(h, "more memory than the goal");
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct herd *h)
{
    struct herd_world *w = &h->world;
    qsort(w->rtt_us, w->rtt_count, sizeof(w->rtt_us[0]), compare);
    printf("%zu members x %zu digests: ready after %.0f ms; never fewer than %zd alive, %zu "
           "suspicions, %zu deaths\n"
           "%llu pings of members, %llu unanswered, answered in %.2f / %.2f / %.2f ms (p50, p99, "
           "max)\n"
           "views equal %.0f ms after the rollout's last announcement; loop late by at most %.1f "
           "ms; at most %.1f MB private, %.1f MB resident\n",
           w->count, w->keys, h->join_ms, (ssize_t)h->alive_min, h->suspicions, h->deaths,
           (unsigned long long)w->pings_sent, (unsigned long long)w->pings_unanswered,
           herd_share_ms(w->rtt_us, w->rtt_count, 0.5),
           herd_share_ms(w->rtt_us, w->rtt_count, 0.99), herd_share_ms(w->rtt_us, w->rtt_count, 1),
           h->equal_ms, h->loop_max_ms, h->anon_max_mb, h->rss_max_mb);
    printf("%-8s %6s %9s %9s %8s %15s %15s   HEAD nobody has / one has, p50 / p99 / max ms\n", "",
           "CPU %", "loop p99", "private", "RSS MB", "in /s", "out /s");
    for (size_t i = 0; i < h->phase_count; i++) {
        const struct phase *p = &h->phases[i];
        printf("%-8s %6.2f %6.2f ms %9.2f %8.2f %5.0f = %4.0f kB %5.0f = %4.0f kB   "
               "%.2f / %.2f / %.1f   %.2f / %.2f / %.1f\n",
               p->name, p->cpu_percent, p->loop_p99_ms, p->anon_mb, p->rss_mb, p->packets_in_s,
               p->bytes_in_s / 1e3, p->packets_out_s, p->bytes_out_s / 1e3,
               p->asked_ms[HERD_NOBODY][0], p->asked_ms[HERD_NOBODY][1],
               p->asked_ms[HERD_NOBODY][2], p->asked_ms[HERD_ONE][0], p->asked_ms[HERD_ONE][1],
               p->asked_ms[HERD_ONE][2]);
    }
}

static void write_json(struct herd *h, FILE *f)
{
    const struct herd_world *w = &h->world;
    fprintf(f,
            "{\"members\":%zu,\"keys\":%zu,\"seconds\":%u,\"failures\":%zu,\"join_ms\":%.1f,"
            "\"alive_min\":%zd,\"suspicions\":%zu,\"deaths\":%zu,\"pings\":%llu,"
            "\"pings_unanswered\":%llu,\"ping_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},"
            "\"views_equal_ms\":%.0f,\"loop_delay_max_ms\":%.2f,\"private_max_mb\":%.2f,"
            "\"rss_max_mb\":%.2f,\"phases\":[",
            w->count, w->keys, h->options.seconds, h->failures, h->join_ms, (ssize_t)h->alive_min,
            h->suspicions, h->deaths, (unsigned long long)w->pings_sent,
            (unsigned long long)w->pings_unanswered, herd_share_ms(w->rtt_us, w->rtt_count, 0.5),
            herd_share_ms(w->rtt_us, w->rtt_count, 0.99), herd_share_ms(w->rtt_us, w->rtt_count, 1),
            h->equal_ms, h->loop_max_ms, h->anon_max_mb, h->rss_max_mb);
    for (size_t i = 0; i < h->phase_count; i++) {
        static const char *const names[HERD_ASKED] = {"nobody_ms", "one_ms"};
        const struct phase *p = &h->phases[i];
        fprintf(f,
                "%s{\"name\":\"%s\",\"cpu_percent\":%.3f,\"loop_delay_p99_ms\":%.2f,"
                "\"private_mb\":%.3f,\"rss_mb\":%.3f,\"packets_in_s\":%.1f,\"bytes_in_s\":%.0f,"
                "\"packets_out_s\":%.1f,\"bytes_out_s\":%.0f,\"unexpected\":%zu",
                i ? "," : "", p->name, p->cpu_percent, p->loop_p99_ms, p->anon_mb, p->rss_mb,
                p->packets_in_s, p->bytes_in_s, p->packets_out_s, p->bytes_out_s, p->unexpected);
        for (size_t k = 0; k < HERD_ASKED; k++) {
            fprintf(f, ",\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"count\":%zu}", names[k],
                    p->asked_ms[k][0], p->asked_ms[k][1], p->asked_ms[k][2], p->asked[k]);
        }
        fprintf(f, "}");
    }
    fprintf(f, "]}\n");
}

static int usage(void)
{
    fprintf(stderr, "usage: herd [--members N] [--keys K] [--seconds S] [--seed S] [--json]\n"
                    "            [--daemon PROGRAM]\n"
                    "--seconds: of each of three phases, rest, rollout, rest; default 10\n"
                    "--json: the report as one object, on the last line and in build/herd.json\n");
    return 2;
}

static int parse(struct options *o, int argc, char **argv)
{
    static const struct option options[] = {{"members", required_argument, NULL, 'm'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"daemon", required_argument, NULL, 'd'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    int got;
    char *end = NULL;
    while ((got = getopt_long(argc, argv, "", options, NULL)) != -1) {
        unsigned long long number = optarg && got != 'd' ? strtoull(optarg, &end, 10) : 0;
        if (got == '?' || (optarg && got != 'd' && (*end || end == optarg))) {
            return -1;
        }
        o->members = got == 'm' ? number : o->members;
        o->keys = got == 'k' ? number : o->keys;
        o->seconds = got == 's' ? (unsigned)number : o->seconds;
        o->seed = got == 'r' ? number : o->seed;
        o->daemon = got == 'd' ? optarg : o->daemon;
        o->json = o->json || got == 'j';
    }
    return optind == argc && o->members >= 2 && o->members <= HERD_MEMBERS_MAX && o->keys >= 1 &&
                   o->keys <= 10000 && o->seconds >= 1 && o->seconds <= 3600
               ? 0
               : -1;
}

int main(int argc, char **argv)
{
    static struct herd h; /* samples and all: too large for the stack */
    const char *program = getenv("SPEGEL");
    h.options = (struct options){.members = 1000,
                                 .keys = 600,
                                 .seconds = 10,
                                 .seed = 7,
                                 .daemon = program && *program ? program : "build/spegel"};
    if (parse(&h.options, argc, argv) != 0) {
        return usage();
    }
    (void)alarm(120 + 4 * h.options.seconds); /* whatever happens, it ends; the daemon with it */
    setvbuf(stdout, NULL, _IOLBF, 0);
    herd_world_init(&h.world, h.options.members, h.options.keys, h.options.seed);
    herd_registry_start(&h.world);
    story(&h);
    int status = herd_daemon_end(&h.daemon);
    if (status != 0) {
        printf("the daemon ended with status %#x\n", (unsigned)status);
        h.failures++;
    }
    report(&h);
    if (h.options.json) {
        FILE *f = fopen("build/herd.json", "we");
        if (f) {
            write_json(&h, f);
            (void)fclose(f);
        }
        write_json(&h, stdout);
    }
    herd_world_done(&h.world);
    fflush(stdout);
    _exit(h.failures ? 1 : 0); /* the registry's threads still use what is left */
}
