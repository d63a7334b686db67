/* answers.h - the core's answers on cold rollouts, told from the loop: whoever asked is not called
 * back from inside its own question. */
#pragma once

#include "gossip/swarm.h"
#include "io/loop.h"

struct answers { /* embedded */
    struct loop *loop;
    struct gossip_answer *queued;
    size_t count, capacity;
    struct defer tell;
    void (*answered)(void *arg, const struct gossip_answer *answer);
    void *arg;
};

void answers_init(struct answers *a, struct loop *loop,
                  void (*answered)(void *arg, const struct gossip_answer *answer), void *arg);
void answers_done(struct answers *a);
/* Copied. Without memory they are lost, which is logged: who asked waits for its own time-out. */
void answers_add(struct answers *a, const struct gossip_answer *answers, size_t count);
