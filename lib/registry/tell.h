/* tell.h - telling holders that their copy of a digest is doubted: a HEAD with X-Spegel-Doubt.
 * Private to registry/. */
#pragma once

#include "base/list.h"
#include "registry/mirror.h"

struct teller {
    struct list tells;
    size_t count;
};

void teller_init(struct teller *t);
void teller_done(struct teller *t);

/* Best effort, once; at most LIMIT_TELLS under way, LIMIT_HEAD_WAIT_MS each. */
void mirror_tell(struct mirror *m, const struct mirror_query *query,
                 const struct mirror_holder *holder);
