/* prober.h - is every address behind a name ready?
 *
 * One round: the name is looked up and GET /readyz is sent to each of its addresses, ten at once,
 * each with a second to answer 200. Blocks. */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "cli/flags.h"

/* 0 and how many addresses answered; a negative errno with a sentence naming the first that did
 * not, or saying that the name has none. */
int prober_round(const struct host_port *endpoint, size_t *ret_addresses, struct error *err);
