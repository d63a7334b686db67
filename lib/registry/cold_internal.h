/* cold_internal.h - flights from the inside, for cold*.c, feed.c and proof.c only. */
#pragma once

#include "registry/cold.h"
#include "registry/copy_check.h"
#include "registry/proof.h"

struct cold {
    struct loop *loop;
    struct cold_config config;
    struct cold_counters counters;
    struct ingests *ingests; /* NULL until the content root is known */
    char root[4096];         /* theirs */
    struct list flights;
    size_t flight_count;
    struct list asks;
    uint32_t last_ask;
    struct copy_checks checks; /* proof.c's */
    uint64_t grown_ms;         /* when any ingest last grew */
    struct timer tick;
    struct defer settle; /* ends the flights that are held */
};

struct cold_flight {
    struct list link; /* in the cold's flights; itself once it ended */
    struct cold *cold;
    struct digest digest;
    uint64_t key;
    struct ingest *ingest;
    size_t requests;      /* of this node's containerd, under way */
    struct list children; /* feed.c's */
    size_t child_count;   /* of them */
    bool committed;       /* and told so */
    bool held;            /* and is about to end */
    bool ended;           /* held or gone; here only because requests are left */
    bool quiet;           /* nobody is to be sent here: it was said to be gone, and may return */
    int64_t size, total;  /* of the ingest; total -1 unknown */
    uint64_t began_ms, ingest_ms; /* ingest_ms: when there last was one */
    uint64_t parent;
    enum gossip_flight_state told;
    uint64_t told_parent, told_ms; /* told_ms 0: never */
    struct proof proof;
};

/* The one that is in flight, NULL when none is. */
struct cold_flight *cold_find(const struct cold *c, const struct digest *digest);
bool cold_flight_has_ingest(const struct cold_flight *f); /* that can be served from */

/* feed.c: the flight's size or total changed; each 250 ms too. */
void feed_flight_changed(struct cold_flight *f);
/* Who waits for what is not there yet is told to go elsewhere; who receives goes on. */
void feed_refuse_waiting(struct cold_flight *f);
/* It ended: held, or the error that what is under way ends with. */
void feed_flight_ended(struct cold_flight *f, int error);
