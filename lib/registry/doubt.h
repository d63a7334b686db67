/* doubt.h - which copies this node has reason to distrust (architecture.md, "Failing", "Doubt").
 *
 * Large blobs are relayed unverified and containerd checks the digest of the whole. So when all of
 * a blob went to this node's containerd, the digest did not then appear in its store, and it is
 * asked for from the start again within LIMIT_DOUBT_MS, whoever gave the bytes is doubted: others
 * are preferred, and what passes is hashed. A mismatch excludes the holder for that digest until it
 * restarts (or the table is full); a match clears it. Time is an argument; without memory a remark
 * is lost, which costs one more failed pull.
 *
 * A node whose fault is proven (proof.h) is *convicted*: of all that it sends, not of one digest
 * only, for LIMIT_DOUBT_MS or until it restarts. */
#pragma once

#include <stdbool.h>

#include "registry/marks.h"

#define DOUBT_CONVICTS 4 /* remembered at once; then the oldest goes */

struct doubt {
    struct marks marks;
    struct {
        uint8_t node_id[MARKS_NODE_BYTES];
        uint64_t since_ms;
    } convicts[DOUBT_CONVICTS]; /* latest first */
    size_t convict_count;
};

void doubt_init(struct doubt *d);
void doubt_done(struct doubt *d);

/* containerd asks for all of it. Returns whether some holder is doubted, i.e. whether to hash;
 * *ret_new says how many of them became so just now. */
bool doubt_asked_from_start(struct doubt *d, const struct digest *digest, bool held,
                            uint64_t now_ms, size_t *ret_new);

/* Unverified bytes of this holder went to containerd, in a response that ended early. They may
 * become the beginning of a blob whose rest comes with a later request. */
void doubt_contributed(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                       uint64_t now_ms);
/* The blob's last byte went to containerd: all who contributed have delivered. */
void doubt_delivered(struct doubt *d, const struct digest *digest, uint64_t now_ms);

/* It is in our store: what was delivered was right, and asking for it again later, when the image
 * was removed, is no reason to doubt anybody. */
void doubt_appeared(struct doubt *d, const struct digest *digest);

/* What a hash said of bytes that came from this holder alone. */
void doubt_verified(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                    bool match, uint64_t now_ms);
/* A mismatch of bytes that came from several: each may be the one. */
void doubt_suspect(struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                   uint64_t now_ms);

bool doubt_is_doubted(const struct doubt *d, const struct digest *digest, const uint8_t *node_id,
                      uint64_t now_ms);
/* Both kinds, the first `max` of them. */
size_t doubt_whom(const struct doubt *d, const struct digest *digest, uint64_t now_ms,
                  uint8_t (*ret_node_ids)[MARKS_NODE_BYTES], size_t max);
/* Whether somebody became so within the last `young_ms`. */
bool doubt_is_young(const struct doubt *d, const struct digest *digest, uint64_t young_ms,
                    uint64_t now_ms);
bool doubt_is_excluded(const struct doubt *d, const struct digest *digest, const uint8_t *node_id);

void doubt_convict(struct doubt *d, const uint8_t *node_id, uint64_t now_ms);
/* Within the last `young_ms`, LIMIT_DOUBT_MS at most. */
bool doubt_is_convicted(const struct doubt *d, const uint8_t *node_id, uint64_t young_ms,
                        uint64_t now_ms);

/* The node restarted: it may have been repaired. */
void doubt_forget_node(struct doubt *d, const uint8_t *node_id);
