#include "cluster/answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void answers_tell(void *arg)
{
    struct answers *a = arg;
    struct gossip_answer *queued = a->queued;
    size_t count = a->count;
    /* Telling may ask again and so add to a new queue. */
    a->queued = NULL;
    a->count = a->capacity = 0;
    for (size_t i = 0; i < count; i++) {
        a->answered(a->arg, &queued[i]);
    }
    free(queued);
}

void answers_init(struct answers *a, struct loop *loop,
                  void (*answered)(void *arg, const struct gossip_answer *answer), void *arg)
{
    *a = (struct answers){.loop = loop, .answered = answered, .arg = arg};
    defer_init(&a->tell, answers_tell, a);
}

void answers_done(struct answers *a)
{
    defer_stop(&a->tell);
    free(a->queued);
    a->queued = NULL;
}

void answers_add(struct answers *a, const struct gossip_answer *answers, size_t count)
{
    if (a->count + count > a->capacity) {
        size_t capacity = (a->count + count) * 2;
        struct gossip_answer *more = realloc(a->queued, capacity * sizeof *more);
        if (!more) {
            log_warn("an answer on who fetches content is lost: out of memory");
            return;
        }
        a->queued = more;
        a->capacity = capacity;
    }
    memcpy(a->queued + a->count, answers, count * sizeof *answers);
    a->count += count;
    defer_start(a->loop, &a->tell);
}
