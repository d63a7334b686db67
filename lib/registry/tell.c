#include "registry/tell.h"

#include <stdlib.h>

#include "base/limits.h"
#include "http/head.h"
#include "registry/mirror_internal.h"

struct tell {
    struct list link;
    struct teller *teller;
    struct peer_exchange *exchange;
    struct timer timer;
};

static void tell_free(struct tell *t)
{
    peer_close(t->exchange);
    timer_stop(&t->timer);
    list_remove(&t->link);
    t->teller->count--;
    free(t);
}

static void tell_heard(void *arg, const struct http_response *head)
{
    (void)head;
    tell_free(arg);
}

static void tell_failed(void *arg, int error)
{
    (void)error;
    tell_free(arg);
}

static void tell_timed_out(void *arg)
{
    tell_free(arg);
}

void teller_init(struct teller *t)
{
    list_init(&t->tells);
    t->count = 0;
}

void teller_done(struct teller *t)
{
    LIST_EACH_SAFE (link, &t->tells) {
        tell_free(CONTAINER_OF(link, struct tell, link));
    }
}

void mirror_tell(struct mirror *m, const struct mirror_query *query,
                 const struct mirror_holder *holder)
{
    if (m->teller.count >= LIMIT_TELLS) {
        return;
    }
    struct tell *t = calloc(1, sizeof(*t));
    if (!t) {
        return;
    }
    t->teller = &m->teller;
    m->teller.count++;
    list_init(&t->link);
    list_push_back(&m->teller.tells, &t->link);
    timer_init(&t->timer, m->loop, tell_timed_out, t);

    struct buf target, fields;
    buf_init(&target, LIMIT_HTTP_TARGET_BYTES);
    buf_init(&fields, LIMIT_HTTP_HEAD_BYTES / 2);
    char digest[DIGEST_TEXT_BYTES];
    digest_format(&query->digest, digest);
    const struct want want = {.query = query, .by_digest = true, .whole_only = true};
    const struct peer_events events = {.head = tell_heard, .failed = tell_failed, .arg = t};
    struct peer_request request = {.to = &holder->address, .head = true};
    bool asked = mirror_write_target(query, &target) == 0 &&
                 mirror_write_fields(m, &want, holder, &fields) == 0 &&
                 http_head_field(&fields, "X-Spegel-Doubt", digest) == 0 &&
                 timer_start(&t->timer, LIMIT_HEAD_WAIT_MS) == 0;
    if (asked) {
        request.target = target.data;
        request.fields = fields.data;
        asked = peer_start(m->peers, &request, &events, &t->exchange) == 0;
    }
    if (!asked) {
        tell_free(t);
    }
    buf_done(&target);
    buf_done(&fields);
}
