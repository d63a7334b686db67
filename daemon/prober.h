/* prober.h - is every address behind a name ready?
 *
 * One round: the name is looked up and GET /readyz is sent to each of its addresses, ten at once,
 * each with a second to answer 200. Blocks. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "cli/flags.h"

#define PROBE_WHY_BYTES 64

struct probed { /* one address */
    char address[INET6_ADDRSTRLEN];
    bool is_ready;
    char why[PROBE_WHY_BYTES]; /* it is not, for people; "" where it is */
};

struct probe_round {       /* zeroed, or as prober_round left it */
    struct probed *probed; /* by address, each once */
    size_t count, failed;
};

/* 0 with what was found, whatever it is; or a negative errno with a sentence, when the name has no
 * address or cannot be looked up: then *round is empty. What *round held before is freed. */
int prober_round(const struct host_port *endpoint, struct probe_round *round, struct error *err);

/* Whether both found the same addresses. */
bool prober_same_addresses(const struct probe_round *a, const struct probe_round *b);

void prober_round_done(struct probe_round *round);
