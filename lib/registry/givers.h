/* givers.h - whose bytes a relayed body was made of, for the doubt rule (doubt.h). Private to
 * registry/. */
#pragma once

#include "registry/marks.h"
#include "registry/mirror.h"

#define GIVERS_MAX 8 /* of one body; later ones go unremembered */

struct givers { /* zero: none yet */
    uint8_t ids[GIVERS_MAX][MARKS_NODE_BYTES];
    size_t count;
    struct mirror_holder last;
};

void givers_add(struct givers *g, const struct mirror_holder *holder);
/* Whether all their bytes, which went through `digester` (final now), are those of the digest that
 * was asked for. A mismatch is told to the last of them. */
bool givers_hash_fits(const struct givers *g, struct mirror *m, const struct mirror_query *query,
                      struct digester *digester);
/* Their bytes went out unverified; `complete`: up to the blob's last one. */
void givers_delivered(const struct givers *g, struct mirror *m, const struct mirror_query *query,
                      bool complete);
