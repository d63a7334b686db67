#include "registry/attempt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/head.h"
#include "registry/blame.h"
#include "registry/mirror_internal.h"

static void on_peer_head(void *arg, const struct http_response *head);
static void on_peer_readable(void *arg);
static void on_peer_failed(void *arg, int error);

int attempt_new(struct mirror *m, const struct mirror_holder *holder, const struct want *want,
                struct attempt **ret_attempt)
{
    struct attempt *a = calloc(1, sizeof(*a));
    if (!a) {
        return -ENOMEM;
    }
    a->mirror = m;
    a->holder = *holder;
    a->want = *want;
    a->goes_on = want->fixed;
    a->digest = want->query->digest;
    a->asked_us = clock_now_us();
    list_init(&a->link);
    struct buf target, fields;
    buf_init(&target, LIMIT_HTTP_TARGET_BYTES);
    buf_init(&fields, LIMIT_HTTP_HEAD_BYTES / 2);
    int r = mirror_write_target(want->query, &target);
    if (r == 0) {
        r = mirror_write_fields(m, want, holder, &fields);
    }
    if (r == 0) {
        const struct peer_request request = {.to = &a->holder.address,
                                             .head = want->query->head,
                                             .target = target.data,
                                             .fields = fields.data};
        const struct peer_events events = {on_peer_head, on_peer_readable, on_peer_failed, a};
        r = peer_start(m->peers, &request, &events, &a->exchange);
    }
    buf_done(&target);
    buf_done(&fields);
    if (r < 0) {
        attempt_free(a);
        return r;
    }
    *ret_attempt = a;
    return 0;
}

void attempt_free(struct attempt *a)
{
    if (!a) {
        return;
    }
    list_remove(&a->link);
    peer_close(a->exchange);
    budget_release(&a->claim);
    free(a->bytes);
    free(a);
}

static void attempt_ready(struct attempt *a)
{
    a->state = ATTEMPT_READY;
    a->on_ready(a);
}

static void attempt_failed(struct attempt *a, enum attempt_fault fault, const char *outcome)
{
    a->state = ATTEMPT_FAILED;
    a->fault = fault;
    a->outcome = outcome;
    a->on_failed(a);
}

/* --- the head --- */

static void on_peer_failed(void *arg, int error)
{
    struct attempt *a = arg;
    if (error == -ENOMEM) {
        attempt_failed(a, FAULT_OURS, "out of memory");
        return;
    }
    a->mirror->counters.peer_errors++;
    if (error == -EPROTO || error == -E2BIG) {
        attempt_failed(a, FAULT_ANSWER, "not HTTP");
    } else {
        attempt_failed(a, FAULT_UNREACHABLE,
                       error == -ECONNREFUSED ? "connection refused" : "connection failed");
    }
}

static void attempt_collect(struct attempt *a);
static void attempt_await_byte(struct attempt *a);
static void on_budget(struct budget_claim *claim);

/* Small and whole: it is verified before any of it goes out. */
static bool is_verified(const struct attempt *a)
{
    if (a->want.partial || a->goes_on) {
        return false;
    }
    return a->want.query->kind == MIRROR_MANIFEST || a->want.total <= LIMIT_VERIFIED_BLOB_BYTES;
}

static void attempt_take_body(struct attempt *a)
{
    size_t bytes = (size_t)a->want.total;
    if (!is_verified(a)) {
        attempt_await_byte(a);
    } else if (budget_take(&a->mirror->budget, &a->claim, bytes)) {
        attempt_collect(a);
    } else if (a->want.query->kind == MIRROR_BLOB && bytes > 0) {
        attempt_await_byte(a);
    } else {
        a->mirror->counters.verify_budget_waits++;
        a->state = ATTEMPT_BUDGET;
        if (budget_wait(&a->mirror->budget, &a->claim, bytes, LIMIT_VERIFY_WAIT_MS, on_budget) <
            0) {
            attempt_failed(a, FAULT_OURS, "out of memory");
        }
    }
}

