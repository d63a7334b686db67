#include "herd.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PAUSE_US 2000
#define HOLDERS 32 /* whom the blobs that one member holds belong to */

static void ask(struct herd_lookups *l, struct herd_http *http, enum herd_asked what, size_t number)
{
    struct herd_samples *s = &l->samples[what];
    char path[160], digest[65];
    if (what == HERD_ONE) {
        herd_own_digest(number % (l->members < HOLDERS ? l->members : HOLDERS), digest);
    } else { /* the top bit is another's: no member's key looks like this */
        snprintf(digest, sizeof(digest), "%016llx%048zx",
                 (unsigned long long)(gossip_mix(0x6e6f626f6479 + number) >> 1), number);
    }
    snprintf(path, sizeof(path), "/v2/herd/blobs/sha256:%s?ns=docker.io", digest);
    uint64_t begun_us = herd_now_us();
    int status = herd_http_ask(http, "HEAD", path, "", NULL);
    uint64_t took_us = herd_now_us() - begun_us;
    s->unexpected += status != (what == HERD_ONE ? 200 : 404);
    if (s->count < HERD_SAMPLES) {
        s->us[s->count++] = (uint32_t)took_us;
    }
}

static void *run(void *arg)
{
    struct herd_lookups *l = arg;
    struct timespec pause = {.tv_nsec = PAUSE_US * 1000};
    struct herd_http http;
    herd_http_init(&http, INADDR_LOOPBACK, l->port);
    for (size_t i = 0; !atomic_load(&l->stop); i++) {
        ask(l, &http, (enum herd_asked)(i % HERD_ASKED), i / HERD_ASKED);
        (void)nanosleep(&pause, NULL);
    }
    herd_http_done(&http);
    return NULL;
}

void herd_lookups_start(struct herd_lookups *l, const struct herd_daemon *d, size_t members)
{
    l->port = d->registry_port;
    l->members = members;
    atomic_store(&l->stop, false);
    for (size_t i = 0; i < HERD_ASKED; i++) {
        l->samples[i].count = l->samples[i].unexpected = 0;
    }
    if (pthread_create(&l->thread, NULL, run, l) != 0) {
        fprintf(stderr, "herd: no thread\n");
        exit(2);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void herd_lookups_end(struct herd_lookups *l)
{
    atomic_store(&l->stop, true);
    (void)pthread_join(l->thread, NULL);
    for (size_t i = 0; i < HERD_ASKED; i++) {
        qsort(l->samples[i].us, l->samples[i].count, sizeof(uint32_t), compare);
    }
}

double herd_share_ms(const uint32_t *sorted_us, size_t count, double share)
{
    size_t at = (size_t)(share * (double)count);
    return count ? sorted_us[at < count ? at : count - 1] / 1000.0 : 0;
}
