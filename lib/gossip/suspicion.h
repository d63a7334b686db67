/* suspicion.h - when does a suspected member count as dead, and when is it no longer chosen?
 *
 * Time is an argument, nothing allocates, nothing fails. Times are monotonic milliseconds. Follows
 * Lifeguard (arXiv:1707.00788, "Local Health Aware Suspicion"). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_WITNESSES 4 /* independent accusers that count; more change nothing */
#define GOSSIP_EXCLUDE_WITNESSES 2
#define GOSSIP_EXCLUDE_AFTER_MS 700

struct gossip_suspicion { /* embedded in the member; read through the functions below */
    uint64_t started_ms;
    uint32_t timeout_min_ms;  /* wait once every witness agrees */
    uint32_t timeout_max_ms;  /* wait while there is one accuser */
    uint8_t witnesses_needed; /* for the shortest wait, at most GOSSIP_WITNESSES */
    uint8_t witness_count;
    uint64_t witnesses[GOSSIP_WITNESSES];
};

/* `members` is how many are alive, us included: it sets how long is long enough. */
void gossip_suspicion_start(struct gossip_suspicion *s, uint64_t now_ms, uint64_t witness,
                            size_t members);

/* False when this witness was known or no more count. */
bool gossip_suspicion_confirm(struct gossip_suspicion *s, uint64_t witness);

/* When to declare the member dead, unless it refutes first. Each witness takes an equal bite (on a
 * logarithmic scale) out of the wait: one accuser may merely have a bad link of its own, several
 * rarely do. */
uint64_t gossip_suspicion_deadline_ms(const struct gossip_suspicion *s);

/* When it stops being chosen; earlier than death, since a false exclusion costs almost nothing. */
uint64_t gossip_suspicion_exclude_ms(const struct gossip_suspicion *s);
