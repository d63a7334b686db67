/* keys.c - what members hold: as in the simulation, images whose popularity is 1/rank. */
#include "herd.h"

#include <stdio.h>
#include <stdlib.h>

#define IMAGES 2000
#define IMAGE_OWN 8  /* manifest, config, layers of its own */
#define IMAGE_BASE 4 /* layers of its base image */
#define BASES 60

uint64_t herd_own_key(size_t member)
{
    return gossip_mix(0x6f776e00000000 + member) >> 1; /* a digest's: the top bit is clear */
}

void herd_own_digest(size_t member, char ret_hex[65])
{
    snprintf(ret_hex, 65, "%016llx%048llx", (unsigned long long)herd_own_key(member),
             (unsigned long long)member);
}

static uint64_t key_of(uint64_t what, size_t number, size_t part)
{
    return gossip_mix(gossip_mix(what + number) + part) >> 1;
}

/* The sum of 1/rank up to each. */
static const double *popularity(void)
{
    static double sums[IMAGES];
    for (size_t i = 0; i < IMAGES && sums[IMAGES - 1] == 0; i++) {
        sums[i] = (i ? sums[i - 1] : 0) + 1.0 / (double)(i + 1);
    }
    return sums;
}

static size_t popular(struct herd_world *w)
{
    const double *sums = popularity();
    double u = (double)(herd_random(w) >> 11) / 9007199254740992.0 * sums[IMAGES - 1];
    size_t low = 0, high = IMAGES - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sums[middle] < u) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

size_t herd_draw_keys(struct herd_world *w, size_t member, size_t wanted, uint64_t *keys)
{
    size_t n = 0;
    keys[n++] = herd_own_key(member);
    while (n < wanted) {
        size_t image = popular(w);
        for (size_t i = 0; i < IMAGE_OWN; i++) {
            keys[n++] = key_of(1000000, image, i);
        }
        for (size_t i = 0; i < IMAGE_BASE; i++) {
            keys[n++] = key_of(2000000, image % BASES, i);
        }
        qsort(keys, n, sizeof(*keys), compare_keys);
        size_t kept = 1;
        for (size_t i = 1; i < n; i++) {
            if (keys[i] != keys[kept - 1]) {
                keys[kept++] = keys[i];
            }
        }
        n = kept;
    }
    return n;
}
