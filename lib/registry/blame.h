/* blame.h - parents that failed a follower, as its next question to the arbiter names them. Private
 * to registry/.
 *
 * The list is that of a struct gossip_want: latest first, GOSSIP_SWARM_FAILED of them. */
#pragma once

#include "gossip/swarm.h"
#include "registry/mirror_internal.h"

/* A newer word about the same one replaces the older; the oldest goes when it is full. */
void blame_add(struct gossip_want *list, uint64_t id, enum gossip_swarm_fault fault);
/* Whether it is not to be asked again: one that only stalled may be. */
bool blame_has(const struct gossip_want *list, uint64_t id);
void blame_forget_stalled(struct gossip_want *list);

/* Whether it is convicted, or its bytes of this digest were not what they should be, or might not
 * have been: in a cold rollout somebody else, or upstream, can give them. */
bool blame_is_doubted(const struct mirror *m, const struct digest *digest,
                      const struct mirror_holder *holder);
/* Adds whoever is convicted, GOSSIP_FAULT_WRONG; and whoever else is doubted, and then all who hold
 * it: whoever gave the bytes had them from somebody, so these are no better until upstream has been
 * asked again. */
void blame_doubted(struct gossip_want *list, const struct mirror *m, const struct digest *digest);

/* Of an answer: what its X-Spegel-Origin says, "" for none (proof.h); 0 unknown. */
uint64_t blame_origin(const char *field, const uint8_t giver_id[MARKS_NODE_BYTES]);
uint64_t blame_id(const uint8_t node_id[MARKS_NODE_BYTES]); /* as gossip has it */
