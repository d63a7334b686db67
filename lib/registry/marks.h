/* marks.h - remarks about (digest, holder) pairs, with a cap on digests and on holders a digest.
 *
 * What a mark means is its user's business (doubt.h, and the mirror's short memory of failures).
 * When the table is full the digest marked longest ago goes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "oci/digest.h"

#define MARKS_HOLDERS 8 /* of one digest; then its oldest mark goes */
#define MARKS_NODE_BYTES 6

struct mark {
    uint8_t node_id[MARKS_NODE_BYTES];
    uint8_t kind;
    uint64_t at_ms;
};

struct marks {
    struct map by_digest;
    struct list oldest_first;
    size_t max_digests;
};

void marks_init(struct marks *m, size_t max_digests);
void marks_done(struct marks *m);

/* Sets or replaces the pair's mark. 0 or -ENOMEM. */
int marks_set(struct marks *m, const struct digest *digest, const uint8_t *node_id, uint8_t kind,
              uint64_t now_ms);
void marks_clear(struct marks *m, const struct digest *digest, const uint8_t *node_id);
void marks_forget_node(struct marks *m, const uint8_t *node_id);

/* NULL when there is none. Both pointers are good until the next change. */
struct mark *marks_get(const struct marks *m, const struct digest *digest, const uint8_t *node_id);
struct mark *marks_of(const struct marks *m, const struct digest *digest, size_t *ret_count);
