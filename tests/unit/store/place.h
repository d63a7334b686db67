/* place.h - a directory with real blobs, and a loop that runs until something holds. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/loop.h"
#include "oci/digest.h"
#include "support.h"

struct place {
    char dir[64];
    struct loop *loop;
    struct timer tick;
    bool (*holds)(void *arg);
    void *arg;
    unsigned ticks;
    bool held;
};

static inline void place_tick(void *arg)
{
    struct place *p = arg;
    p->held = p->holds(p->arg);
    if (p->held || ++p->ticks > 1000) {
        loop_stop(p->loop);
    } else {
        assert_int_equal(timer_start(&p->tick, 5), 0);
    }
}

/* Runs the loop until it holds, for at most five seconds. */
static inline bool place_until(struct place *p, bool (*holds)(void *arg), void *arg)
{
    p->holds = holds;
    p->arg = arg;
    p->ticks = 0;
    assert_int_equal(timer_start(&p->tick, 0), 0);
    loop_run(p->loop);
    return p->held;
}

static inline void place_init(struct place *p)
{
    char path[128];
    *p = (struct place){.dir = "/tmp/spegel-store-XXXXXX"};
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(path, sizeof path, "%s/blobs", p->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/blobs/sha256", p->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(loop_new(&p->loop), 0);
    timer_init(&p->tick, p->loop, place_tick, p);
}

static inline void place_done(struct place *p)
{
    char command[128];
    loop_free(p->loop);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
    assert_int_equal(system(command), 0);
}

/* Writes a file by way of another name, as tools do. */
static inline void place_write(const struct place *p, const char *name, const void *bytes, size_t n)
{
    char path[256], other[256];
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    (void)snprintf(other, sizeof other, "%s/temporary", p->dir);
    FILE *f = fopen(other, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(other, path), 0);
}

static inline void place_blob_name(const struct digest *d, char ret_name[128])
{
    char hex[DIGEST_HEX_BYTES];
    digest_format_hex(d, hex);
    (void)snprintf(ret_name, 128, "blobs/sha256/%s", hex);
}

static inline struct digest place_blob(const struct place *p, const char *text)
{
    struct digest d;
    char name[128];
    digest_of(text, strlen(text), &d);
    place_blob_name(&d, name);
    place_write(p, name, text, strlen(text));
    return d;
}

static inline void place_unlink(const struct place *p, const struct digest *d)
{
    char name[128], path[256];
    place_blob_name(d, name);
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    assert_int_equal(unlink(path), 0);
}
