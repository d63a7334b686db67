/* bootstrap.h - where other members may be found: DNS, a static list, or another node over HTTP.
 *
 * Goes on for ever, quickly until told that the node is ready. Names are resolved on the thread
 * pool. What was found is told as addresses with the gossip port; an answer that names nobody is
 * told too, a failed look-up is not. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "io/address.h"
#include "io/fetch.h"
#include "io/loop.h"

#define BOOTSTRAP_ADDRESSES_MAX 4096

struct bootstrap_target {
    const char *host; /* name or IP literal without brackets */
    uint16_t port;
};

struct bootstrap_config {                   /* copied */
    const struct bootstrap_target *targets; /* static peers, or the one DNS domain */
    size_t target_count;
    const char *url;    /* HTTP: the whole URL; then no targets */
    const char *ca_dir; /* may be NULL */
    const char *label;  /* ours; an HTTP answer with another one is warned of, once. Outlives it */
    void (*found)(void *arg, const union address *addresses, size_t count);
    /* HTTP: a connection to this host (port 0) stood, whatever it then answered. Before `found`. */
    void (*reached)(void *arg, const union address *host);
    void *arg;
};

struct bootstrap_counters {
    uint64_t lookups, failures;
};

struct bootstrap;
int bootstrap_new(struct loop *loop, struct fetcher *fetcher, const struct bootstrap_config *config,
                  struct bootstrap **ret_bootstrap);
/* Stops. A look-up still on the pool frees itself when it ends. */
void bootstrap_free(struct bootstrap *b);
void bootstrap_set_ready(struct bootstrap *b); /* from now on slowly */
const struct bootstrap_counters *bootstrap_counters(const struct bootstrap *b);