static void on_peer_head(void *arg, const struct http_response *head)
{
    struct attempt *a = arg;
    struct mirror *m = a->mirror;
    const struct want asked = a->want;
    const char *outcome = NULL;
    if (!asked.follows) { /* a follower's head comes with its parent's first byte */
        head_times_add(&m->head_times, clock_now_us() - a->asked_us);
    }
    if (m->config.answered) {
        m->config.answered(m->config.arg, a->holder.node_id);
    }
    switch (verdict_of(&asked, head, &a->want, &outcome)) {
    case VERDICT_GOOD:
        break;
    case VERDICT_UNSATISFIABLE:
        a->unsatisfiable = true;
        attempt_ready(a);
        return;
    case VERDICT_BUSY:
        m->counters.peer_busy++;
        attempt_failed(a, FAULT_BUSY, outcome);
        return;
    case VERDICT_BAD:
        m->counters.peer_errors++;
        attempt_failed(a, FAULT_ANSWER, outcome);
        return;
    case VERDICT_ABSENT:
        attempt_failed(a, FAULT_ANSWER, outcome);
        return;
    }
    if (!a->want.by_digest) {
        const char *text = head->docker_content_digest;
        (void)digest_parse(text, strlen(text),
                           &a->digest); /* the verdict has seen that it parses */
    }
    memcpy(a->content_type, head->content_type, sizeof(a->content_type));
    a->origin = blame_origin(head->spegel_origin, a->holder.node_id);
    if (a->want.query->head) {
        attempt_ready(a);
        return;
    }
    a->on_head(a);
    attempt_take_body(a);
}

/* --- the body --- */

static void attempt_await_byte(struct attempt *a)
{
    int r = peer_has_bytes(a->exchange);
    a->state = ATTEMPT_FIRST_BYTE;
    if (r > 0) {
        peer_watch(a->exchange, false);
        a->streams = true;
        attempt_ready(a);
    } else if (r == 0) {
        peer_watch(a->exchange, true);
    } else {
        a->mirror->counters.peer_errors++;
        attempt_failed(a, FAULT_UNREACHABLE, "closed early");
    }
}

static void on_budget(struct budget_claim *claim)
{
    struct attempt *a = CONTAINER_OF(claim, struct attempt, claim);
    if (claim->granted) {
        attempt_collect(a);
    } else {
        attempt_failed(a, FAULT_OURS, "no room to verify it");
    }
}

static void attempt_verify(struct attempt *a)
{
    struct mirror *m = a->mirror;
    struct digest found;
    digest_of(a->bytes, a->got_bytes, &found);
    bool match = digest_equal(&found, &a->digest);
    m->counters.bytes_verified += a->got_bytes;
    if (a->want.by_digest) {
        uint64_t now_ms = loop_now_ms(m->loop);
        doubt_verified(&m->doubt, &a->digest, a->holder.node_id, match, now_ms);
    }
    if (match) {
        attempt_ready(a);
        return;
    }
    m->counters.mismatches++;
    if (a->want.by_digest) {
        m->counters.excluded++;
        mirror_tell(m, a->want.query, &a->holder);
    }
    attempt_failed(a, FAULT_ANSWER, "wrong digest");
}

static void attempt_collect(struct attempt *a)
{
    size_t total = (size_t)a->want.total;
    a->state = ATTEMPT_COLLECTING;
    if (!a->bytes && !(a->bytes = malloc(total ? total : 1))) {
        attempt_failed(a, FAULT_OURS, "out of memory");
        return;
    }
    while (a->got_bytes < total) {
        int64_t n = peer_read(a->exchange, a->bytes + a->got_bytes, total - a->got_bytes);
        if (n == -EAGAIN) {
            peer_watch(a->exchange, true);
            return;
        }
        if (n <= 0) {
            a->mirror->counters.peer_errors++;
            attempt_failed(a, FAULT_UNREACHABLE, "closed early");
            return;
        }
        a->got_bytes += (size_t)n;
    }
    peer_close(a->exchange); /* at its end: the connection is kept */
    a->exchange = NULL;
    attempt_verify(a);
}

static void on_peer_readable(void *arg)
{
    struct attempt *a = arg;
    if (a->state == ATTEMPT_READY) {
        a->on_readable(a);
    } else if (a->state == ATTEMPT_COLLECTING) {
        attempt_collect(a);
    } else {
        attempt_await_byte(a);
    }
}
