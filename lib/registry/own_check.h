/* own_check.h - hashing this node's own copy of a digest when somebody doubts it
 * (architecture.md, "Failing", "Doubt"). Private to registry/.
 *
 * One at a time (copy_check.h), once per digest and LIMIT_DOUBT_CHECK_MS, so that nobody can make a
 * node read its disk all day. */
#pragma once

#include "registry/copy_check.h"
#include "registry/marks.h"

struct own_check {
    struct copy_checks checks;
    struct marks recent;
};

void own_check_init(struct own_check *o, struct loop *loop);
void own_check_done(struct own_check *o);
/* Takes over fd. `wrong` comes from the loop. */
void own_check_start(struct own_check *o, const struct digest *digest, int fd,
                     void (*wrong)(void *arg, const struct digest *digest), void *arg);
