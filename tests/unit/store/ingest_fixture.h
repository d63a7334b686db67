/* ingest_fixture.h - one download followed by lib/store/ingest.h, in a loop of the test's. */
#pragma once

#include <errno.h>

#include "base/limits.h"
#include "downloads.h"

struct follow {
    struct place place;
    struct ingests *ingests;
    struct ingest *ingest;
    struct digest digest;
    unsigned changes;
    enum ingest_state state; /* waited for … */
    int64_t size, total;     /* … with these */
    bool close_inside, reopen_inside;
};

static inline void changed(void *arg)
{
    struct follow *f = arg;
    f->changes++;
    if (f->close_inside) {
        ingest_close(f->ingest);
        f->ingest = NULL;
    } else if (f->reopen_inside && ingest_state(f->ingest) == INGEST_GONE) {
        ingest_reopen(f->ingest);
    }
}

static inline bool is_as_expected(void *arg)
{
    struct follow *f = arg;
    return ingest_state(f->ingest) == f->state && ingest_size(f->ingest) == f->size &&
           ingest_total(f->ingest) == f->total;
}

static inline void expect(struct follow *f, enum ingest_state state, int64_t size, int64_t total)
{
    f->state = state;
    f->size = size;
    f->total = total;
    if (!place_until(&f->place, is_as_expected, f)) {
        fail_msg("state %d, size %lld, total %lld", ingest_state(f->ingest),
                 (long long)ingest_size(f->ingest), (long long)ingest_total(f->ingest));
    }
}

static inline bool never(void *arg)
{
    struct timer *t = arg;
    return !timer_running(t);
}

static inline void nothing(void *arg)
{
    (void)arg;
}

static inline void run_for(struct follow *f, unsigned ms)
{
    struct timer t;
    timer_init(&t, f->place.loop, nothing, NULL);
    assert_int_equal(timer_start(&t, ms), 0);
    assert_true(place_until(&f->place, never, &t));
}

static inline void make_ingest_directory(struct follow *f)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ingest", f->place.dir);
    assert_int_equal(mkdir(path, 0755), 0);
}

static inline void open_it(struct follow *f)
{
    assert_int_equal(ingest_open(f->ingests, &f->digest, changed, f, &f->ingest), 0);
}

static inline struct download begin(struct follow *f, const char *total)
{
    return download_begin(&f->place, "layer", &f->digest, total);
}

static inline int setup_without_directory(void **state)
{
    struct follow *f = calloc(1, sizeof *f);
    assert_non_null(f);
    place_init(&f->place);
    digest_of("a blob", 6, &f->digest);
    assert_int_equal(ingests_new(f->place.loop, f->place.dir, "k8s.io", &f->ingests), 0);
    *state = f;
    return 0;
}

static inline int setup(void **state)
{
    (void)setup_without_directory(state);
    make_ingest_directory(*state);
    return 0;
}

static inline int teardown(void **state)
{
    struct follow *f = *state;
    ingest_close(f->ingest);
    ingests_free(f->ingests);
    place_done(&f->place);
    free(f);
    return 0;
}
